"""Terminology: which token sequences the translation of each segment must contain."""

from __future__ import annotations

import re
from collections.abc import Sequence

from transformer_cli.decoding.constraints.phrases import Phrase, WordEnds, continues_word, starts_word
from transformer_cli.decoding.segments import Segment, TextCodec
from transformer_cli.errors import DataError
from transformer_cli.token_ids import UNK


class Terminology:
    """Finds the token sequences that the translation of a text must contain."""

    def __init__(self, terms: Sequence[tuple[str, str]], tokenizer: TextCodec) -> None:
        """
        Raises:
            DataError: a target contains characters that are not in the vocabulary.
        """
        encoded = tokenizer.encode([target for _, target in terms]) if terms else []
        self.terms: list[tuple[re.Pattern[str], Phrase]] = []
        for (source, target), ids in zip(terms, encoded, strict=True):
            if UNK in ids or not len(ids):
                raise DataError(
                    f"the term '{target}' contains characters that are not in the vocabulary",
                    hint="remove it from the terms: the model cannot generate it",
                )
            self.terms.append((_word_pattern(source), tuple(int(i) for i in ids)))
        whole = [
            phrase for (_, target), (_, phrase) in zip(terms, self.terms, strict=True) if starts_word(target[-1:])
        ]
        tokens = enumerate(tokenizer.token_bytes()) if whole else ()
        self.word_ends = WordEnds(frozenset(whole), frozenset(i for i, token in tokens if continues_word(token)))

    def assign(self, line: str, segments: Sequence[Segment]) -> list[tuple[Phrase, ...]]:
        """The required phrases of each segment of a line.

        A term belongs to the segments that contain it, and to the last one if a segment boundary
        splits it.
        """
        required: list[list[Phrase]] = [[] for _ in segments]
        for pattern, phrase in self.terms:
            if segments and pattern.search(line):
                matches = [i for i, segment in enumerate(segments) if pattern.search(segment.text)]
                for i in matches or [len(segments) - 1]:
                    required[i].append(phrase)
        return [tuple(dict.fromkeys(phrases)) for phrases in required]


def _word_pattern(term: str) -> re.Pattern[str]:
    """Matches the term as whole words, case-insensitively; in scripts without spaces anywhere."""
    before = r"(?<!\w)" if starts_word(term) else ""
    after = r"(?!\w)" if starts_word(term[-1:]) else ""
    return re.compile(before + re.escape(term) + after, re.IGNORECASE)
