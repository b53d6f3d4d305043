"""Failures that can be counted: what a translation does wrong, apart from being a worse or better one.

Each type of failure is a class with the definition that the report prints. A type sees a line with its
references, so that what a reference does as well is no failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.content import NUMBER, URL, CopiedSource, number_digits
from transformer_cli.evaluation.breakdown import WORD

MAX_PHRASE = 6
"""Words of the longest phrase whose repetition is recognised."""
MIN_REPEATS = 3
"""Times in a row from which a phrase is repeated."""
MIN_LETTERS = 4
"""Letters from which a word is taken as untranslated; shorter ones are often words of both languages."""
LENGTH_FACTOR = 2.0
MIN_LENGTH = 20
"""A translation is too long or too short by this factor, if the longer side has so many characters."""
SENTENCE_PUNCTUATION = ".,;:!?…"


@dataclass(frozen=True)
class Case:
    """A line of a test set and its translation.

    Attributes:
        counts: frequencies of words of the target language: of the training text, or of the references.
    """

    source: str
    hypothesis: str
    references: Sequence[str]
    counts: Mapping[str, int]

    @cached_property
    def pair(self) -> Pair:
        return Pair(1, self.source, self.hypothesis)

    @property
    def is_empty(self) -> bool:
        """Whether there is no translation of a source that has text."""
        return bool(self.pair.src) and not self.pair.tgt

    @property
    def is_copy(self) -> bool:
        """Whether the translation is the source, and no reference is."""
        return CopiedSource(1).rejects(self.pair) and self.pair.src not in (r.strip() for r in self.references)


class Failure(Protocol):
    """A type of failure. `definition`: when a translation has it, for the report."""

    key: str
    title: str
    definition: str

    def evidence(self, case: Case) -> str | None:
        """What is wrong, in a few words (may be empty); None if nothing is."""
        ...


class Empty:
    key = "empty"
    title = "Empty"
    definition = "The source has text, the translation has none."

    def evidence(self, case: Case) -> str | None:
        return "" if case.is_empty else None


class Copied:
    key = "copied"
    title = "Copied source"
    definition = "The translation equals the source, and no reference does."

    def evidence(self, case: Case) -> str | None:
        return "" if case.is_copy else None


class Repetition:
    key = "repetition"
    title = "Repetition"
    definition = (
        f"A phrase of 1 to {MAX_PHRASE} words stands {MIN_REPEATS} or more times in a row, "
        "but not in the source or a reference."
    )

    def evidence(self, case: Case) -> str | None:
        phrase = repeated_phrase(case.pair.tgt_words)
        if not phrase or repeated_phrase(case.pair.src_words):
            return None
        return None if any(repeated_phrase(Pair(1, "", r).tgt_words) for r in case.references) else phrase


class UntranslatedWords:
    key = "untranslated"
    title = "Untranslated words"
    definition = (
        f"A word of {MIN_LETTERS} or more letters is the same in source and translation, starts with a small "
        "letter, and is neither in a reference nor a known word of the target language. Not counted for copied "
        "sources."
    )

    def evidence(self, case: Case) -> str | None:
        if case.is_copy:
            return None
        known = {word for reference in case.references for word in WORD.findall(reference)}
        source = set(WORD.findall(case.source))
        words = dict.fromkeys(
            word
            for word in WORD.findall(case.hypothesis)
            if word in source
            and word not in known
            and len(word) >= MIN_LETTERS
            and word.isalpha()
            and word[0].islower()
            and not case.counts.get(word)
        )
        return ", ".join(words) or None


class NumberMismatch:
    key = "numbers"
    title = "Number mismatch"
    definition = (
        "A number of the source that a reference keeps is missing, or a number of two or more digits is neither "
        "in the source nor in a reference. Numbers are compared by their digits. Not counted for empty "
        "translations."
    )

    def evidence(self, case: Case) -> str | None:
        if case.is_empty:
            return None
        source, found = _numbers(case.source), _numbers(case.hypothesis)
        kept = [_numbers(reference) for reference in case.references]
        missing = [n for n in source - found if any(n in reference for reference in kept)]
        expected = set(source).union(*kept)
        added = [n for n in found if n not in expected and len(n) > 1]
        return _difference(missing, added)


class UrlMismatch:
    key = "urls"
    title = "URL mismatch"
    definition = (
        "A URL or e-mail address of the source is missing or altered, or one is added that no reference has. "
        "Not counted for empty translations."
    )

    def evidence(self, case: Case) -> str | None:
        if case.is_empty:
            return None
        source, found = _urls(case.source), _urls(case.hypothesis)
        allowed = set(source).union(*map(_urls, case.references))
        return _difference(list(source - found), [url for url in found if url not in allowed])


class NameMismatch:
    key = "names"
    title = "Name mismatch"
    definition = (
        "A capitalised word of the source, not its first, is also in a reference but not in the translation. "
        "Not counted for empty translations."
    )

    def evidence(self, case: Case) -> str | None:
        if case.is_empty:
            return None
        names = [word for word in WORD.findall(case.source)[1:] if _is_name(word)]
        kept = {word for reference in case.references for word in WORD.findall(reference)}
        found = set(WORD.findall(case.hypothesis))
        return _difference([name for name in dict.fromkeys(names) if name in kept and name not in found], [])


class OverTranslation:
    key = "over"
    title = "Over-translation"
    definition = (
        f"The translation has more than {LENGTH_FACTOR:g} times the characters of the longest reference, and at "
        f"least {MIN_LENGTH}. Not counted where a phrase is repeated."
    )

    def evidence(self, case: Case) -> str | None:
        longest, length = max(map(_length, case.references)), _length(case.hypothesis)
        if length < MIN_LENGTH or length <= LENGTH_FACTOR * longest or Repetition().evidence(case) is not None:
            return None
        return f"{length} characters instead of {longest}"


class UnderTranslation:
    key = "under"
    title = "Under-translation"
    definition = (
        f"The translation has less than 1/{LENGTH_FACTOR:g} of the characters of the shortest reference, which "
        f"has at least {MIN_LENGTH}. Not counted for empty translations."
    )

    def evidence(self, case: Case) -> str | None:
        shortest, length = min(map(_length, case.references)), _length(case.hypothesis)
        if case.is_empty or shortest < MIN_LENGTH or length * LENGTH_FACTOR >= shortest:
            return None
        return f"{length} characters instead of {shortest}"


FAILURES: tuple[Failure, ...] = (
    Empty(),
    Copied(),
    Repetition(),
    UntranslatedWords(),
    NumberMismatch(),
    UrlMismatch(),
    NameMismatch(),
    OverTranslation(),
    UnderTranslation(),
)


def find_failures(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    counts: Mapping[str, int],
    failures: Iterable[Failure] = FAILURES,
) -> dict[str, dict[int, str]]:
    """Key of each type -> row (from 0) of each line that has it -> evidence. Blank sources are left out.

    Args:
        references: one or more sets of references.
        counts: see `Case`.
    """
    types = list(failures)
    found: dict[str, dict[int, str]] = {failure.key: {} for failure in types}
    for row, (source, hypothesis, *refs) in enumerate(zip(sources, hypotheses, *references, strict=True)):
        if not source.strip():
            continue
        case = Case(source, hypothesis, refs, counts)
        for failure in types:
            if (evidence := failure.evidence(case)) is not None:
                found[failure.key][row] = evidence
    return found


def repeated_phrase(words: Sequence[str]) -> str:
    """The phrase that stands `MIN_REPEATS` or more times in a row; empty if there is none."""
    for period in range(1, min(MAX_PHRASE, len(words) // MIN_REPEATS) + 1):
        run = 0
        for place in range(period, len(words)):
            run = run + 1 if words[place] == words[place - period] else 0
            if run >= period * (MIN_REPEATS - 1):
                return " ".join(words[place - period + 1 : place + 1])
    return ""


def _numbers(text: str) -> Counter[str]:
    """The digits of each number; those in URLs are not numbers."""
    return Counter(number_digits(number) for number in NUMBER.findall(URL.sub(" ", text)))


def _urls(text: str) -> Counter[str]:
    return Counter(url.rstrip(SENTENCE_PUNCTUATION) for url in URL.findall(text))


def _is_name(word: str) -> bool:
    return len(word) > 1 and word[0].isupper()


def _length(text: str) -> int:
    return len(text.strip())


def _difference(missing: list[str], added: list[str]) -> str | None:
    named = (("missing", missing), ("added", added))
    return "; ".join(f"{what}: {', '.join(items)}" for what, items in named if items) or None
