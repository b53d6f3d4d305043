"""The corpus doctor: finds what harms training or makes a test score meaningless, and says what to do about it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from transformer_cli.data.corpus_stream import CorpusStream
from transformer_cli.data.filters.alignment import MIN_PAIRS
from transformer_cli.data.filters.base import Filter, Pair
from transformer_cli.data.filters.content import CONTROL
from transformer_cli.data.filters.duplicates import Duplicates, NearDuplicates, Overlap
from transformer_cli.data.filters.pipeline import BATCH, build_filters
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.signs import SIGNS
from transformer_cli.data.survey import BLOCK, find_shifted_blocks
from transformer_cli.errors import DataError
from transformer_cli.schema.data import FiltersConfig

PLACES = 5
"""Maximum number of places of a finding."""
EXAMPLES, EXAMPLE_LENGTH = 2, 100
"""Maximum number of example pairs of a finding, and of characters of each side."""
SERIOUS_SHARE = 0.01
"""Share of the pairs from which a finding is a problem; below, it is a note."""
FAULTY_SHARE = 0.005
"""Share of pairs with any fault, repetitions apart, from which they are a problem together; clean text has less."""
MONOLINGUAL_COPIES = 0.5
"""Share of copied pairs from which source and target are probably the same file."""
CERTAIN_PAIRS = 3 * MIN_PAIRS
"""Pairs of the sample from which a missing correspondence of words is a problem."""
UNSPACED_ALPHABETS = {"Thai", "Lao", "Khmer", "Burmese"}
"""Scripts whose words cannot be found, so that a missing correspondence says little."""
QUANTILES = {"5 %": 0.05, "median": 0.5, "95 %": 0.95, "99 %": 0.99}
"""Columns of the table of lengths."""


@dataclass
class Finding:
    """One kind of problem.

    Attributes:
        kind: what it is, in a few words.
        count: number of affected pairs; of blocks of lines for shifted text.
        lines: their first line numbers, from 1, in their files.
        places: the same with the names of the files.
        examples: the first affected pairs, shortened.
        advice: what it means and what to do.
        level: `problem` if it would spoil training or a test score, otherwise `note`.
        mends: the normalisation that mends it; empty if there is none.
    """

    kind: str
    advice: str
    count: int = 0
    lines: list[int] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    examples: list[tuple[str, str]] = field(default_factory=list)
    level: str = "note"
    mends: str = ""

    def add(self, pair: Pair, stream: CorpusStream) -> None:
        """Count an affected pair."""
        self.count += 1
        if len(self.lines) < PLACES:
            self.lines.append(pair.line)
            self.places.append(stream.location(pair))
        if len(self.examples) < EXAMPLES:
            self.examples.append((_shorten(pair.src), _shorten(pair.tgt)))


@dataclass(frozen=True)
class CorpusReport:
    """The result of `check_corpus`.

    Attributes:
        pairs: number of pairs.
        words, types: words and distinct words of (source, target); each character of a script without spaces is one.
        longest: number (from 1, in its file) of the line with the most words in (source, target).
        lengths: words and characters of each side: quantile -> value.
        findings: what was found, problems first.
        notes: warnings from reading.
    """

    pairs: int
    words: tuple[int, int]
    types: tuple[int, int]
    longest: tuple[int, int]
    lengths: dict[str, dict[str, int]]
    findings: list[Finding]
    notes: list[str]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "problem"]


def check_corpus(
    stream: CorpusStream, config: FiltersConfig, excluded: Sequence[str] | None = None
) -> CorpusReport:
    """Find problems that harm training or make a test score meaningless.

    Args:
        stream: the corpus, which is read twice.
        config: the filters, whose pairs are findings.
        excluded: lines that must not occur in the corpus, such as those of a test set.

    Raises:
        DataError: unreadable or misaligned files, or no pair with text on both sides.
    """
    profile = CorpusProfile.draw(stream)
    if not profile.sample:
        names = ", ".join(str(path) for source in stream.sources for path in source.paths)
        raise DataError(f"{names}: no sentence pair (every line is blank on at least one side)")
    filters = build_filters(config, profile, excluded)
    sides = _Sides()
    blank = [Finding("blank on both sides", "left out of training"), Finding("blank on one side", _ONE_SIDED)]
    by_filter = [Finding(one.reason, one.advice) for one in filters]
    by_sign = [Finding(sign.kind, sign.advice, mends=sign.mends) for sign in SIGNS]
    total = Finding("pairs with a fault, of all kinds", "remove them with clean", level="problem")
    pairs = iter(stream)
    while batch := list(islice(pairs, BATCH)):
        for pair in batch:
            sides.add(pair)
            if pair.is_blank:
                blank[bool(pair.src or pair.tgt)].add(pair, stream)
            for sign, finding in zip(SIGNS, by_sign, strict=True):
                if sign.shows(pair):
                    finding.add(pair, stream)
        filled = [pair for pair in batch if not pair.is_blank]
        faulty = set()
        for one, finding, flags in zip(filters, by_filter, _flags(filters, filled), strict=True):
            for i, (pair, excludes) in enumerate(zip(filled, flags, strict=True)):
                if excludes:
                    finding.add(pair, stream)
                    if one.key not in NOT_FAULTY:
                        faulty.add(i)
        total.count += len(faulty) + len(batch) - len(filled)
    for sign, finding in zip(SIGNS, by_sign, strict=True):
        if finding.count < sign.min_share * sides.pairs:
            finding.count = 0
    if total.count < FAULTY_SHARE * sides.pairs:
        total.count = 0
    findings = [total, *blank, *by_sign, *by_filter, *_whole_corpus(stream, profile, sides)]
    for finding in findings:
        _grade(finding, sides.pairs, excluded)
    present = sorted((f for f in findings if f.count), key=lambda f: (f.level == "note", -f.count))
    return CorpusReport(
        pairs=sides.pairs,
        words=sides.total_words,
        types=sides.types,
        longest=sides.longest,
        lengths=sides.table(),
        findings=present,
        notes=stream.messages,
    )


NOT_FAULTY = (Duplicates.key, NearDuplicates.key, Overlap.key)
"""Keys of the filters of pairs without a fault of their own."""
_ONE_SIDED = "left out of training; many of them mean that the files are not aligned"


def _flags(filters: Sequence[Filter], pairs: Sequence[Pair]) -> Iterator[list[bool]]:
    """What each filter flags. Every filter sees every pair; only repeated pairs are no near-duplicates as well."""
    repeated = [False] * len(pairs)
    for one in filters:
        if one.key == "near_duplicates":
            flags = [False] * len(pairs)
            new = [i for i, known in enumerate(repeated) if not known]
            for i, flag in zip(new, one.flag([pairs[i] for i in new]), strict=True):
                flags[i] = flag
        else:
            flags = one.flag(pairs)
        if one.key == "duplicates":
            repeated = flags
        yield flags


def _grade(finding: Finding, pairs: int, excluded: Sequence[str] | None) -> None:
    """Set the level of a finding."""
    total = len(excluded) / 2 if finding.kind == "also in the test set" and excluded else pairs
    if finding.kind != "no correspondence of words" and finding.count >= SERIOUS_SHARE * total:
        finding.level = "problem"


def _whole_corpus(stream: CorpusStream, profile: CorpusProfile, sides: _Sides) -> Iterator[Finding]:
    """Findings about the corpus as a whole."""
    shifted = find_shifted_blocks(sides.characters[0], sides.characters[1])
    if shifted:
        places = [sides.place(row, stream) for row in shifted[:PLACES]]
        yield Finding(
            f"shifted against each other, in blocks of {BLOCK}",
            "from this line on, the target fits a line before or after it better; compare the files",
            len(shifted),
            [line for line, _ in places],
            [place for _, place in places],
            level="problem",
        )
    copied = sum(pair.src == pair.tgt for pair in profile.sample)
    if profile.is_monolingual and copied > MONOLINGUAL_COPIES * len(profile.sample):
        yield Finding(
            "source equals target", "check that source and target are different files", copied, level="problem"
        )
    elif not profile.is_monolingual and len(profile.sample) >= MIN_PAIRS and profile.alignment is None:
        unspaced = UNSPACED_ALPHABETS & {script for side in profile.scripts for script in side}
        certain = len(profile.sample) >= CERTAIN_PAIRS and not unspaced
        yield Finding(
            "no correspondence of words",
            "the words of the sides do not explain each other: the files do not belong together, or are too small to "
            "tell",
            sides.pairs,
            level="problem" if certain else "note",
        )


class _Sides:
    """Lengths and words of both sides: 16 bytes a pair, and the distinct words."""

    def __init__(self) -> None:
        self.pairs = 0
        self.characters = array("i"), array("i")
        self._words = array("i"), array("i")
        self._types: tuple[set[str], set[str]] = set(), set()
        self._longest = [(0, 1), (0, 1)]
        self._starts: list[int] = []
        self._lines: list[array[int]] = []

    def add(self, pair: Pair) -> None:
        self.pairs += 1
        while pair.file >= len(self._starts):  # a file may have no pair
            self._starts.append(self.pairs - 1)
            self._lines.append(array("i"))
        if len(self.characters[0]) % BLOCK == 0:
            self._lines[-1].append(pair.line)
        for side, (text, words) in enumerate(((pair.src, pair.src_words), (pair.tgt, pair.tgt_words))):
            self.characters[side].append(len(text))
            self._words[side].append(len(words))
            self._types[side].update(words)
            if len(words) > self._longest[side][0]:
                self._longest[side] = len(words), pair.line

    def place(self, row: int, stream: CorpusStream) -> tuple[int, str]:
        """Line and place of a row at the beginning of a block."""
        file = max(i for i, start in enumerate(self._starts) if start <= row or i == 0)
        first = -(-self._starts[file] // BLOCK)
        lines = self._lines[file]
        line = lines[min(row // BLOCK - first, len(lines) - 1)] if lines else row - self._starts[file] + 1
        return line, f"{stream.sources[file].path}, line {line:,}"

    @property
    def total_words(self) -> tuple[int, int]:
        return sum(self._words[0]), sum(self._words[1])

    @property
    def types(self) -> tuple[int, int]:
        return len(self._types[0]), len(self._types[1])

    @property
    def longest(self) -> tuple[int, int]:
        return self._longest[0][1], self._longest[1][1]

    def table(self) -> dict[str, dict[str, int]]:
        """Quantiles of the lengths of each side."""
        rows = {}
        for name, counts in (("words", self._words), ("characters", self.characters)):
            for side, values in zip(("source", "target"), counts, strict=True):
                lengths = np.frombuffer(values, dtype=np.intc)
                quantiles = np.quantile(lengths, list(QUANTILES.values()), method="lower")
                row = dict(zip(QUANTILES, map(int, quantiles), strict=True))
                rows[f"{side} {name}"] = {**row, "longest": int(lengths.max())}
        return rows


def _shorten(text: str) -> str:
    text = CONTROL.sub("\ufffd", text)  # escape sequences would change the terminal
    return text if len(text) <= EXAMPLE_LENGTH else f"{text[: EXAMPLE_LENGTH - 3]}..."


def mending_command(findings: Iterable[Finding], corpus: str, excluded: str) -> str:
    """The `clean` command that mends what it can; empty if nothing was found.

    Args:
        corpus: the options that name the corpus.
        excluded: the options that name the test set.
    """
    found = list(findings)
    if not found:
        return ""
    steps = ",".join(dict.fromkeys(finding.mends for finding in found if finding.mends))
    options = [corpus, f"--normalize {steps}" if steps else "", excluded, "--output cleaned"]
    return " ".join(["transformer-cli clean", *filter(None, options)])
