"""The encoding in parts and processes equals the plain one in memory."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from conftest import toy_pairs

from transformer_cli.data import encoding, parallel
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.encoding import encode_text
from transformer_cli.data.filters.pipeline import build_filters, judge
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.line_file import LineFile
from transformer_cli.data.store import CorpusWriter, encode_corpus, load_corpus, save_corpus
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.schema import TokenizerConfig
from transformer_cli.schema.data import DataConfig, FiltersConfig

ODD = [
    ("", "x"), ("a", ""), ("\u3000", "\t"), ("12345", "54321"), ("see www.x.org", "nein"), ("one two three four", "one two three four"),
    ("word " * 30, "wort"), ("kurz", "lang " * 30), ("\ufffd", "x"), ("<b>", "b"),
]  # fmt: skip


def odd_text(directory: Path, count: int) -> ParallelText:
    rng = random.Random(count)
    pairs = [rng.choice(ODD) if rng.random() < 0.1 else pair for pair in toy_pairs(count)]
    sides = []
    for i in (0, 1):
        file = LineFile(directory)
        file.extend(pair[i] for pair in pairs)
        sides.append(file.finish())
    return ParallelText(*sides)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([side for pair in toy_pairs(200) for side in pair], TokenizerConfig(vocab_size=350))[0]


@pytest.mark.parametrize("with_filters", [False, True])
@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("count", [1, 700, 5000])
def test_encoding_in_parts_equals_encoding_in_memory(
    count: int,
    processes: bool,
    with_filters: bool,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoding, "PART", 1024)
    monkeypatch.setattr(parallel, "MIN_TASKS", 1 if processes else 1000)
    monkeypatch.setattr(parallel, "available_cores", lambda: 3)
    text = odd_text(tmp_path, count).without([0, 5, 1023, 1024] if count > 1024 else [])
    config = DataConfig(
        max_length=24, filters=FiltersConfig(duplicates=True, near_duplicates=True, alignment=0.9, length_ratio=4.0)
    )

    def filters() -> list[object]:
        return build_filters(config.filters, CorpusProfile.of_text(text)) if with_filters else []

    reasons = [reason for _, reason in judge(text.pairs(), filters())] if with_filters else None
    plain = encode_corpus(ParallelText(list(text.src), list(text.tgt)), tokenizer, tokenizer, config, reasons)
    save_corpus(plain, tmp_path, "plain", {})
    with CorpusWriter(tmp_path, "parts") as writer:
        left_out = encode_text(text, tokenizer, tokenizer, config, filters(), writer)
        writer.finish({}, left_out)
    assert list(left_out.items()) == list(plain.left_out.items())
    assert count < 700 or set(left_out) >= {"blank", "too long" if with_filters else "length ratio"}
    for part in ("src.tokens", "src.offsets", "tgt.tokens", "tgt.offsets", "lines"):
        assert (tmp_path / f"parts.{part}.npy").read_bytes() == (tmp_path / f"plain.{part}.npy").read_bytes()
    stored = load_corpus(tmp_path, "parts", {})
    assert stored is not None and np.array_equal(stored.tgt.lengths, plain.tgt.lengths)


def test_stores_are_what_numpy_writes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = ParallelText(*(list(side) for side in zip(*toy_pairs(30), strict=True)))
    corpus = encode_corpus(text, tokenizer, tokenizer, DataConfig())
    save_corpus(corpus, tmp_path, "train", {})
    for part, array in (("src.tokens", corpus.src.tokens), ("tgt.offsets", corpus.tgt.offsets), ("lines", corpus.lines)):
        np.save(tmp_path / "expected.npy", array)
        assert (tmp_path / f"train.{part}.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_a_store_that_is_not_finished_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    text = ParallelText(*(list(side) for side in zip(*toy_pairs(30), strict=True)))
    corpus = encode_corpus(text, tokenizer, tokenizer, DataConfig())
    save_corpus(corpus, tmp_path, "train", {"text": "1"})
    with pytest.raises(ZeroDivisionError), CorpusWriter(tmp_path, "train") as writer:
        writer.add(*([np.zeros(3)] * 5))
        raise ZeroDivisionError
    assert len(list(tmp_path.iterdir())) == 6
    assert load_corpus(tmp_path, "train", {"text": "1"}) is not None


@pytest.mark.parametrize("count", [1, 50, 3000])
def test_the_sample_of_a_text_is_that_of_its_stream(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformer_cli.data.filters import profile

    monkeypatch.setattr(profile, "SAMPLE", 40)
    text = odd_text(tmp_path, count).without([0] if count > 1 else [])
    samples = [CorpusProfile.draw(text.pairs()), CorpusProfile.of_text(text)]
    first, second = ([(pair.line, pair.src, pair.tgt) for pair in one.sample] for one in samples)
    assert first == second and len(first) <= 40
