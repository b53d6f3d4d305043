"""Answers requests: chooses the model, splits the text, queues its sentences, and joins the translations."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.server.batching import BatchingWorker, Job, SearchOptions
from transformer_cli.deployment.server.detection import identify_language
from transformer_cli.deployment.server.metrics import Metrics
from transformer_cli.deployment.server.models import (
    ModelFile,
    ServedModel,
    choose_model,
    list_languages,
    open_models,
)
from transformer_cli.deployment.server.schemas import AttentionRequest, TranslateRequest
from transformer_cli.deployment.server.sentences import Sentence, clean_text, join_text, split_text
from transformer_cli.deployment.server.settings import RequestError, ServerSettings

LONG_TEXT = 20_000
"""Characters from which a text is split into sentences on another thread than the event loop's."""
WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Running:
    """A model and its queue."""

    model: ServedModel
    worker: BatchingWorker


@dataclass(frozen=True)
class Text:
    """A text of a request, and which of the request's sentences are its own: `first` and following."""

    text: str
    sentences: list[Sentence]
    first: int

    @property
    def end(self) -> int:
        return self.first + len(self.sentences)


class Service:
    """The models and their queues. All methods run on the event loop; `open_models` opens the models before."""

    def __init__(
        self, files: Sequence[ModelFile], overrides: Mapping[str, Any], device: str, settings: ServerSettings
    ) -> None:
        """Raises: UserError: a model or options that cannot be used."""
        self.files, self.overrides, self.device, self.settings = files, overrides, device, settings
        self.metrics = Metrics(lambda: [(r.model.name, r.worker.waiting) for r in self.running])
        self.models = open_models(files, overrides, device)
        self.running: list[Running] = []
        self.is_ready = False

    def start(self) -> None:
        """Start the queues."""
        self.running = [self._run(model) for model in self.models]
        self.is_ready = True

    def _run(self, model: ServedModel) -> Running:
        def translate(lines: Sequence[str], options: SearchOptions) -> list[Translation]:
            translations = model.translate(lines, options)
            self.metrics.add_sentences(model.name, len(lines), *model.count_tokens(lines, translations))
            return translations

        worker = BatchingWorker(translate, self.settings.max_queue, model.threads, self.metrics.add_batch)
        return Running(model, worker)

    async def reload(self) -> None:
        """Open the models again and replace the old ones, which search what they have accepted.

        Raises:
            UserError: a model cannot be used; the old ones remain.
        """
        models = await asyncio.to_thread(open_models, self.files, self.overrides, self.device)
        old, self.models = self.running, models
        self.running = [self._run(model) for model in models]
        await asyncio.gather(*(running.worker.close() for running in old))

    async def close(self) -> None:
        """Search what has been accepted, then stop."""
        await asyncio.gather(*(running.worker.close() for running in self.running))

    def languages(self) -> list[dict[str, Any]]:
        return list_languages(self.models)

    def describe_models(self) -> list[dict[str, str]]:
        return [
            {
                "name": m.name,
                "source": m.source,
                "target": m.target,
                "architecture": m.architecture,
                "engine": m.engine,
            }
            for m in self.models
        ]

    def detect(self, text: str) -> list[dict[str, Any]]:
        """The language of a text, one of the languages that are translated, in LibreTranslate's format."""
        return [identify_language(text, sorted({model.source for model in self.models}))]

    def identify(self, texts: Sequence[str], name: str | None, target: str) -> list[dict[str, Any]]:
        """The language of each text, as `detect`: one that the model `name`, or any, translates to `target`."""
        candidates = [m for m in self.models if name in (None, m.name)]
        sources = [m.source for m in candidates if m.target == target] or [m.source for m in candidates]
        languages = sorted(set(sources)) or sorted({m.source for m in self.models})
        return [identify_language(text, languages) for text in texts]

    def choose(self, name: str | None, source: str, target: str) -> Running:
        """The model for a request. Raises: RequestError: there is none."""
        model = choose_model(self.models, name, source, target)
        return next(running for running in self.running if running.model is model)

    async def translate(self, request: TranslateRequest) -> Translating:
        """Queue a request. Raises: RequestError."""
        if request.format != "text":
            raise RequestError(422, "format: only 'text' is supported")
        texts = [request.q] if isinstance(request.q, str) else request.q
        lines = sum(text.count("\n") + 1 for text in texts)
        if lines > self.settings.max_lines:
            raise RequestError(
                413, f"the text has {lines:,} lines; at most {self.settings.max_lines:,} are accepted"
            )
        detected = None
        if request.source == "auto":
            detected = self.identify(texts, request.model, request.target)
            source = self.identify(["\n".join(texts)], request.model, request.target)[0]["language"]
        else:
            source = request.source
        running = self.choose(request.model, source, request.target)
        options = search_options(request, running.model)
        running.worker.check_space(1)  # before the work of splitting the text
        if request.stream and isinstance(request.q, str):
            texts = request.q.split("\n")

        def split() -> list[Text]:
            found, first = [], 0
            for text in map(clean_text, texts):
                sentences = split_text(text, running.model.source, split_sentences=request.split_sentences)
                found.append(Text(text, sentences, first))
                first += len(sentences)
            return found

        is_long = sum(map(len, texts)) > LONG_TEXT
        split_texts = await asyncio.to_thread(split) if is_long else split()
        running = self.choose(request.model, source, request.target)  # a reload may have closed the other queue
        sentences = [sentence.text for text in split_texts for sentence in text.sentences]
        job = running.worker.submit(sentences, options, self.settings.timeout)
        return Translating(request, split_texts, job, running.model.target, detected)

    async def attention(self, request: AttentionRequest) -> dict[str, Any]:
        """The attention weights of a sentence and its translation. Raises: RequestError."""
        running = self.choose(request.model, request.source, request.target)
        return await running.worker.call(lambda: running.model.attention(request.q))


def search_options(request: TranslateRequest, model: ServedModel) -> SearchOptions:
    """The options of search for a request. Raises: RequestError: they exclude each other."""
    n_best = max(request.n_best or 1, request.alternatives + 1)
    beam = request.beam or max(model.default_beam, n_best)
    if n_best > beam:
        raise RequestError(422, f"{n_best} translations need a beam of at least {n_best}, not {beam}")
    if request.glossary and beam == 1:
        raise RequestError(422, "a glossary needs a beam of 2 or more")
    if request.alignment and model.overrides.get("protect"):
        raise RequestError(422, "words cannot be aligned by a server that was started with --protect")
    if request.alignment and model.engine == "ctranslate2" and model.overrides.get("engine") != "auto":
        raise RequestError(501, "alignment needs the engine torch: serve with --engine torch or auto")
    overrides = {} if beam == model.default_beam else {"beam": beam}
    scored = request.confidence or request.details or request.alignment or n_best > 1
    terms = tuple((entry.source, entry.target) for entry in request.glossary)
    return SearchOptions(
        tuple(sorted(overrides.items())), TranslationRequest(n_best, scored, request.alignment, terms)
    )


@dataclass(frozen=True)
class Translating:
    """A request whose sentences are queued."""

    request: TranslateRequest
    texts: list[Text]
    job: Job
    target: str
    detected: list[dict[str, Any]] | None

    @property
    def has_details(self) -> bool:
        return self.request.alignment or self.request.confidence or self.request.details

    async def answer(self) -> dict[str, Any]:
        """The answer, as `schemas.TranslateAnswer`. Raises: RequestError."""
        translations = await self.job.wait(len(self.job.sentences))
        answers = [self._answer(text, translations[text.first : text.end]) for text in self.texts]
        is_single = isinstance(self.request.q, str)
        result: dict[str, Any] = {}
        for key in answers[0] if answers else ("translatedText",):
            values = [answer[key] for answer in answers]
            result[key] = values[0] if is_single and key != "sentences" else values
        if self.detected:
            result["detectedLanguage"] = self.detected[0] if is_single else self.detected
        return result

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        """The answer to each text, in order, as soon as it is there. Raises: RequestError."""
        for index, text in enumerate(self.texts):
            translations = await self.job.wait(text.end)
            yield {"index": index, **self._answer(text, translations[text.first : text.end])}

    def cancel(self) -> None:
        """Drop the sentences that are not translated yet: nobody waits for them."""
        self.job.fail(RequestError(503, "the client has gone"))

    def _answer(self, text: Text, translations: Sequence[Translation]) -> dict[str, Any]:
        joined, places = join_text(text.text, text.sentences, [t.text for t in translations], self.target)
        answer: dict[str, Any] = {"translatedText": joined}
        if self.request.alternatives:
            answer["alternatives"] = self._alternatives(text, translations)
        if self.has_details:
            answer["sentences"] = [
                self._details(*sentence) for sentence in zip(text.sentences, translations, places, strict=True)
            ]
        return answer

    def _alternatives(self, text: Text, translations: Sequence[Translation]) -> list[str]:
        """Further translations of a text: of each sentence the second best, then the third best."""
        count = max((len(t.alternatives) for t in translations), default=1)
        found = []
        for rank in range(1, count):
            texts = [t.alternatives[min(rank, len(t.alternatives) - 1)].text for t in translations]
            found.append(join_text(text.text, text.sentences, texts, self.target)[0])
        return found[: self.request.alternatives]

    def _details(self, sentence: Sentence, translation: Translation, place: tuple[int, int]) -> dict[str, Any]:
        details: dict[str, Any] = {
            "source": sentence.text,
            "source_start": sentence.start,
            "source_end": sentence.end,
            "translation": translation.text,
            "target_start": place[0],
            "target_end": place[1],
            "score": round(translation.score, 4),
            "confidence": confidence(translation),
            "alternatives": [{"text": a.text, "score": round(a.score, 4)} for a in translation.alternatives],
        }
        if self.request.alignment:
            source, target = words(sentence.text), words(translation.text)
            details |= {"source_tokens": source, "target_tokens": target}
            details["alignment"] = [[s, t] for s, t in translation.links if s < len(source) and t < len(target)]
        return details


def confidence(translation: Translation) -> float:
    """The geometric mean of the probabilities of the tokens: from 0 to 1."""
    log_probs = translation.token_log_probs
    return round(math.exp(sum(log_probs) / len(log_probs)), 4) if log_probs else 0.0


def words(text: str) -> list[dict[str, Any]]:
    """The words of a sentence, and their places."""
    return [{"text": m.group(), "start": m.start(), "end": m.end()} for m in WORD.finditer(text)]
