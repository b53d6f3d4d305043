"""A translator whose translations contain the protected items of their sources exactly.

A line is translated as it is. If items are missing in its translation, altered ones are restored. If some are
still missing, the line is translated again without them, and they are inserted by the alignment of the words next
to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from transformer_cli.decoding.token_alignment import align_tokens
from transformer_cli.decoding.translation import Alternative, Translation
from transformer_cli.decoding.translator import Translator
from transformer_cli.deployment.protection.alignment import Aligner, join_alignments, locate_parts
from transformer_cli.deployment.protection.items import Item, find_items, missing_items
from transformer_cli.deployment.protection.placement import (
    Shortened,
    append_items,
    insert_items,
    remove_items,
    restore_altered,
)
from transformer_cli.schema import DecodingConfig


@dataclass(frozen=True)
class ProtectedTranslator:
    """Translates like `translator`; every item of a source occurs in its translation and its alternatives.

    `aligner` is the model whose attention places the items: that of `translator`, or a member of its ensemble.

    Scores and log-probabilities are those of the model's own translation, without the items inserted.
    """

    translator: Translator
    aligner: nn.Module

    @property
    def options(self) -> DecodingConfig:
        return self.translator.options

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        """The translation of each line, in order. Arguments and errors as in `Translator`.

        Raises:
            ConfigError: items are missing, and the model has no attention from target to source.
        """
        results = self.translator.translate(lines, progress, prefixes=prefixes, first=first)
        items = {i: found for i, line in enumerate(lines) if (found := find_items(line))}
        results = [_restored(t, items[i]) if i in items else t for i, t in enumerate(results)]
        lost = {i: missing for i in items if (missing := missing_items(results[i].text, items[i]))}
        for remove_all in (False, True):
            removed = {i: remove_items(lines[i], items[i] if remove_all else lost[i]) for i in lost}
            rest = [removed[i].text if i in lost else "" for i in range(len(lines))]
            if removed:
                again = self.translator.translate(rest, prefixes=prefixes, first=first)
            for i, source in removed.items():
                prefix = prefixes[i] if prefixes else ""
                results[i] = self._with_items(again[i], source, items[i], prefix)
            lost = {i: missing for i in lost if (missing := missing_items(results[i].text, items[i]))}
        for i, found in items.items():
            results[i] = self._complete(results[i], lines[i], found, prefixes[i] if prefixes else "")
        return results

    def _with_items(
        self, translation: Translation, source: Shortened, items: Sequence[Item], prefix: str
    ) -> Translation:
        """The translation of a shortened line, with the removed items."""
        if not source.text.strip():
            text = insert_items(prefix.strip(), source, lambda start, end: None, [(0, len(prefix.strip()))])
            return replace(
                translation, text=text, status="ok", alternatives=[Alternative(text, translation.score)]
            )
        segments = translation.segments
        text = self._inserted(translation.text, source, segments, prefix)
        alternatives = [
            replace(a, text=self._inserted(a.text, source, [(segments[0][0], a.text)], prefix))
            for a in translation.alternatives[1:]
        ]
        return _restored(_with_texts(translation, text, alternatives), items)

    def _inserted(self, text: str, source: Shortened, segments: Sequence[tuple[str, str]], prefix: str) -> str:
        targets = [target for _, target in self.translator.request.terms]
        fixed = [m.span() for target in targets for m in re.finditer(re.escape(target), text)]
        if prefix.strip():
            fixed.append((0, len(prefix.strip())))
        return insert_items(text, source, self._aligner(source.text, text, segments), fixed)

    def _aligner(self, source: str, text: str, segments: Sequence[tuple[str, str]]) -> Aligner:
        """The alignment of a line and its translation, from those of its segments."""
        t = self.translator
        return join_alignments(
            [
                (place, start, align_tokens(self.aligner, t.src_tokenizer, t.tgt_tokenizer, *texts, t.tag))
                for place, (start, _), texts in locate_parts(source, text, segments)
            ]
        )

    def _complete(self, translation: Translation, line: str, items: Sequence[Item], prefix: str) -> Translation:
        """The translation with what is still missing: at the end of its text, and aligned in alternatives."""
        text = translation.text
        if missing := missing_items(text, items):
            text = append_items(text, missing)
        alternatives = []
        for alternative in translation.alternatives[1:]:
            if missing := missing_items(alternative.text, items):
                source = remove_items(line, missing)
                inserted = self._inserted(alternative.text, source, [(source.text, alternative.text)], prefix)
                if still := missing_items(inserted, items):
                    inserted = append_items(inserted, still)
                alternative = replace(alternative, text=inserted)
            alternatives.append(alternative)
        return _with_texts(translation, text, alternatives)


def _restored(translation: Translation, items: Sequence[Item]) -> Translation:
    """The translation with altered items as they were in the source."""
    texts = [translation.text, *(a.text for a in translation.alternatives[1:])]
    restored = [restore_altered(text, missing_items(text, items), items) for text in texts]
    alternatives = [replace(a, text=t) for a, t in zip(translation.alternatives[1:], restored[1:], strict=True)]
    return _with_texts(translation, restored[0], alternatives)


def _with_texts(translation: Translation, text: str, others: Sequence[Alternative]) -> Translation:
    """The translation with another text and other alternatives, without those that are equal now."""
    distinct: dict[str, Alternative] = {text: Alternative(text, translation.alternatives[0].score)}
    for alternative in others:
        distinct.setdefault(alternative.text, alternative)
    return replace(translation, text=text, alternatives=list(distinct.values()))
