"""Parallel text: reading it in pairs, finding what is wrong with it, and holding some of it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.text import read_lines
from transformer_cli.errors import DataError

HELD_OUT_PAIRS = 1000
HELD_OUT_SHARE = 0.05
"""Without validation files, so many pairs (at most this share) are held out of the training text."""
BLOCK, MIN_BLOCK = 400, 200
"""Lines of which lengths are compared together, and how many are too few to say anything."""
MISALIGNED_RATIO = 5.0
"""Lengths in characters that differ by more than this factor look misaligned."""


@dataclass(frozen=True)
class ParallelText:
    """Aligned lines, and what was noticed while reading them.

    `files` are the source files and how many lines each has, in order; `rows` says where each pair stood in them
    together, if not all are here any more.
    """

    src: list[str]
    tgt: list[str]
    notes: list[str] = field(default_factory=list)
    files: list[tuple[Path, int]] = field(default_factory=list)
    rows: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.src)

    def select(self, rows: Sequence[int]) -> ParallelText:
        """These pairs, in this order."""
        places = rows if self.rows is None else [self.rows[i] for i in rows]
        src, tgt = [self.src[i] for i in rows], [self.tgt[i] for i in rows]
        return ParallelText(src, tgt, self.notes, self.files, places)

    def place(self, pair: int) -> str:
        """Where a pair stands, as a reader finds it: `train.en, line 12`."""
        row = pair if self.rows is None else self.rows[pair]
        for path, lines in self.files:
            if row < lines:
                return f"{path}, line {row + 1:,}"
            row -= lines
        return f"line {row + 1:,}"


def read_parallel(
    src: Sequence[Path], tgt: Sequence[Path], *, strict_utf8: bool = False, allow_blank: bool = False
) -> ParallelText:
    """Read files of source and target, in pairs of files, and join them.

    Raises:
        DataError: missing file, different numbers of lines or files, no pair with text on both sides (unless
            the text `allow_blank`).
    """
    if len(src) != len(tgt):
        raise DataError(f"{len(src)} source files but {len(tgt)} target files")
    joined = ParallelText([], [])
    for src_path, tgt_path in zip(src, tgt, strict=True):
        src_lines, src_report = read_lines(src_path, strict_utf8=strict_utf8, reject_binary=True)
        tgt_lines, tgt_report = read_lines(tgt_path, strict_utf8=strict_utf8, reject_binary=True)
        joined.notes.extend(src_report.messages(str(src_path)) + tgt_report.messages(str(tgt_path)))
        if len(src_lines) != len(tgt_lines):
            raise _unequal_lengths_error(src_path, src_lines, tgt_path, tgt_lines)
        joined.src.extend(src_lines)
        joined.tgt.extend(tgt_lines)
        joined.files.append((src_path, len(src_lines)))
    if not allow_blank and not any(s.strip() and t.strip() for s, t in zip(joined.src, joined.tgt, strict=True)):
        names = ", ".join(map(str, [*src, *tgt]))
        raise DataError(f"{names}: no sentence pair (every line is blank on one side at least)")
    return joined


def replace_target(text: ParallelText, ref: Path) -> ParallelText:
    """The same source with another target. Raises: DataError as `read_parallel`."""
    lines, report = read_lines(ref, reject_binary=True)
    if len(lines) != len(text):
        raise _unequal_lengths_error(text.files[0][0], text.src, ref, lines)
    return ParallelText(text.src, lines, report.messages(str(ref)), text.files)


def _unequal_lengths_error(src: Path, src_lines: list[str], tgt: Path, tgt_lines: list[str]) -> DataError:
    line = first_suspicious_line(src_lines, tgt_lines)
    return DataError(
        f"{src} has {len(src_lines)} lines but {tgt} has {len(tgt_lines)}: they are not aligned",
        hint=f"first suspicious line: {line} (compare it in both files); nothing was cut or guessed",
    )


def first_suspicious_line(src: Sequence[str], tgt: Sequence[str]) -> int:
    """The line (from 1) after which the files most probably run apart.

    A one-sided blank line is the surest sign. Otherwise the place where shifting the longer file by the
    surplus makes the lengths of the rest agree best: the sum of |log length ratio| before the cut, unshifted,
    and after it, shifted, is smallest there.
    """
    common = min(len(src), len(tgt))
    for i in range(common):
        if bool(src[i].strip()) != bool(tgt[i].strip()):
            return i + 1
    surplus = abs(len(src) - len(tgt))
    long, short = (src, tgt) if len(src) > len(tgt) else (tgt, src)
    long_log = np.log([len(line) + 1.0 for line in long])
    short_log = np.log([len(line) + 1.0 for line in short])
    if common == 0:
        return 1
    straight = np.abs(long_log[:common] - short_log)
    shifted = np.abs(long_log[surplus : surplus + common] - short_log)
    before = np.concatenate([[0.0], straight.cumsum()])
    after = np.concatenate([shifted[::-1].cumsum()[::-1], [0.0]])
    return int(np.argmin(before + after)) + 1


def hold_out_validation(text: ParallelText, seed: int) -> tuple[ParallelText, ParallelText]:
    """Split off a validation set: (training, validation), drawn by `seed`, both in file order."""
    count = max(1, min(HELD_OUT_PAIRS, int(len(text) * HELD_OUT_SHARE)))
    if len(text) < 2:
        raise DataError("one sentence pair is too few to train on and validate with")
    usable = [i for i in range(len(text)) if text.src[i].strip() and text.tgt[i].strip()]
    pairs = list(zip(text.src, text.tgt, strict=True))
    times = Counter(pairs)
    single = [i for i in usable if times[pairs[i]] == 1]
    if len(single) > count:  # a pair that stands there twice would be held out and trained on
        usable = single
    count = min(count, len(usable) - 1) or 1
    chosen = set(np.random.default_rng(seed).permutation(usable)[:count].tolist())
    held = sorted(chosen)
    rest = [i for i in range(len(text)) if i not in chosen]
    return text.select(rest), text.select(held)


@dataclass(frozen=True)
class Finding:
    """One kind of damage: how many lines have it, the first of them, and whether training drops them."""

    kind: str
    count: int
    lines: list[int]
    advice: str


@dataclass(frozen=True)
class CorpusReport:
    """What the corpus doctor found. `pairs` counts lines; `words` and `types` are split at spaces."""

    pairs: int
    words: tuple[int, int]
    types: tuple[int, int]
    longest: tuple[int, int]
    findings: list[Finding]
    notes: list[str]


def check_corpus(text: ParallelText, against: ParallelText | None = None) -> CorpusReport:
    """Look for what spoils training or makes a test score meaningless.

    `against` is text that must not occur in `text`, such as a test set.
    """
    pairs = list(zip(text.src, text.tgt, strict=True))
    blank = [(not s.strip(), not t.strip()) for s, t in pairs]
    first_seen: dict[tuple[str, str], int] = {}
    duplicates = []
    for i, pair in enumerate(pairs):
        if first_seen.setdefault(pair, i) != i and not all(blank[i]):
            duplicates.append(i)
    filled = [i for i, sides in enumerate(blank) if not any(sides)]
    checks: list[tuple[str, list[int], str]] = [
        ("blank on both sides", [i for i, b in enumerate(blank) if all(b)], "left out of training"),
        ("blank on one side", [i - 1 for i in find_one_sided_blanks(text)],
         "left out of training; check that the files are aligned"),
        ("repeated pairs", duplicates, "kept; data.filters.duplicates: true leaves them out"),
        ("source equals target", find_copied_pairs(text),
         "kept; many of them teach the model to copy"),
        ("lengths differ more than fivefold", [i for i in filled if _lengths_differ(*pairs[i])],
         "probably misaligned; data.filters.length_ratio leaves the worst out"),
        ("shifted against each other, in blocks of 400", find_shifted_blocks(text),
         "from the line named on, the target fits the line before or after better; compare the files"),
        ("replacement characters", [i for i in filled if "\ufffd" in pairs[i][0] + pairs[i][1]],
         "bytes that were not UTF-8, or text that was damaged before"),
    ]
    if against is not None:
        sources, targets = set(against.src), set(against.tgt)
        checks += [
            ("source also in the other corpus", [i for i in filled if pairs[i][0] in sources],
             "a score on that corpus is too high by these"),
            ("target also in the other corpus", [i for i in filled if pairs[i][1] in targets],
             "a score on that corpus is too high by these"),
        ]
    words = [[line.split() for line in side] for side in (text.src, text.tgt)]
    sizes = [[len(line) for line in side] for side in words]
    return CorpusReport(
        pairs=len(pairs),
        words=(sum(sizes[0]), sum(sizes[1])),
        types=(len({w for line in words[0] for w in line}), len({w for line in words[1] for w in line})),
        longest=(int(np.argmax(sizes[0])) + 1, int(np.argmax(sizes[1])) + 1),
        findings=[Finding(kind, len(r), [i + 1 for i in r[:5]], advice) for kind, r, advice in checks if r],
        notes=text.notes + (against.notes if against is not None else []),
    )


def find_one_sided_blanks(text: ParallelText) -> list[int]:
    """Line numbers (from 1) where one side is blank and the other is not."""
    sides = zip(text.src, text.tgt, strict=True)
    return [i for i, (s, t) in enumerate(sides, start=1) if bool(s.strip()) != bool(t.strip())]


def find_shifted_blocks(text: ParallelText) -> list[int]:
    """The first rows (from 0) of blocks whose target belongs to the neighbours of its lines.

    Translations of long sentences are long: the logarithms of the lengths correlate. A block where they do so
    much better one to three lines further up or down has slipped.
    """
    sides = [np.log([len(line) + 1.0 for line in side]) for side in (text.src, text.tgt)]
    found = []
    for first in range(0, len(text) - MIN_BLOCK + 1, BLOCK):
        src, tgt = (side[first : first + BLOCK] for side in sides)
        straight = _correlation(src, tgt)
        for shift in range(1, 4):
            best = max(_correlation(src[shift:], tgt[:-shift]), _correlation(src[:-shift], tgt[shift:]))
            if best > 0.5 and best > straight + 0.3:
                found.append(first)
                break
    return found


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 2 or min(a.std(), b.std()) < 1e-6:  # all alike, but for rounding
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def find_copied_pairs(text: ParallelText) -> list[int]:
    """Rows (from 0) whose target is their source."""
    sides = zip(text.src, text.tgt, strict=True)
    return [i for i, (s, t) in enumerate(sides) if s.strip() == t.strip() != ""]


def _lengths_differ(src: str, tgt: str) -> bool:
    long, short = max(len(src), len(tgt)), min(len(src), len(tgt))
    return long > MISALIGNED_RATIO * short and long > 20
