"""The corpus doctor: finds what harms training or makes a test score meaningless, and says what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.corpus_stream import Batch, CorpusStream
from transformer_cli.data.filters.alignment import MIN_PAIRS
from transformer_cli.data.filters.base import Filter, Pair
from transformer_cli.data.filters.content import CONTROL
from transformer_cli.data.filters.duplicates import Duplicates, NearDuplicates, Overlap
from transformer_cli.data.filters.pipeline import build_filters, split_filters
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.signs import SIGNS
from transformer_cli.data.statistics import BatchStatistics, CorpusStatistics, WordHashes
from transformer_cli.data.survey import BLOCK
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

    def add(self, rows: Sequence[int], batch: Batch, stream: CorpusStream) -> None:
        """Count the affected pairs of a batch."""
        self.count += len(rows)
        shown = rows[: max(0, PLACES - len(self.lines))]
        for pair in stream.pairs([batch[row] for row in shown]):
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
    sides = CorpusStatistics()
    blank = [Finding("blank on both sides", "left out of training"), Finding("blank on one side", _ONE_SIDED)]
    by_filter = [Finding(one.reason, one.advice) for one in filters]
    by_sign = [Finding(sign.kind, sign.advice, mends=sign.mends) for sign in SIGNS]
    total = Finding("pairs with a fault, of all kinds", "remove them with clean", level="problem")
    examine = _Examination(filters)
    for batch, found in stream.map(examine):
        sides.add(found.statistics)
        total.count += found.faulty
        for findings, places in ((blank, found.blank), (by_sign, found.signs)):
            for finding, rows in zip(findings, places, strict=True):
                finding.add(rows, batch, stream)
        for finding, rows in zip(by_filter, examine.flagged(found), strict=True):
            finding.add(rows, batch, stream)
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


@dataclass(frozen=True)
class _Found:
    """What was found in a batch of pairs, by rows of the batch.

    Attributes:
        blank: pairs that are blank on both sides, and on one.
        signs: pairs that show each of `SIGNS`.
        flagged: pairs that each of the filters flags that need no other pairs.
        filled: pairs with text on both sides.
        hashes: of the filled pairs, for each filter that compares them with earlier pairs.
        faulty: number of pairs with any fault.
    """

    statistics: BatchStatistics
    blank: tuple[list[int], list[int]]
    signs: list[list[int]]
    flagged: list[list[int]]
    filled: list[int]
    hashes: list[NDArray[np.uint64]]
    faulty: int


class _Examination:
    """Examines batches of pairs, in any process and any order. Every filter sees every pair that is not blank."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._pure, self._remembering = split_filters(filters)
        self._words = WordHashes()

    def __call__(self, pairs: Sequence[Pair]) -> _Found:
        filled = [row for row, pair in enumerate(pairs) if not pair.is_blank]
        with_text = [pairs[row] for row in filled]
        flagged = []
        faulty: set[int] = set()
        for one in self._pure:
            rows = [row for row, excludes in zip(filled, one.flag(with_text), strict=True) if excludes]
            flagged.append(rows)
            if one.key not in NOT_FAULTY:
                faulty.update(rows)
        blank = [(row, pair) for row, pair in enumerate(pairs) if pair.is_blank]
        return _Found(
            statistics=self._words.count(pairs),
            blank=(
                [row for row, pair in blank if not (pair.src or pair.tgt)],
                [row for row, pair in blank if pair.src or pair.tgt],
            ),
            signs=[[row for row, pair in enumerate(pairs) if sign.shows(pair)] for sign in SIGNS],
            flagged=flagged,
            filled=filled,
            hashes=[one.hash_pairs(with_text) for one in self._remembering],
            faulty=len(faulty) + len(blank),
        )

    def flagged(self, found: _Found) -> list[list[int]]:
        """The rows that each of the filters flags. Batches must be given in order, each once."""
        flagged = list(found.flagged)
        new = np.ones(len(found.filled), dtype=bool)  # a repeated pair is no near-duplicate as well
        filled = np.array(found.filled, dtype=np.int64)
        for one, hashes in zip(self._remembering, found.hashes, strict=True):
            candidates = np.flatnonzero(new) if one.key == NearDuplicates.key else np.arange(len(new))
            rows = candidates[np.array(one.flag_hashes(hashes[candidates]), dtype=bool)]
            new[rows] = False
            flagged.append(filled[rows].tolist())
        return flagged


def _grade(finding: Finding, pairs: int, excluded: Sequence[str] | None) -> None:
    """Set the level of a finding."""
    total = len(excluded) / 2 if finding.kind == "also in the test set" and excluded else pairs
    if finding.kind != "no correspondence of words" and finding.count >= SERIOUS_SHARE * total:
        finding.level = "problem"


def _whole_corpus(stream: CorpusStream, profile: CorpusProfile, sides: CorpusStatistics) -> Iterator[Finding]:
    """Findings about the corpus as a whole."""
    shifted = sides.find_shifted()
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
