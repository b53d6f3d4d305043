from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from conftest import toy_pairs, write_pairs

from transformer_cli.data.corpus import (
    ParallelText,
    first_suspicious_line,
    read_parallel,
)
from transformer_cli.data.held_out import hold_out_validation
from transformer_cli.data.store import encode_corpus
from transformer_cli.data.survey import find_shifted_blocks
from transformer_cli.data.tokenizer import train_tokenizer
from transformer_cli.errors import DataError
from transformer_cli.schema.data import DataConfig
from transformer_cli.schema import TokenizerConfig


def text_of_lengths(*lengths: int) -> list[str]:
    return ["x" * n for n in lengths]


def test_files_of_unequal_length_are_rejected_with_both_counts(tmp_path: Path) -> None:
    src, tgt = write_pairs(tmp_path, "t", toy_pairs(30))
    lines = tgt.read_text().split("\n")
    tgt.write_text("\n".join(lines[:10] + lines[11:]))
    with pytest.raises(DataError) as caught:
        read_parallel([src], [tgt])
    assert (
        "30 lines" in str(caught.value) and "29" in str(caught.value) and "first suspicious" in str(caught.value)
    )
    assert caught.value.exit_code == 3


def test_first_suspicious_line_finds_the_missing_line() -> None:
    lengths = [10, 50, 20, 80, 5, 60, 33, 90, 12, 70]
    src, tgt = text_of_lengths(*lengths), text_of_lengths(*lengths)
    for missing in (2, 5, 7):
        assert first_suspicious_line(src, tgt[:missing] + tgt[missing + 1 :]) == missing + 1
    assert first_suspicious_line(["a", "", "c"], ["a", "b"]) == 2
    assert first_suspicious_line(["a"], []) == 1


def test_blank_and_empty_corpora(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("")
    (tmp_path / "b").write_text("\n \n")
    for name in ("e", "b"):
        with pytest.raises(DataError, match="no sentence pair"):
            read_parallel([tmp_path / name], [tmp_path / name])


def test_several_files_are_concatenated_in_order(tmp_path: Path) -> None:
    a, b = write_pairs(tmp_path, "a", toy_pairs(3, 1)), write_pairs(tmp_path, "b", toy_pairs(2, 2))
    text = read_parallel([a[0], b[0]], [a[1], b[1]])
    assert list(zip(text.src, text.tgt, strict=True)) == toy_pairs(3, 1) + toy_pairs(2, 2)
    with pytest.raises(DataError, match="2 source files but 1"):
        read_parallel([a[0], b[0]], [a[1]])


@pytest.mark.parametrize(("pairs", "held"), [(40, 2), (2000, 100), (50_000, 1000), (2, 1)])
def test_hold_out_is_seeded_disjoint_and_bounded(pairs: int, held: int) -> None:
    text = ParallelText([f"s{i}" for i in range(pairs)], [f"t{i}" for i in range(pairs)])
    train, valid = hold_out_validation(text, seed=1)
    assert (len(train), len(valid)) == (pairs - held, held)
    assert not set(train.src) & set(valid.src)
    assert [s[1:] for s in valid.src] == [t[1:] for t in valid.tgt]
    assert hold_out_validation(text, seed=1)[1].src == valid.src
    assert pairs < 40 or hold_out_validation(text, seed=2)[1].src != valid.src


def test_repeated_pairs_are_not_held_out() -> None:
    src = [f"s{i // 3}" for i in range(900)] + [f"t{i}" for i in range(100)]
    train, valid = hold_out_validation(ParallelText(src, src), seed=1)
    assert len(valid) == 50 and not set(train.src) & set(valid.src)
    assert len(hold_out_validation(ParallelText(["a"] * 40, ["b"] * 40), seed=1)[1]) == 2  # all pairs are repeated


def test_shifted_files_are_detected() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 40, 2000)
    src = ["x " * n for n in lengths]
    tgt = ["y " * max(1, n + rng.integers(-2, 3)) for n in lengths]

    def shifts(src: list[str], tgt: list[str]) -> list[int]:
        return find_shifted_blocks(list(map(len, src)), list(map(len, tgt)))

    assert shifts(src, tgt) == []
    shifted = shifts(src[:800] + src[801:], tgt[:-1])
    assert shifted == [800, 1200, 1600]
    for length in range(1, 60):  # the standard deviation of equal logarithms may differ from 0 by rounding
        assert shifts(["x" * length] * 401, ["y" * (length + 3)] * 401) == []
    assert shifts([], []) == [] and shifts(src[1:], tgt[:-1])[0] == 0


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (gzip.compress("Straße\nb\n".encode(), mtime=0), "compressed with gzip"),
        ("Straße\nb\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_compressed_and_utf16_files_are_read(tmp_path: Path, content: bytes, form: str) -> None:
    (tmp_path / "a").write_bytes(content)
    text = read_parallel([tmp_path / "a"], [tmp_path / "a"])
    assert text.src == text.tgt == ["Straße", "b"] and all(form in note for note in text.forms)


def test_another_encoding_is_suggested_only_for_many_invalid_lines(tmp_path: Path) -> None:
    (tmp_path / "many").write_bytes("Straße\n".encode("latin1") * 30)
    (tmp_path / "one").write_bytes(b"Stra\xdfe\n" + b"ok\n" * 29)
    notes = [read_parallel([tmp_path / name], [tmp_path / name]).notes[0] for name in ("many", "one")]
    assert "iconv -f latin1" in notes[0] and "iconv" not in notes[1]


def test_lines_of_white_space_are_filtered(tmp_path: Path) -> None:
    """An ideographic space or a tab may have tokens."""
    tokenizer, _ = train_tokenizer(["a b c", "\u3000 x"] * 10, TokenizerConfig(vocab_size=300))
    text = ParallelText(["a b", "\u3000", "a", "\t"], ["a b", "a", "\u00a0", "\t"])
    corpus = encode_corpus(text, tokenizer, tokenizer, DataConfig())
    assert corpus.lines.tolist() == [0] and corpus.left_out["blank"] == 3


def test_selected_pairs_keep_their_file_and_line(tmp_path: Path) -> None:
    pairs = [write_pairs(tmp_path, name, toy_pairs(n, n)) for name, n in (("a", 30), ("b", 20))]
    text = read_parallel([src for src, _ in pairs], [tgt for _, tgt in pairs])
    for part in (text, *hold_out_validation(text, 1), hold_out_validation(text, 1)[0].select([3, 20, 5])):
        for i, line in enumerate(part.src):
            name, _, number = part.location(i).rpartition(", line ")
            assert Path(name).read_text().split("\n")[int(number) - 1] == line
    assert ParallelText(["x"], ["y"]).location(0) == "line 1"
