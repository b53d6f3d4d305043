"""Text to text: splits lines into segments, batches them by length, searches, and restores the order of the lines.

Every line yields one translation. Blank lines are not passed to the model. A line longer than the
sentences that the model was trained on is translated in segments, which are joined.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from transformer_cli.batch import collate_sentences
from transformer_cli.decoding.alignment import align_words, generation_attention, rerank_by_coverage
from transformer_cli.decoding.constraints.phrases import ForbiddenPhrases, Phrase, contains_phrase
from transformer_cli.decoding.execution.batch_merging import ActiveBatch, OutOfMemorySafeSearch
from transformer_cli.decoding.execution.compiled.searcher import CompiledSearcher
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax, Int8ArgmaxModel
from transformer_cli.decoding.execution.shortlist import Shortlist, ShortlistedModel
from transformer_cli.decoding.execution.workers import map_unordered, partition_batches
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.segments import Segment, TextCodec, longest_translation, split_line
from transformer_cli.decoding.strategy import NO_TOKENS, SourceSentence, build_strategy
from transformer_cli.decoding.terminology import Terminology
from transformer_cli.decoding.translation import (
    SearchResult,
    SegmentTranslation,
    Translation,
    is_damaged,
    join_segments,
)
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import DecodingConfig
from transformer_cli.token_ids import EOS, UNK, TokenIds

CPU_BATCH, GPU_BATCH = 8192, 16_384
"""Source tokens per batch unless `decoding.batch_tokens` is set, divided by the number of beams or samples."""
MAX_SEGMENTS = 1 << 16
"""Segments of a line that have distinct numbers."""


class Translator:
    """Translates lines of text with a model, its tokenizers and a search strategy."""

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
        int8_argmax: Int8Argmax | None = None,
        graph_pool: GraphPool | None = None,
        compiled: CompiledSearcher | None = None,
        tag: Sequence[int] | TokenIds = (),
    ) -> None:
        """
        Args:
            max_length: maximum number of tokens of a source, EOS included; longer lines are split.
            max_target: maximum number of tokens of a translation, EOS included; None: no limit.
            shortlist, int8_argmax: two ways to reduce the cost of the output projection; at most one may
                be set.
            graph_pool: buckets for greedy and beam search without rules. Excludes `shortlist`,
                which builds another model for each batch.
            compiled: searches batches without constraints once a text is long enough.
            tag: the token before each source that asks for a target language; empty for none.
        """
        self.shortlist = shortlist
        self.model = model
        self.graph_pool = graph_pool
        self.compiled = compiled
        self.search_batches = OutOfMemorySafeSearch(self._release_memory)
        self.src_tokenizer = src_tokenizer
        self.tgt_tokenizer = tgt_tokenizer
        self.options = options
        self.max_length = max_length
        self.tag: TokenIds = np.array(tag, dtype=np.int64)
        self.max_target = max_target
        self.request = request or TranslationRequest()
        self.terminology = Terminology(self.request.terms, tgt_tokenizer)
        self.strategy = build_strategy(
            options,
            device=self.device,
            decode=tgt_tokenizer.decode,
            n_best=self.request.n_best,
            scored=self.request.scored or bool(options.coverage_penalty),
            shared=[ForbiddenPhrases(self.request.avoid, tgt_tokenizer.token_bytes())]
            if self.request.avoid
            else [],
            word_ends=self.terminology.word_ends,
            accelerate=lambda step: step if int8_argmax is None else Int8ArgmaxModel(model, int8_argmax),
            graph_pool=graph_pool,
        )

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def threads(self) -> int:
        """Number of worker threads on a CPU; 0 on a GPU, which a single batch keeps busy."""
        on_cpu = self.device.type == "cpu"
        return (self.options.threads or torch.get_num_threads()) if on_cpu else 0

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        """The translation of each line, in order.

        Args:
            progress: called with the number of newly finished segments, from one thread at a time.
                The number is negative if a batch ran out of memory and is repeated in smaller
                parts.
            prefixes: the beginning of the translation of each line; empty for no prefixes.
            first: number of the first line in the whole text; seeds sampling.

        Raises:
            DataError: a prefix cannot be generated, or is longer, with the required phrases, than
                the longest translation of the longest source.
            ConfigError: prefixes together with a shortlist.
        """
        if prefixes and self.shortlist is not None:
            raise ConfigError(
                "--shortlist cannot be combined with --prefix: a prefix may contain tokens not on the shortlist"
            )
        encoded = self.src_tokenizer.encode(lines)
        prefix_ids = self._encode_prefixes(prefixes, first) if prefixes else [NO_TOKENS] * len(lines)
        segments: list[Segment] = []
        sources: list[SourceSentence] = []
        segments_of_line: list[range] = []  # indices into `segments`
        for number, (line, ids) in enumerate(zip(lines, encoded, strict=True), first):
            parts = split_line(line, ids, self.src_tokenizer, self.max_length - 1 - len(self.tag))
            segments_of_line.append(range(len(segments), len(segments) + len(parts)))
            required = self.terminology.assign(line, parts)
            for i, (part, phrases) in enumerate(zip(parts, required, strict=True)):
                prefix = prefix_ids[number - first] if i == 0 else NO_TOKENS
                sources.append(self._source_sentence(part, number, i, prefix, phrases))
            segments.extend(parts)
        results = self.search(sources, progress)
        links = self._align(sources, results)
        texts = self.tgt_tokenizer.decode([r.best.ids for r in results])
        translated = [SegmentTranslation(*x) for x in zip(segments, results, texts, links, strict=True)]
        return [self._join([translated[i] for i in indices]) for indices in segments_of_line]

    def search(
        self, sources: Sequence[SourceSentence], progress: Callable[[int], object] = lambda done: None
    ) -> list[SearchResult]:
        """The hypotheses of each source, in order."""
        compiled = self.compiled is not None and self.compiled.expect(len(sources))
        was_training = self.model.training
        self.model.eval()
        order = sorted(range(len(sources)), key=lambda i: -len(sources[i].ids))
        lengths = [len(sources[i].ids) + 1 for i in order]
        tasks = [
            [order[start:end] for start, end in bounds]
            for bounds in partition_batches(
                lengths,
                self._tokens_per_batch(compiled and not any(s.is_constrained for s in sources)),
                max(1, self.threads),
            )
        ]
        results: dict[int, SearchResult] = {}
        lock = threading.Lock()

        def report(done: int) -> None:
            with lock:
                progress(done)

        for partial_results in map_unordered(
            tasks, lambda batches: self._search_task(batches, sources, report), self.threads
        ):
            results.update(partial_results)
        self.model.train(was_training)
        return [self._rerank(source, results[i]) for i, source in enumerate(sources)]

    def _search_task(
        self,
        batches: Sequence[Sequence[int]],
        sources: Sequence[SourceSentence],
        progress: Callable[[int], object],
    ) -> dict[int, SearchResult]:
        """The results for the sources in these batches, computed on the current thread."""
        start = time.perf_counter()
        with torch.inference_mode():
            results = self.search_batches(
                batches,
                lambda batch: self._start_batch(batch, sources),
                progress,
                size=lambda batch: len(batch) * max(len(sources[i].ids) + 1 for i in batch),
            )
        seconds = (time.perf_counter() - start) / len(results)
        return {i: SearchResult(self.strategy.rank(hypotheses), seconds) for i, hypotheses in results.items()}

    def _start_batch(self, batch: Sequence[int], sources: Sequence[SourceSentence]) -> ActiveBatch:
        sentences, device = [sources[i] for i in batch], self.device
        if self.compiled is not None and not any(s.is_constrained for s in sentences):
            search = self.compiled.start([s.ids for s in sentences], [s.limit for s in sentences])
            if search is not None:
                return ActiveBatch(search, batch)
        ids, layout = collate_sentences([np.append(s.ids, EOS) for s in sentences])
        memory = self.model.encode(ids.to(device), layout.to(device))
        if self.shortlist is None:
            return ActiveBatch(self.strategy.start(self.model, memory, sentences), batch)
        model = ShortlistedModel(self.model, self.shortlist, [s.ids for s in sentences])
        return ActiveBatch(self.strategy.start(model, memory, sentences), batch, model.map_ids)

    def _release_memory(self) -> None:
        if self.graph_pool is not None:
            self.graph_pool.clear()
        torch.cuda.empty_cache()

    def _tokens_per_batch(self, compiled: bool) -> int:
        """Maximum number of source tokens of a batch. The compiled search limits its rows itself."""
        o, on_cpu = self.options, self.device.type == "cpu"
        if compiled:
            return o.batch_tokens or CPU_BATCH
        width = o.mbr_samples or (self.request.n_best if o.sample else o.beam)
        return o.batch_tokens or max(1, (CPU_BATCH if on_cpu else GPU_BATCH) // width)

    def _source_sentence(
        self, segment: Segment, line: int, part: int, prefix: TokenIds, phrases: tuple[Phrase, ...]
    ) -> SourceSentence:
        """The input of search for a segment: its length limits and the constraints on its translation."""
        required = len(prefix) + sum(map(len, phrases))
        o, length = self.options, len(segment.ids)
        limit = longest_translation(length, o.max_length_ratio, self.max_target, required)
        longest = longest_translation(self.max_length, max(o.max_length_ratio, 1.0), self.max_target)
        if required >= longest:
            raise DataError(
                f"line {line + 1}: its prefix and required terms have {required} tokens, "
                f"the model generates at most {longest - 1}",
                hint="shorten the prefix or require fewer terms",
            )
        minimum = min(math.ceil(o.min_length_ratio * length), limit - 1)
        ids = np.concatenate([self.tag, segment.ids])
        return SourceSentence(ids, limit, minimum, line * MAX_SEGMENTS + part, prefix, phrases)

    def _encode_prefixes(self, prefixes: Sequence[str], first: int) -> list[TokenIds]:
        """Ids of each prefix.

        Raises:
            DataError: a prefix contains characters that are not in the vocabulary, or a phrase to
                avoid.
        """
        encoded = self.tgt_tokenizer.encode(prefixes)
        for number, (text, ids) in enumerate(zip(prefixes, encoded, strict=True), first + 1):
            if UNK in ids:
                raise DataError(
                    f"the prefix of line {number} contains characters that are not in the vocabulary",
                    hint="remove them from the prefix: the model cannot generate them",
                )
            for phrase in self.request.avoid:
                if contains_phrase(text, phrase):
                    raise DataError(
                        f"the prefix of line {number} contains '{phrase}', which --avoid forbids",
                        hint="remove the phrase from one of the two files",
                    )
        return encoded

    def _rerank(self, source: SourceSentence, result: SearchResult) -> SearchResult:
        beta = self.options.coverage_penalty
        if not beta:
            return result
        hypotheses = rerank_by_coverage(self.model, source.ids, result.hypotheses, beta, skip=len(self.tag))
        return replace(result, hypotheses=hypotheses)

    def _align(
        self, sources: Sequence[SourceSentence], results: Sequence[SearchResult]
    ) -> list[list[tuple[int, int]]]:
        """Word alignment of each source with its best hypothesis; empty if not requested."""
        if not self.request.align:
            return [[] for _ in results]
        src_bytes, tgt_bytes = self.src_tokenizer.token_bytes(), self.tgt_tokenizer.token_bytes()
        links = []
        for source, result in zip(sources, results, strict=True):
            target = result.best.ids
            weights = generation_attention(self.model, source.ids, target)[:, len(self.tag) :]
            text = source.ids[len(self.tag) :]
            links.append(align_words(weights, [src_bytes[i] for i in text], [tgt_bytes[i] for i in target]))
        return links

    def _join(self, segments: Sequence[SegmentTranslation]) -> Translation:
        """The translation of a line; its status tells if `request.avoid` leaves none."""
        translation = join_segments(segments, self.request.n_best, self.tgt_tokenizer)
        if self.request.avoid and segments and is_damaged(translation.text, [s.segment.text for s in segments]):
            return replace(translation, status="failed")
        return translation
