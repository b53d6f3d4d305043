"""Translates uploaded documents, and keeps the results in memory until they are fetched or too old."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.documents.base import UnsupportedDocumentError
from transformer_cli.deployment.documents.formats import (
    FORMATS,
    DocumentFormat,
    format_by_content,
    format_by_name,
)
from transformer_cli.deployment.documents.translation import SegmentTranslator
from transformer_cli.deployment.protection.alignment import SpanAlignment
from transformer_cli.deployment.sentences import split_sentences
from transformer_cli.deployment.server.batching import Job, SearchOptions
from transformer_cli.deployment.server.isolation import read_in_process
from transformer_cli.deployment.server.models import UNKNOWN_LANGUAGES
from transformer_cli.deployment.server.schemas import DocumentRequest
from transformer_cli.deployment.server.sentences import cut_sentence
from transformer_cli.deployment.server.service import Service
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import UserError
from transformer_cli.schema import DecodingConfig

MAX_DOCUMENTS, MAX_WAITING = 2, 8
"""Documents that are translated at the same time, each with a process, and that wait for it."""
MAX_STORED_BYTES, STORED_SECONDS = 64 << 20, 600.0
"""Size of all results that are kept, and for how long; the oldest are dropped when there are too many."""
IDENTIFIED = 10_000
"""Characters by which the language of a document is identified."""
MEDIA_TYPES = {
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".po": "text/x-gettext-translation",
    ".html": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".docm": "application/vnd.ms-word.document.macroEnabled.12",
    ".dotx": "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
    ".xliff": "application/xliff+xml",
}
"""By suffix; other suffixes have the first of their format's that is here."""


@dataclass(frozen=True)
class TranslatedDocument:
    """A result: the file, its name for the user, and its media type."""

    content: bytes
    name: str
    media_type: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers with which a browser saves the file, and never shows it as a page of this server."""
        plain = f"document{PurePosixPath(self.name).suffix}"  # for clients that do not read `filename*`
        names = f"filename=\"{plain}\"; filename*=UTF-8''{quote(self.name, safe='')}"
        return {
            "content-type": self.media_type,  # without a charset, which the document states itself
            "content-disposition": f"attachment; {names}",
            "content-security-policy": "sandbox; default-src 'none'",
        }


class ResultStore:
    """Results by names that cannot be guessed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._results: OrderedDict[str, tuple[float, TranslatedDocument]] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of all results."""
        return sum(len(document.content) for _, document in self._results.values())

    def add(self, document: TranslatedDocument) -> str:
        """Keep a result. Returns the name of its download."""
        self._drop_old()
        while self._results and self.size + len(document.content) > MAX_STORED_BYTES:
            self._results.popitem(last=False)
        name = secrets.token_urlsafe(16) + PurePosixPath(document.name).suffix
        self._results[name] = self._clock() + STORED_SECONDS, document
        return name

    def get(self, name: str) -> TranslatedDocument:
        """Raises: RequestError: there is no such result any more."""
        self._drop_old()
        if name not in self._results:
            raise RequestError(404, "there is no such document; results are kept for a short time only")
        return self._results[name][1]

    def _drop_old(self) -> None:
        while self._results and next(iter(self._results.values()))[0] < self._clock():
            self._results.popitem(last=False)


class DocumentService:
    """Translates documents with the models of a service. All methods run on the event loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.results = ResultStore()
        self._turn = asyncio.Semaphore(MAX_DOCUMENTS)
        self._accepted = 0

    async def translate(self, name: str, data: bytes, request: DocumentRequest) -> TranslatedDocument:
        """Translate a document.

        Args:
            name: of its file; its suffix decides about its format, then its content.

        Raises:
            RequestError: 413: too large; 415: not a document that can be translated; 422: damaged, or values that
                cannot be used; 501: what the engine cannot do, or a missing package; 503: busy, or out of time.
        """
        form = find_format(name, data)
        if request.source != "auto":
            self.service.choose(request.model, request.source, request.target)
        if self._accepted >= MAX_DOCUMENTS + MAX_WAITING:
            raise RequestError(503, "the server is busy with other documents", retry_after=5)
        self._accepted += 1
        try:
            async with asyncio.timeout(self.service.settings.timeout), self._turn:
                content = await self._translate(data, form, request)
        except TimeoutError:
            raise RequestError(503, "the translation took too long", retry_after=5) from None
        finally:
            self._accepted -= 1
        self.service.metrics.documents.labels(form.name).inc()
        return TranslatedDocument(content, translated_name(name, form, request.target), media_type(name, form))

    async def _translate(self, data: bytes, form: DocumentFormat, request: DocumentRequest) -> bytes:
        async with read_in_process(data, form, self.service.settings.timeout) as document:
            size = sum(len(segment.text) for segment in document.segments)
            if size > self.service.settings.max_document_bytes:
                raise RequestError(413, f"the document has {size:,} characters of text, which are too many")
            source = request.source
            if source == "auto":
                start = "\n".join(segment.text for segment in document.segments)[:IDENTIFIED]
                source = self.service.identify([start], request.model, request.target)[0]["language"]
            task = _Task(self.service, request.model, source, request.target)
            segments = SegmentTranslator(task, task.align, task.split, chunk=self.service.settings.max_queue + 1)
            try:
                texts = await asyncio.to_thread(segments.translate, document.segments)
            except UserError as error:
                raise RequestError(422, error.what) from None
            finally:
                task.cancel()
            language = "" if task.model.target in UNKNOWN_LANGUAGES else request.target
            return await document.write(texts, language)


class _Task:
    """What `SegmentTranslator` calls, on a thread of its own: sentences go to the queue of the model.

    The sentences of a document are one job, so that it takes turns with other requests.
    """

    def __init__(self, service: Service, name: str | None, source: str, target: str) -> None:
        """Raises: RequestError: no such model, or its queue is full."""
        self._service, self._choice = service, (name, source, target)
        running = service.choose(*self._choice)
        running.worker.check_space(1)
        self.model = running.model
        self._loop = asyncio.get_running_loop()
        self._job: Job | None = None
        self._is_cancelled = False

    @property
    def options(self) -> DecodingConfig:
        return self.model.model.source.config.decoding

    def split(self, text: str) -> list[str]:
        return [piece for part in split_sentences(text, self.model.source) for piece in cut_sentence(part)]

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        """Raises: RequestError: the queue is full, the time is over, or the client has gone."""
        return asyncio.run_coroutine_threadsafe(self._search(lines), self._loop).result()

    def align(self, source: str, target: str) -> SpanAlignment:
        """Raises: RequestError: the engine has no alignment, or the client has gone. ConfigError: no attention."""
        if self._is_cancelled:
            raise RequestError(503, "the client has gone")
        return self.model.align(source, target)

    def cancel(self) -> None:
        """End the thread soon: nobody waits for it. Without effect at the end."""
        self._is_cancelled = True
        if self._job is not None:
            self._job.fail(RequestError(503, "the client has gone"))

    async def _search(self, lines: Sequence[str]) -> list[Translation]:
        if self._is_cancelled:
            raise RequestError(503, "the client has gone")
        # Chosen only now: a reload would have closed an older queue.
        running = self._service.choose(*self._choice)
        self.model = running.model
        self._job = running.worker.submit(lines, SearchOptions(), self._service.settings.timeout)
        return await self._job.wait(len(lines))


def find_format(name: str, data: bytes) -> DocumentFormat:
    """The format of a document. Raises: RequestError: it has none that can be translated."""
    try:
        form = format_by_name(name) or format_by_content(data)
    except UnsupportedDocumentError as error:
        raise RequestError(415, f"the document {error.what}; {error.hint}") from None
    if form is None:
        suffixes = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
        raise RequestError(415, f"documents of this kind are not translated; supported: {suffixes}")
    return form


def translated_name(name: str, form: DocumentFormat, language: str) -> str:
    """The name of a file with the language before the suffix, without directories and control characters."""
    path = PurePosixPath(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "", re.split(r"[/\\]", name)[-1])[-200:])
    suffix = path.suffix if path.suffix.lower() in form.suffixes else form.suffixes[0]
    return f"{path.stem or 'document'}.{re.sub('[^A-Za-z0-9-]', '', language)}{suffix}"


def media_type(name: str, form: DocumentFormat) -> str:
    """The media type of a file of a format."""
    own = MEDIA_TYPES.get(PurePosixPath(name).suffix.lower())
    if own is not None and PurePosixPath(name).suffix.lower() in form.suffixes:
        return own
    return next(MEDIA_TYPES[suffix] for suffix in form.suffixes if suffix in MEDIA_TYPES)
