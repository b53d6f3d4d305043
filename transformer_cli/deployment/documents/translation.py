"""Translates the segments of a document: sentence by sentence, with the markup at the words that it belongs to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from transformer_cli.data.text import Notify
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.documents.base import CODE, Segment, find_codes, peel
from transformer_cli.deployment.documents.formats import DocumentFormat, read_document
from transformer_cli.deployment.engines import LineTranslator, Model
from transformer_cli.deployment.protection.alignment import Span, SpanAlignment, join_alignments, locate_parts
from transformer_cli.deployment.protection.placement import insert_items, remove_items
from transformer_cli.deployment.sentences import DEFAULT_LANGUAGE, split_sentences
from transformer_cli.errors import DataError
from transformer_cli.unicode_scripts import UNSPACED

CHUNK = 2048
"""Sentences that are translated at a time."""
MAX_CHARACTERS = 100_000
"""Characters of a segment with markup; a larger one, which no writer makes, is left as it is."""
FLOW = re.compile(r"[ \t\n\r\f]+")
UNPRINTABLE = re.compile(f"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]|{CODE.pattern}")
"""What a translation must not bring into a document: no XML may have it."""
UNSPACED_END = re.compile("[\u3001-\u303f\uff01-\uff5e]$")
"""Punctuation after which no space follows."""

Progress = Callable[[int, int], object]
"""Receives the number of newly finished sentences, and the number of all of them."""
NOTES = {
    "too large": ("warning", "paragraphs are too large and were not translated"),
    "split": ("note", "sentences were too long for the model and were split into segments"),
    "cut": ("warning", "sentences are too long for the model (data.max_length) and were split in the middle"),
    "failed": ("warning", "sentences have no valid translation: --avoid forbids too much"),
    "empty": ("warning", "sentences were not translated, because the model generated nothing"),
}
"""What is reported, by the names of `SegmentTranslator.counts`."""
AlignTexts = Callable[[str, str], SpanAlignment]
"""The alignment of a source with its translation."""


@dataclass(frozen=True)
class DocumentJob:
    """A document to translate.

    Attributes:
        path: the file.
        form: its format.
        retranslate: replace also finished translations in it.
        source_language, target_language: their codes; empty: as the document says.
    """

    path: Path
    form: DocumentFormat
    retranslate: bool = False
    source_language: str = ""
    target_language: str = ""


def translate_document(
    job: DocumentJob,
    model: Model,
    overrides: Mapping[str, Any],
    request: TranslationRequest,
    notify: Notify,
    progress: Progress = lambda done, total: None,
) -> bytes:
    """The translated document.

    Args:
        overrides, request: as in `Model.translator`.

    Raises:
        UserError: a document, model or options that cannot be used.
    """
    document = read_document(job.path, job.form, retranslate=job.retranslate)
    language = job.source_language or document.language or DEFAULT_LANGUAGE
    split_sentences("", language)  # raises before the model is loaded
    _, translator = model.translator(overrides, request)
    align = partial(model.align, request=request)
    segments = SegmentTranslator(translator, align, lambda text: split_sentences(text, language))
    texts = segments.translate(document.segments, progress)
    try:
        content = document.render(texts, job.target_language)
    except DataError as error:
        raise DataError(f"{job.path}: {error.what}", hint=error.hint) from None
    for note in document.notes:
        notify(f"note: {job.path}: {note}")
    if job.form.states_language and document.language and not job.target_language:
        notify(f"note: {job.path}: still says that its language is {document.language}; see --target-lang")
    for name, what in NOTES.items():
        if segments.counts[name]:
            notify(f"{what[0]}: {job.path}: {segments.counts[name]} {what[1]}")
    return content


@dataclass
class SegmentTranslator:
    """Translates segments with a model.

    Attributes:
        translator: translates lines.
        align: aligns a sentence with its translation; called only for sentences with markup in them.
        split: splits a text into sentences, which joined are the text.
        counts: how many segments were `too large`, and how many sentences `split`, `cut`, `failed` or `empty`.
        chunk: sentences that are given to the translator at a time.
    """

    translator: LineTranslator
    align: AlignTexts
    split: Callable[[str], list[str]]
    counts: Counter[str] = field(default_factory=Counter)
    chunk: int = CHUNK

    def translate(self, segments: Sequence[Segment], progress: Progress = lambda done, total: None) -> list[str]:
        """The translation of each segment, with the same codes. What has no letters stays as it is."""
        texts = [_SegmentText.of(segment, self.split) for segment in segments]
        sentences = list(dict.fromkeys(sentence for text in texts for sentence in text.sentences))
        translations: dict[str, Translation] = {}
        for start in range(0, len(sentences), self.chunk):
            chunk = sentences[start : start + self.chunk]
            results = self.translator.translate(chunk, lambda done: progress(done, len(sentences)), first=start)
            translations.update(zip(chunk, map(self._checked, chunk, results), strict=True))
        self.counts["too large"] += sum(text.is_too_large for text in texts)
        return [text.render(translations, self.align) for text in texts]

    def _checked(self, source: str, translation: Translation) -> Translation:
        """The translation without characters that no document may have; the source if nothing is left."""
        if translation.status in ("split", "cut", "failed"):
            self.counts[translation.status] += 1
        text = UNPRINTABLE.sub(" ", translation.text).strip()
        self.counts["empty"] += not text
        return Translation(text or source, translation.score, translation.status, segments=translation.segments)


@dataclass(frozen=True)
class _SegmentText:
    """The text of a segment, prepared.

    Attributes:
        source: the coded text.
        before, core, after: its three parts; only `core` is translated. If it flows, its spaces are single.
        parts: the sentences of the core without codes, each with the spaces after it.
    """

    source: str
    before: str = ""
    core: str = ""
    after: str = ""
    parts: Sequence[str] = ()
    is_too_large: bool = False

    @staticmethod
    def of(segment: Segment, split: Callable[[str], list[str]]) -> _SegmentText:
        if len(segment.text) > MAX_CHARACTERS and CODE.search(segment.text):
            return _SegmentText(segment.text, is_too_large=True)
        before, core, after = peel(segment.text)
        if segment.flows:
            core = FLOW.sub(" ", core)
        plain = remove_items(core, find_codes(core)).text
        return _SegmentText(segment.text, before, core, after, split(plain))

    @property
    def sentences(self) -> Iterator[str]:
        """What is given to the model."""
        return (part.strip() for part in self.parts if _has_letters(part))

    def render(self, translations: dict[str, Translation], align: AlignTexts) -> str:
        """The coded translation."""
        if all(translations[sentence].text == sentence for sentence in self.sentences):
            return self.source
        text = ""
        places: list[tuple[Span, int, SpanAlignment]] = []
        position, previous = 0, ""
        for part in self.parts:
            sentence = part.strip()
            if _has_letters(sentence):
                start = position + part.index(sentence)
                text = _with_space(text, previous) + part[: part.index(sentence)]
                places += _aligned(sentence, translations[sentence], start, len(text), align)
                text += translations[sentence].text + part[part.index(sentence) + len(sentence) :]
            else:
                places.append(((position, position + len(part)), len(text), _Copy(part)))
                text += part
            position, previous = position + len(part), part
        codes = find_codes(self.core)
        if codes:
            text = insert_items(text, remove_items(self.core, codes), join_alignments(places))
        return self.before + text + self.after


def _has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))


def _with_space(text: str, source: str) -> str:
    """The translation of `source`, before another sentence: with a space after it if its script has one there."""
    if text.endswith(" ") and not text.endswith("  ") and UNSPACED_END.search(text[:-1]):
        return text[:-1]
    is_unspaced = not UNSPACED_END.search(text) and UNSPACED_END.search(source)
    return text + " " if is_unspaced and not UNSPACED.search(text[-1:]) else text


def _aligned(
    sentence: str, translation: Translation, offset: int, target_offset: int, align: AlignTexts
) -> list[tuple[Span, int, SpanAlignment]]:
    """The alignments of a sentence, or of the segments that it was translated in."""
    if len(translation.segments) < 2:
        whole = (offset, offset + len(sentence)), target_offset
        return [(*whole, _Lazy(align, sentence, translation.text))]
    return [
        ((offset + start, offset + end), target_offset + target_start, _Lazy(align, *texts))
        for (start, end), (target_start, _), texts in locate_parts(
            sentence, translation.text, translation.segments
        )
    ]


@dataclass(frozen=True)
class _Copy:
    """The alignment of a text with itself."""

    text: str

    def target_of(self, start: int, end: int) -> Span | None:
        return max(start, 0), min(end, len(self.text))


@dataclass
class _Lazy:
    """An alignment that is computed when it is needed."""

    compute: AlignTexts
    source: str
    target: str

    @cached_property
    def alignment(self) -> SpanAlignment:
        if self.source == self.target:
            return _Copy(self.source)
        return self.compute(self.source, self.target)

    def target_of(self, start: int, end: int) -> Span | None:
        return self.alignment.target_of(start, end)
