"""Text in, text out: batching by length, search on one thread or several, and the order of the lines restored.

Every line gives one translation. Blank lines never reach the model; a line longer than the model was trained
for is translated in pieces and joined.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from transformer_cli.batch import EOS, UNK, TokenIds, collate_sentences
from transformer_cli.decoding.alignment import align_words, coverage_score, cross_attention, offset_links
from transformer_cli.decoding.constraints.phrases import Phrase, contains_phrase
from transformer_cli.decoding.execution.batch_merging import ActiveBatch, MemoryBoundSearch
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax, Int8ArgmaxModel
from transformer_cli.decoding.execution.shortlist import Shortlist, ShortlistedModel
from transformer_cli.decoding.execution.workers import map_unordered, partition_batches
from transformer_cli.decoding.search.base import Hypothesis
from transformer_cli.decoding.search.static import GraphPool
from transformer_cli.decoding.segments import Segment, Terminology, TextCodec, TranslationRequest, split_line
from transformer_cli.decoding.strategy import NOTHING, SourceSentence, build_strategy
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import DecodingConfig

EXTRA_LENGTH = 10
"""Pieces that every translation may have beyond max_length_ratio times its source."""

CPU_BATCH, GPU_BATCH = 8192, 16_384
"""Source tokens of a batch where `decoding.batch_tokens` says nothing; beams or samples share them."""
PARTS = 1 << 16
"""Parts of a line that can be told apart by their number."""


@dataclass(frozen=True)
class Alternative:
    """Another translation of a line. `score` as in `Translation`."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """One line of output.

    Attributes:
        text: the translation.
        score: length-normalised log-probability; the mean over the pieces of a split line, 0 for an empty one.
        status: `ok`, `empty` (blank in, blank out), `split` (translated sentence by sentence) or `cut` (a sentence
            longer than the model takes was cut in the middle).
        token_log_probs: of each piece of the translation and of its end.
        alternatives: the n best, the translation itself first; distinct texts, best first.
        links: word alignment (source word, target word), if it was asked for.
        seconds: what the batches searched together with it took, divided by the sentences in them.
    """

    text: str
    score: float
    status: str
    token_log_probs: list[float] = field(default_factory=list)
    alternatives: list[Alternative] = field(default_factory=list)
    links: list[tuple[int, int]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class SearchResult:
    """What search found for one source: hypotheses, best first, and the seconds that it took."""

    hypotheses: list[Hypothesis]
    seconds: float


class Translator:
    """A model, its vocabularies and the way to search."""

    def __init__(
        self,
        model: Seq2Seq,
        src_tokenizer: TextCodec,
        tgt_tokenizer: TextCodec,
        options: DecodingConfig,
        *,
        max_length: int,
        max_target: int | None = None,
        request: TranslationRequest | None = None,
        shortlist: Shortlist | None = None,
        output: Int8Argmax | None = None,
        graph_pool: GraphPool | None = None,
    ) -> None:
        """`max_length`: pieces of a source, EOS included, before it is split; `max_target`: the model's bound.

        `shortlist`, `output`: ways to spare a part of the output projection, one of them at most. `graph_pool`: where
        plain search takes its steps; not with a shortlist, which makes a model of its own of each batch.
        """
        self.shortlist = shortlist
        self.model = model
        self.graph_pool = graph_pool
        self.search_batches = MemoryBoundSearch(self._release)
        self.src_tokenizer = src_tokenizer
        self.tgt_tokenizer = tgt_tokenizer
        self.options = options
        self.max_length = max_length
        self.max_target = max_target
        self.request = request or TranslationRequest()
        self.terminology = Terminology(self.request.terms, tgt_tokenizer)
        self.strategy = build_strategy(
            options,
            device=self.device,
            decode=tgt_tokenizer.decode,
            n_best=self.request.n_best,
            scored=self.request.scored or bool(options.coverage_penalty),
            shared=self.request.rules(tgt_tokenizer),
            accelerate=lambda step: step if output is None else Int8ArgmaxModel(model, output),
            graph_pool=graph_pool,
        )

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        """One translation a line, in order.

        Args:
            progress: told, by one thread at a time, how many pieces more are finished.
            prefixes: what each translation begins with, one a line, if there are any.
            first: number of the first line in the whole text; sampling is seeded by it.

        Raises:
            DataError: a prefix that cannot be said, or a line of which more is demanded than the model can say.
        """
        if prefixes and self.shortlist is not None:
            raise ConfigError("--shortlist excludes --prefix: it may hold pieces that the list leaves out")
        encoded = self.src_tokenizer.encode(lines)
        starts = self._prefixes(prefixes, first) if prefixes else [NOTHING] * len(lines)
        pieces: list[Segment] = []
        sources: list[SourceSentence] = []
        owners: list[list[int]] = []  # which pieces make up each line
        for number, (line, ids) in enumerate(zip(lines, encoded, strict=True), first):
            parts = split_line(line, ids, self.src_tokenizer, self.max_length - 1)
            owners.append(list(range(len(pieces), len(pieces) + len(parts))))
            wanted = self.terminology.assign(line, parts)
            for i, (part, phrases) in enumerate(zip(parts, wanted, strict=True)):
                prefix = starts[number - first] if i == 0 else NOTHING
                sources.append(self.source(part, number, i, prefix, phrases))
            pieces.extend(parts)
        found = self.search(sources, progress)
        links = self._align(sources, found)
        best = self.tgt_tokenizer.decode([_ids(f.hypotheses[0]) for f in found])
        results = list(zip(pieces, found, best, links, strict=True))
        return [self._join([results[i] for i in own]) for own in owners]

    def search(
        self, sources: Sequence[SourceSentence], progress: Callable[[int], object] = lambda done: None
    ) -> list[SearchResult]:
        """The hypotheses of each source, in order."""
        was_training = self.model.training
        self.model.eval()
        order = sorted(range(len(sources)), key=lambda i: -len(sources[i].ids))
        lengths = [len(sources[i].ids) + 1 for i in order]
        shifts = [
            [order[start:end] for start, end in bounds]
            for bounds in partition_batches(lengths, self._budget(), max(1, self.threads))
        ]
        found: dict[int, SearchResult] = {}
        told = threading.Lock()

        def tell(done: int) -> None:
            with told:
                progress(done)

        for results in map_unordered(shifts, lambda batches: self._run(batches, sources, tell), self.threads):
            found.update(results)
        self.model.train(was_training)
        return self._apply_coverage_penalty(sources, [found[i] for i in range(len(sources))])

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.model.parameters()).device

    @property
    def threads(self) -> int:
        """Workers of one thread each; 0 on a GPU, which one batch fills."""
        on_cpu = self.device.type == "cpu"
        return (self.options.threads or torch.get_num_threads()) if on_cpu else 0

    def _run(
        self,
        batches: Sequence[Sequence[int]],
        sources: Sequence[SourceSentence],
        progress: Callable[[int], object],
    ) -> dict[int, SearchResult]:
        """What is found for the sources in these batches, on this thread."""
        began = time.perf_counter()
        with torch.inference_mode():
            found = self.search_batches(
                batches,
                lambda batch: self._start_batch(batch, sources),
                progress,
                size=lambda batch: len(batch) * max(len(sources[i].ids) + 1 for i in batch),
            )
        seconds = (time.perf_counter() - began) / len(found)
        return {i: SearchResult(self.strategy.rank(hypotheses), seconds) for i, hypotheses in found.items()}

    def _start_batch(self, batch: Sequence[int], sources: Sequence[SourceSentence]) -> ActiveBatch:
        mine, device = [sources[i] for i in batch], self.device
        ids, layout = collate_sentences([np.append(s.ids, EOS) for s in mine])
        memory = self.model.encode(ids.to(device), layout.to(device))
        if self.shortlist is None:
            return ActiveBatch(self.strategy.start(self.model, memory, mine), batch)
        model = ShortlistedModel(self.model, self.shortlist, [s.ids for s in mine])
        return ActiveBatch(self.strategy.start(model, memory, mine), batch, model.map_ids)

    def _release(self) -> None:
        if self.graph_pool is not None:
            self.graph_pool.clear()
        torch.cuda.empty_cache()

    def _budget(self) -> int:
        """Source tokens of a batch."""
        o, on_cpu = self.options, self.device.type == "cpu"
        width = o.mbr_samples or (self.request.n_best if o.sample else o.beam)
        return o.batch_tokens or max(1, (CPU_BATCH if on_cpu else GPU_BATCH) // width)

    def source(
        self,
        piece: Segment,
        line: int = 0,
        part: int = 0,
        prefix: TokenIds = NOTHING,
        phrases: tuple[Phrase, ...] = (),
    ) -> SourceSentence:
        """What search takes for a part of a line: its bounds on length and what its translation must hold."""
        demanded = len(prefix) + sum(map(len, phrases))
        o, length = self.options, len(piece.ids)
        limit = math.ceil(o.max_length_ratio * length) + EXTRA_LENGTH + demanded
        if self.max_target is not None:
            limit = min(limit, self.max_target)
            if demanded >= limit:
                raise DataError(f"line {line + 1}: more is demanded of its translation than the model can say")
        minimum = min(math.ceil(o.min_length_ratio * length), limit - 1)
        return SourceSentence(piece.ids, limit, minimum, line * PARTS + part, prefix, phrases)

    def _prefixes(self, prefixes: Sequence[str], first: int) -> list[TokenIds]:
        """Ids of each prefix. Raises: DataError where it cannot or must not be said."""
        encoded = self.tgt_tokenizer.encode(prefixes)
        for number, (text, ids) in enumerate(zip(prefixes, encoded, strict=True), first + 1):
            if UNK in ids:
                raise DataError(f"the prefix of line {number} holds characters that the vocabulary cannot say")
            for phrase in self.request.avoid:
                if contains_phrase(text, phrase):
                    raise DataError(f"the prefix of line {number} holds '{phrase}', which is to be avoided")
        return encoded

    def _apply_coverage_penalty(
        self, sources: Sequence[SourceSentence], found: list[SearchResult]
    ) -> list[SearchResult]:
        """Finished hypotheses ranked anew with GNMT's coverage penalty."""
        beta = self.options.coverage_penalty
        if not beta:
            return found
        ranked = []
        for source, one in zip(sources, found, strict=True):
            targets = [_ids(h) for h in one.hypotheses]
            weights = cross_attention(self.model, [source.ids] * len(targets), targets)
            scored = [
                replace(h, score=h.score + beta * coverage_score(w))
                for h, w in zip(one.hypotheses, weights, strict=True)
            ]
            ranked.append(replace(one, hypotheses=sorted(scored, key=lambda h: -h.score)))
        return ranked

    def _align(
        self, sources: Sequence[SourceSentence], found: Sequence[SearchResult]
    ) -> list[list[tuple[int, int]]]:
        if not self.request.align:
            return [[] for _ in found]
        src_token_bytes, tgt_token_bytes = self.src_tokenizer.token_bytes(), self.tgt_tokenizer.token_bytes()
        links = []
        for source, one in zip(sources, found, strict=True):
            target = _ids(one.hypotheses[0])
            (weights,) = cross_attention(self.model, [source.ids], [target])
            links.append(
                align_words(
                    weights, [src_token_bytes[i] for i in source.ids], [tgt_token_bytes[i] for i in target]
                )
            )
        return links

    def _join(self, parts: Sequence[tuple[Segment, SearchResult, str, list[tuple[int, int]]]]) -> Translation:
        if not parts:
            return Translation("", 0.0, "empty", alternatives=[Alternative("", 0.0)])
        pieces, found, texts, links = zip(*parts, strict=True)
        best = [f.hypotheses[0] for f in found]
        score = sum(h.score for h in best) / len(best)
        text = " ".join(t.strip() for t in texts)
        status = "cut" if any(p.is_truncated for p in pieces) else "ok" if len(pieces) == 1 else "split"
        alone = len(pieces) > 1 or self.request.n_best == 1
        alternatives = [Alternative(text, score)] if alone else self._alternatives(found[0])
        return Translation(
            text,
            score,
            status,
            [p for h in best for p in h.token_log_probs],
            alternatives,
            offset_links(links, [p.text for p in pieces], texts),
            sum(f.seconds for f in found),
        )

    def _alternatives(self, found: SearchResult) -> list[Alternative]:
        """Distinct texts: two hypotheses may spell the same words in different pieces."""
        texts = self.tgt_tokenizer.decode([_ids(h) for h in found.hypotheses])
        scores: dict[str, float] = {}
        for text, hypothesis in zip(texts, found.hypotheses, strict=True):
            scores.setdefault(text.strip(), hypothesis.score)
        return [Alternative(text, score) for text, score in list(scores.items())[: self.request.n_best]]


def _ids(hypothesis: Hypothesis) -> TokenIds:
    return np.array(hypothesis.tokens, dtype=np.int64)
