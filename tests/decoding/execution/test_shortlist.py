"""A shortlist restricts the tokens of each sentence and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transformer_cli.batch import collate_sentences
from transformer_cli.data.lexicon import Lexicon
from transformer_cli.decoding.execution.shortlist import Shortlist, ShortlistedModel
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS

VOCAB = 60
SIZES = ModelConfig(d_model=16, num_heads=2, d_ff=16, encoder_layers=1, decoder_layers=1)
MODEL = build_model(SIZES, VOCAB, VOCAB).double().eval()
SOURCES = [np.random.default_rng(n).integers(4, VOCAB, n) for n in (3, 8, 5)]


def random_lexicon(size: int) -> Lexicon:
    table = np.random.default_rng(0).integers(4, VOCAB, (VOCAB, size)).astype(np.int32)
    return Lexicon(table, np.array([7], dtype=np.int32), joint=False, tgt_vocab=VOCAB)


def search(lexicon: Lexicon | None, rows: list[int], beam: int) -> list[list[Hypothesis]]:
    ids, layout = collate_sentences([np.append(SOURCES[i], EOS) for i in rows])
    limits = torch.full((len(rows),), 12)
    with torch.inference_mode():
        memory = MODEL.encode(ids, layout)
        if lexicon is None:
            return beam_search(MODEL, memory, limits, beam=beam)
        model = ShortlistedModel(
            MODEL, Shortlist(lexicon.shortlist, MODEL.output_weight), [SOURCES[i] for i in rows]
        )
        if beam == 1:
            return [model.map_ids(h) for h in greedy_search(model, memory, limits)]
        return [model.map_ids(h) for h in beam_search(model, memory, limits, beam=beam)]


@pytest.mark.parametrize("beam", [1, 4])
def test_only_listed_tokens_are_generated_in_any_batch(beam: int) -> None:
    lexicon = random_lexicon(3)
    results = search(lexicon, [0, 1, 2], beam)
    for i, hypotheses in enumerate(results):
        allowed = set(lexicon.shortlist(SOURCES[i]).tolist())
        assert all(set(h.tokens) <= allowed for h in hypotheses)
        (single,) = search(lexicon, [i], beam)
        assert [h.tokens for h in single] == [h.tokens for h in hypotheses]
        np.testing.assert_allclose([h.score for h in single], [h.score for h in hypotheses])


def test_a_shortlist_of_the_whole_vocabulary_changes_nothing() -> None:
    unrestricted = Lexicon(np.full((VOCAB, 1), -1, dtype=np.int32), np.array([4]), joint=False, tgt_vocab=VOCAB)
    results, expected = search(unrestricted, [0, 1, 2], 4), search(None, [0, 1, 2], 4)
    for hypotheses, references in zip(results, expected, strict=True):
        assert [h.tokens for h in hypotheses] == [h.tokens for h in references]
        np.testing.assert_allclose([h.score for h in hypotheses], [h.score for h in references])
