"""Every line yields one translation, in order, whatever its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.shortlist import Shortlist
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.segments import split_line
from transformer_cli.decoding.strategy import StaticStrategy
from transformer_cli.decoding.translator import Translator
from transformer_cli.models.registry import build_model
from transformer_cli.schema import DecodingConfig, ModelConfig
from transformer_cli.token_ids import TokenIds


class Letters:
    """A tokenizer with one id per letter; id 4 is `a`."""

    def encode(self, lines: Sequence[str]) -> list[TokenIds]:
        return [np.array([4 + (ord(c) - 97) % 26 for c in line.strip()], dtype=np.int64) for line in lines]

    def decode(self, sentences: Sequence[TokenIds]) -> list[str]:
        return ["".join(chr(93 + int(i)) for i in ids) for ids in sentences]

    def token_bytes(self) -> list[bytes]:
        return [b""] * 4 + [bytes([97 + i]) for i in range(26)]


def build_translator(
    max_length: int = 50, request: TranslationRequest | None = None, graph_pool: bool = False, **options: float
) -> Translator:
    torch.manual_seed(0)
    sizes = ModelConfig(d_model=16, num_heads=2, d_ff=16, encoder_layers=1, decoder_layers=1)
    model = build_model(sizes, 30, 30).double()
    return Translator(
        model,
        Letters(),
        Letters(),
        DecodingConfig(**options),  # type: ignore[arg-type]
        max_length=max_length,
        request=request,
        graph_pool=GraphPool(use_graphs=False) if graph_pool else None,
    )


LINES = ["abc", "", "hello", "z", "   ", "thequickbrownfox", "jumps", "overthelazydog", "a"]


@pytest.mark.parametrize("beam", [1, 4])
def test_order_and_batching_do_not_change_translations(beam: int) -> None:
    expected = build_translator(beam=beam).translate(LINES)
    assert [t.status for t in expected] == ["ok", "empty", "ok", "ok", "empty", "ok", "ok", "ok", "ok"]
    for tokens in (1, 20, 10_000):
        assert [t.text for t in build_translator(beam=beam, batch_tokens=tokens).translate(LINES)] == [
            t.text for t in expected
        ]
    reversed_lines = build_translator(beam=beam).translate(LINES[::-1])[::-1]
    assert [t.text for t in reversed_lines] == [t.text for t in expected]
    one_by_one = [build_translator(beam=beam).translate([line])[0].text for line in LINES]
    assert one_by_one == [t.text for t in expected]


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4}, {"beam": 4, "no_repeat_ngram": 2}])
def test_static_search_does_not_change_translations(options: dict[str, Any]) -> None:
    for request in (
        TranslationRequest(),
        TranslationRequest(scored=False),
        TranslationRequest(n_best=options["beam"]),
    ):
        stepwise, static = (
            build_translator(request=request, **options),
            build_translator(request=request, graph_pool=True, **options),
        )
        assert isinstance(static.strategy, StaticStrategy)
        for actual, expected in zip(static.translate(LINES), stepwise.translate(LINES), strict=True):
            assert actual.text == expected.text
            assert [a.text for a in actual.alternatives] == [a.text for a in expected.alternatives]
            np.testing.assert_allclose(actual.token_log_probs, expected.token_log_probs)


def test_blank_lines_are_not_passed_to_the_model() -> None:
    t = build_translator()
    t.model.encode = lambda *_: pytest.fail("the model was called")  # type: ignore[method-assign, assignment]
    assert [x.text for x in t.translate(["", " ", "\t"])] == ["", "", ""]
    assert t.translate([]) == []


def test_long_lines_are_split_at_sentence_ends_and_nothing_is_dropped() -> None:
    t = build_translator(max_length=12)
    line = "abcde fgh. ijkl mno. " + "x" * 40
    segments = split_line(line, t.src_tokenizer.encode([line])[0], t.src_tokenizer, 11)
    parts = [s.ids for s in segments]
    assert all(len(p) <= 11 for p in parts)
    assert [s.splits_sentence for s in segments] == [False, False, True, True, True, True]
    assert np.concatenate(parts).tolist() == [
        i for s in ("abcde fgh.", "ijkl mno.", "x" * 40) for i in Letters().encode([s])[0].tolist()
    ]
    cut, split, short = t.translate([line, "abcde fgh. ijkl mno.", "abc"])
    assert (cut.status, split.status, short.status) == ("cut", "split", "ok")


def test_length_is_bounded() -> None:
    limited = build_translator(max_length_ratio=1.0, beam=1)
    for line, translation in zip(LINES, limited.translate(LINES), strict=True):
        assert len(translation.text) < len(line.strip()) + 10


def test_progress_counts_every_segment() -> None:
    done: list[int] = []
    build_translator(batch_tokens=20).translate(LINES, done.append)
    assert sum(done) == 7


def test_minimum_bayes_risk_decodes_the_ids_of_the_shortlist() -> None:
    """Search uses indices into the shortlist, texts are decoded from ids of the vocabulary."""
    allowed = np.array([0, 1, 2, 3, 20, 22, 25])
    decoded: list[int] = []

    class Recorder(Letters):
        def decode(self, sentences: Sequence[TokenIds]) -> list[str]:
            decoded.extend(int(i) for ids in sentences for i in ids)
            return super().decode(sentences)

    reference = build_translator()
    shortlist = Shortlist(lambda source: allowed, reference.model.output_weight.detach())
    options = DecodingConfig(mbr_samples=8)
    codec: Any = Recorder()
    translator = Translator(reference.model, codec, codec, options, max_length=50, shortlist=shortlist)
    translations = translator.translate(LINES)
    assert set(decoded) == {20, 22, 25}
    assert {letter for t in translations for letter in t.text} == {chr(93 + i) for i in (20, 22, 25)}
