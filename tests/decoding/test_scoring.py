"""Forced decoding gives the log-probabilities of search, in batches of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from transformer_cli.batch import collate_sentences
from transformer_cli.decoding.scoring import Score, perplexity, score_pairs
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS

SIZES = ModelConfig(d_model=16, num_heads=2, d_ff=16, encoder_layers=1, decoder_layers=1)


def test_search_and_scoring_agree() -> None:
    model = build_model(SIZES, 30, 30).double().eval()
    sources = [torch.randint(4, 30, (n,)).numpy() for n in (3, 9, 5, 1)]
    ids, layout = collate_sentences([np.append(s, EOS) for s in sources])
    best = [h[0] for h in beam_search(model, model.encode(ids, layout), torch.full((4,), 9), beam=3)]
    targets = [np.array(h.tokens, dtype=np.int64) for h in best]
    for batch_tokens in (1, 12, 1000):
        scores = score_pairs(model, sources, targets, batch_tokens)
        for score, hypothesis in zip(scores, best, strict=True):
            assert score.token_log_probs == pytest.approx(hypothesis.token_log_probs, abs=1e-9)
            assert math.isclose(score.log_prob, hypothesis.log_prob, abs_tol=1e-9)


def test_perplexity_by_hand() -> None:
    scores = [Score([math.log(0.5), math.log(0.25)]), Score([math.log(0.125)])]
    assert math.isclose(scores[0].perplexity, 8**0.5)
    assert math.isclose(perplexity(scores), 4.0)
