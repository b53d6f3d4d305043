"""Filters by script and language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import log
from typing import Any

from transformer_cli.data.filters.base import Pair, PairFilter
from transformer_cli.data.readers.languages import language_code
from transformer_cli.errors import ConfigError
from transformer_cli.unicode_scripts import LETTER, SCRIPTS

MIN_LETTERS = 10
"""Letters from which the script of a side is judged."""
MIN_SCRIPT_SHARE = 0.1
"""Share of the letters of a side of the corpus from which a script is one of its scripts."""
MIN_CHARACTERS = 20
"""Characters from which the language of a side is identified."""
MAX_PROBABILITY, MIN_OTHER = 0.02, 0.8
"""A side is in another language if the expected one is at most this probable, and another at least this."""
MIN_KNOWN_WORDS = 4
"""Words that occur in the sample from which the sides of a pair are told apart."""
MIN_WORD_COUNT = 3
"""Occurrences in the sample from which a word is used to tell the sides apart."""
MAX_LOG_ODDS = 5.0
SIDE_MARGIN = 1.0
"""Mean log-odds of the words, in nats, from which a text belongs to the other side."""


def prevailing_scripts(texts: Iterable[str]) -> tuple[str, ...]:
    """The scripts that make up at least `MIN_SCRIPT_SHARE` of the letters."""
    text = "".join(texts)
    ascii_letters = sum(c.isascii() and c.isalpha() for c in text)
    others = "".join(c for c in text if not c.isascii())
    counts = {name: sum(1 for _ in re.finditer(f"[{letters}]", others)) for name, letters in SCRIPTS.items()}
    counts["Latin"] += ascii_letters
    total = sum(counts.values())
    return tuple(name for name, count in counts.items() if count and count >= MIN_SCRIPT_SHARE * total)


class WrongScript(PairFilter):
    """A side of which less than `share` of the letters are in the scripts that prevail on this side of the corpus."""

    key = "script"
    reason = "wrong script"
    advice = "a side is in another script than the rest of the corpus"

    def __init__(self, share: float, scripts: tuple[Sequence[str], Sequence[str]]) -> None:
        self._share = share
        self._latin = tuple("Latin" in side for side in scripts)
        self._expected = tuple(re.compile(f"[{''.join(SCRIPTS[name] for name in side)}]") if side else None for side in scripts)

    def rejects(self, pair: Pair) -> bool:
        for side, latin, expected in zip(pair.sides, self._latin, self._expected, strict=True):
            if expected is None or (latin and side.isascii()):
                continue
            letters = len(LETTER.findall(side))
            if letters >= MIN_LETTERS and len(expected.findall(side)) < self._share * letters:
                return True
        return False


class WrongLanguage(PairFilter):
    """A side that is in another language than expected, identified by py3langid.

    Args:
        languages: codes or names of the languages of source and target, such as `en,de`.

    Raises:
        ConfigError: the package is not installed, or it does not know a language.
    """

    key = "languages"
    reason = "wrong language"
    advice = "a side is in another language"

    def __init__(self, languages: str) -> None:
        names = [name.strip() for name in languages.split(",")]
        if len(names) != 2 or not all(names):
            raise ConfigError(f"data.filters.languages {languages!r}: two languages are needed, such as en,de")
        self._identifier = load_identifier()
        self._expected = [language_code(name) or name for name in names]
        for language in self._expected:
            if language not in self._identifier.labels:
                raise ConfigError(
                    f"data.filters.languages: {language!r} is not a language that py3langid identifies",
                    hint=f"it knows: {', '.join(sorted(self._identifier.labels))}",
                )

    def rejects(self, pair: Pair) -> bool:
        return any(
            len(side) >= MIN_CHARACTERS and self._is_other(side, expected)
            for side, expected in zip(pair.sides, self._expected, strict=True)
        )

    def _is_other(self, text: str, expected: str) -> bool:
        best, probability = self._identifier.classify(text)
        if best == expected or probability < MIN_OTHER:
            return False
        return bool(dict(self._identifier.rank(text))[expected] <= MAX_PROBABILITY)


def load_identifier() -> Any:
    """The classifier of py3langid. Raises: ConfigError if the package is not installed."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise ConfigError(
            "data.filters.languages needs the package py3langid", hint="pip install 'transformer-cli[langid]'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


class SideWords:
    """How typical words are of the source and of the target, from their counts in a sample of the corpus."""

    def __init__(self, src: Mapping[str, int], tgt: Mapping[str, int]) -> None:
        self._src, self._tgt = src, tgt

    @staticmethod
    def count(src: Iterable[Sequence[str]], tgt: Iterable[Sequence[str]]) -> SideWords:
        """Count the words of a sample."""
        return SideWords(*(Counter(word for words in side for word in words) for side in (src, tgt)))

    @cached_property
    def log_odds(self) -> dict[str, float]:
        """log P(word | source) / P(word | target) of each word that is frequent enough, with add-one smoothing.

        Limited to `MAX_LOG_ODDS`, so that one word does not decide.
        """
        totals = [sum(side.values()) + 1 for side in (self._src, self._tgt)]
        words = {word for side in (self._src, self._tgt) for word, count in side.items() if count >= MIN_WORD_COUNT}
        odds = {
            word: log((self._src.get(word, 0) + 1) / totals[0]) - log((self._tgt.get(word, 0) + 1) / totals[1])
            for word in words
        }
        return {word: max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, value)) for word, value in odds.items()}

    def overlap(self) -> float:
        """Shared probability mass of the word distributions of the two sides, from 0 to 1."""
        totals = [sum(side.values()) or 1 for side in (self._src, self._tgt)]
        return sum(min(count / totals[0], self._tgt.get(word, 0) / totals[1]) for word, count in self._src.items())

    def tendency(self, words: Sequence[str]) -> float:
        """Mean log-odds of the known words: positive for source text; 0 if too few are known."""
        table = self.log_odds
        odds = [table[word] for word in words if word in table]
        return sum(odds) / len(odds) if len(odds) >= MIN_KNOWN_WORDS else 0.0


class SwappedSides(PairFilter):
    """A source that has the words of the target, and a target that has those of the source."""

    key = "swapped"
    reason = "sides swapped"
    advice = "source and target are exchanged; check the order of the columns or files"

    def __init__(self, words: SideWords) -> None:
        self._words = words

    def rejects(self, pair: Pair) -> bool:
        return (
            self._words.tendency(pair.src_words) < -SIDE_MARGIN and self._words.tendency(pair.tgt_words) > SIDE_MARGIN
        )


class UntranslatedSide(PairFilter):
    """Both sides have the words of the same side of the corpus: one was not translated."""

    key = "untranslated"
    reason = "untranslated"
    advice = "source and target are in the same language"

    def __init__(self, words: SideWords) -> None:
        self._words = words

    def rejects(self, pair: Pair) -> bool:
        src = self._words.tendency(pair.src_words)
        if src == 0.0 or abs(src) < SIDE_MARGIN:
            return False
        tgt = self._words.tendency(pair.tgt_words)
        return src * tgt > 0 and abs(tgt) > SIDE_MARGIN
