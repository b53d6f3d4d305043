from __future__ import annotations

from pathlib import Path

import pytest
from conftest import toy_pairs, write_pairs

from transformer_cli.data.corpus import (
    ParallelText,
    examine,
    first_suspicious_line,
    hold_out,
    read_parallel,
)
from transformer_cli.errors import DataError

WORDS = "a bb ccc dddd eeeee".split()


def text_of_lengths(*lengths: int) -> list[str]:
    return ["x" * n for n in lengths]


def test_unequal_files_are_refused_with_both_counts(tmp_path: Path) -> None:
    src, tgt = write_pairs(tmp_path, "t", toy_pairs(30))
    lines = tgt.read_text().split("\n")
    tgt.write_text("\n".join(lines[:10] + lines[11:]))
    with pytest.raises(DataError) as caught:
        read_parallel([src], [tgt])
    assert "30 lines" in str(caught.value) and "29" in str(caught.value) and "first suspicious" in str(caught.value)
    assert caught.value.exit_code == 3


def test_first_suspicious_line_finds_the_missing_one() -> None:
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


def test_several_files_are_joined_in_order(tmp_path: Path) -> None:
    a, b = write_pairs(tmp_path, "a", toy_pairs(3, 1)), write_pairs(tmp_path, "b", toy_pairs(2, 2))
    text = read_parallel([a[0], b[0]], [a[1], b[1]])
    assert list(zip(text.src, text.tgt, strict=True)) == toy_pairs(3, 1) + toy_pairs(2, 2)
    with pytest.raises(DataError, match="2 source files but 1"):
        read_parallel([a[0], b[0]], [a[1]])


@pytest.mark.parametrize(("pairs", "held"), [(40, 2), (2000, 100), (50_000, 1000), (2, 1)])
def test_hold_out_is_seeded_disjoint_and_bounded(pairs: int, held: int) -> None:
    text = ParallelText([f"s{i}" for i in range(pairs)], [f"t{i}" for i in range(pairs)])
    train, valid = hold_out(text, seed=1)
    assert (len(train), len(valid)) == (pairs - held, held)
    assert not set(train.src) & set(valid.src)
    assert [s[1:] for s in valid.src] == [t[1:] for t in valid.tgt]
    assert hold_out(text, seed=1)[1].src == valid.src
    assert pairs < 40 or hold_out(text, seed=2)[1].src != valid.src


def test_doctor_counts_each_damage() -> None:
    text = ParallelText(
        ["a b", "", "c", "a b", "same", "long " * 20, "", "bad \ufffd"],
        ["A B", "", "", "A B", "same", "short", "X", "ok"],
    )
    found = {f.kind: (f.count, f.lines) for f in examine(text, ParallelText(["c", "a b"], ["x", "A B"])).findings}
    assert found == {
        "blank on both sides": (1, [2]),
        "blank on one side": (2, [3, 7]),
        "repeated pairs": (1, [4]),
        "source equals target": (1, [5]),
        "lengths differ more than fivefold": (1, [6]),
        "replacement characters": (1, [8]),
        "source also in the other corpus": (2, [1, 4]),
        "target also in the other corpus": (2, [1, 4]),
    }


def test_a_pair_is_found_in_its_file_whatever_was_left_out(tmp_path: Path) -> None:
    pairs = [write_pairs(tmp_path, name, toy_pairs(n, n)) for name, n in (("a", 30), ("b", 20))]
    text = read_parallel([src for src, _ in pairs], [tgt for _, tgt in pairs])
    for part in (text, *hold_out(text, 1), hold_out(text, 1)[0].take([3, 20, 5])):
        for i, line in enumerate(part.src):
            name, _, number = part.place(i).rpartition(", line ")
            assert Path(name).read_text().split("\n")[int(number) - 1] == line
    assert ParallelText(["x"], ["y"]).place(0) == "line 1"
