"""Tags of target languages: text never becomes one, no search generates one, and batches do not mix languages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import toy_pairs

from transformer_cli.artifacts.loading import LoadedModel, build_translator
from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.batch import collate
from transformer_cli.data.tokenizer import Tokenizer, balance_lines, train_tokenizer
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.scoring import score_pairs
from transformer_cli.models.registry import build_model
from transformer_cli.schema import Config, DecodingConfig, TokenizerConfig
from transformer_cli.token_ids import EOS

LANGUAGES = ["de", "fr"]
LINES = ["The cat sees the house today.", "A bird <2de> hears", "my aunt", "<2fr>"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    lines = [line for pair in toy_pairs(200) for line in pair] + ["x<2de>y <2fr> <2de>"] * 100
    return train_tokenizer(lines, TokenizerConfig(vocab_size=360), 1, LANGUAGES)[0]


@pytest.fixture
def loaded(tokenizer: Tokenizer) -> LoadedModel:
    """A model that would generate nothing but tags, if it could."""
    config = Config.model_validate(
        {"model": {"d_model": 32, "num_heads": 2, "d_ff": 64, "encoder_layers": 1, "decoder_layers": 1}}
    )
    vocabularies = Vocabularies(tokenizer, tokenizer)
    model = build_model(config.model, *vocabularies.sizes).eval()
    with torch.no_grad():
        model.output.weight[model.tags] *= 50
    return LoadedModel(config, vocabularies, model, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char"])
def test_text_is_never_a_tag(model_type: str) -> None:
    lines = [f"x<2de>y <2de> <2fr> {i % 7}" for i in range(500)] + ["the cat"] * 100
    tokenizer, _ = train_tokenizer(lines, TokenizerConfig(vocab_size=300, model_type=model_type), 1, LANGUAGES)  # type: ignore[arg-type]
    assert tokenizer.tags == {"de": EOS + 1, "fr": EOS + 2}
    ids = tokenizer.encode(LINES)
    assert not np.isin(np.concatenate(ids), [4, 5]).any()
    assert tokenizer.decode([np.append(4, i) for i in ids]) == LINES
    if model_type == "unigram":
        assert not np.isin(np.concatenate(tokenizer.sample(LINES * 5, 0.1, 1)), [4, 5]).any()


def test_a_vocabulary_without_languages_has_no_tags_and_the_same_bytes() -> None:
    lines = [line for pair in toy_pairs(100) for line in pair]
    config = TokenizerConfig(vocab_size=350)
    plain, _ = train_tokenizer(lines, config)
    assert plain.tags == {} and plain.model == train_tokenizer(lines, config, 1, ())[0].model


def test_each_language_has_the_same_number_of_lines() -> None:
    lines = balance_lines([["a"] * 50, ["b", " ", "c"], ["d"] * 7], 90, seed=1)
    assert [sum(line in group for line in lines) for group in ("a", "bc", "d")] == [30, 30, 30]


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 1},
        {"beam": 1, "precision": "int8"},
        {"beam": 4},
        {"beam": 4, "diversity_groups": 2},
        {"sample": True, "beam": 1},
        {"mbr_samples": 4, "beam": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("scored", [False, True])
def test_no_search_generates_a_tag(loaded: LoadedModel, options: dict[str, Any], scored: bool) -> None:
    decoding = DecodingConfig(**options, compiled="never")
    request = TranslationRequest(scored=scored, to="de")
    translator = build_translator(loaded.config, loaded.model, loaded.vocabularies, decoding, request)
    sources = [
        translator._source_sentence(s, i, 0, np.array([], dtype=np.int64), ()) for i, s in enumerate(parts(loaded))
    ]
    assert all(source.ids[0] == 4 for source in sources)
    for result in translator.search(sources):
        for hypothesis in result.hypotheses:
            assert not set(hypothesis.tokens) & {4, 5}


def parts(loaded: LoadedModel) -> list[Any]:
    from transformer_cli.decoding.segments import Segment

    return [Segment(line, ids) for line, ids in zip(LINES, loaded.vocabularies.src.encode(LINES), strict=True)]


def test_the_int8_candidates_exclude_tags(loaded: LoadedModel) -> None:
    weight = torch.randn(1024, 32)
    weight[4:6] *= 50
    if not Int8Argmax.supports(weight):
        pytest.skip("not supported on this processor")

    def masked(x: torch.Tensor) -> torch.Tensor:
        return (x @ weight.T).index_fill(-1, torch.tensor([4, 5]), -torch.inf)

    output = Int8Argmax(weight, masked, slice(4, 6))
    assert not torch.isin(output(torch.randn(50, 1, 32)).argmax(-1), torch.tensor([4, 5])).any()


def test_neighbours_of_other_languages_change_nothing(loaded: LoadedModel) -> None:
    model, ids = loaded.model.double(), loaded.vocabularies.src.encode(LINES)
    tagged = [np.append(4 + i % 2, line) for i, line in enumerate(ids)]
    together = score_pairs(model, tagged, ids, 10_000)
    for source, target, score in zip(tagged, ids, together, strict=True):
        alone = score_pairs(model, [source], [target], 10_000)[0]
        np.testing.assert_allclose(alone.token_log_probs, score.token_log_probs, atol=1e-9)
    for packed in (False, True):
        batch = collate([np.append(s, EOS) for s in tagged], [np.append(t, EOS) for t in ids], packed=packed)
        logits = model.logits(model(batch))
        parts = torch.split(logits[:, EOS], batch.tgt_layout.lengths.tolist())
        one = collate([np.append(tagged[1], EOS)], [np.append(ids[1], EOS)], packed=packed)
        torch.testing.assert_close(model.logits(model(one))[:, EOS], parts[1], atol=1e-9, rtol=0)
