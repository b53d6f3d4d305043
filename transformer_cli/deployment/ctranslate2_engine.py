"""CTranslate2 as a decoding engine: translates with an exported model. Free of torch."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.search.hypothesis import Hypothesis, Scorer, build_hypothesis
from transformer_cli.decoding.segments import longest_translation, split_line
from transformer_cli.decoding.translation import SearchResult, SegmentTranslation, Translation, join_segments
from transformer_cli.deployment.ctranslate2_support import import_ctranslate2
from transformer_cli.errors import UserError
from transformer_cli.schema import Config, DecodingConfig
from transformer_cli.token_ids import TokenIds

COMPUTE_TYPES = {"fp32": "float32", "int8": "int8"}
"""`decoding.precision` -> compute type of CTranslate2, and `--quantization` of the export for it."""
SUPPORTED_OPTIONS = (
    "engine",
    "beam",
    "length_penalty",
    "max_length_ratio",
    "batch_tokens",
    "precision",
    "compiled",
    "threads",
    "seed",
)
"""Decoding options that this engine implements, or that do not change its translations."""
NO_PENALTY = 1e-9
"""Length penalty that makes CTranslate2 rank by log-probability; exactly 0 would also change its stopping rule."""
BASE_OPTIONS = {"min_decoding_length": 0, "max_input_length": 0}
"""CTranslate2's defaults forbid empty translations, which are allowed here, and silently truncate long lines."""
BATCH_TOKENS = 512
"""Source tokens per batch unless `decoding.batch_tokens` is set, padding included."""


def unsupported_options(options: DecodingConfig, request: TranslationRequest) -> list[str]:
    """What this engine cannot do of what is asked, as option names; empty if it can do everything."""
    defaults = DecodingConfig().model_dump()
    names = [
        f"--{name.replace('_', '-')}"
        for name, value in options.model_dump().items()
        if name not in SUPPORTED_OPTIONS and value != defaults[name]
    ]
    names += [f"--precision {options.precision}"] if options.precision not in COMPUTE_TYPES else []
    requested = {"--terms": request.terms, "--avoid": request.avoid, "--alignments": request.align}
    return names + [name for name, value in requested.items() if value]


class CTranslate2Model:
    """An exported model in memory, and its search. Sentences are sequences of token ids without BOS and EOS."""

    def __init__(
        self, content: Path | Mapping[str, bytes], vocabularies: Vocabularies, compute_type: str, threads: int
    ) -> None:
        """
        Args:
            content: the directory of the export, or its files by name.
            threads: workers of one thread each; 0: one per core.

        Raises:
            UserError: CTranslate2 is not installed, or cannot load the model.
        """
        ctranslate2 = import_ctranslate2()
        # Not its warning about the compute type, which `check_parity` reports.
        ctranslate2.set_log_level(logging.ERROR)
        self.src_tokens = vocabularies.src.vocabulary
        self.tgt_tokens = vocabularies.tgt.vocabulary
        self.tgt_ids = {token: i for i, token in enumerate(self.tgt_tokens)}
        name, files = (str(content), None) if isinstance(content, Path) else ("model", dict(content))
        try:
            self.translator: Any = ctranslate2.Translator(
                name,
                device="cpu",
                compute_type=compute_type,
                inter_threads=threads or available_cores(),
                intra_threads=1,
                max_queued_batches=-1,
                files=files,
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"CTranslate2 cannot load the export: {error}") from None

    def search(
        self,
        sources: Sequence[TokenIds],
        limits: Sequence[int],
        *,
        beam: int,
        num_hypotheses: int = 1,
        length_penalty: float = NO_PENALTY,
        batch_tokens: int = BATCH_TOKENS,
        progress: Callable[[int], object] = lambda done: None,
    ) -> list[list[tuple[list[int], float]]]:
        """The hypotheses of each source, best first, as (token ids, score).

        CTranslate2 has one length limit per batch. A sentence with a hypothesis beyond its own limit, which is
        rare, is searched again with that limit.

        Args:
            limits: maximum number of tokens of each translation, without EOS.
            length_penalty: exponent of CTranslate2: scores are log-probability / length ** length_penalty.
        """
        options = {
            **BASE_OPTIONS,
            "beam_size": beam,
            "num_hypotheses": num_hypotheses,
            "length_penalty": length_penalty,
            "return_scores": True,
            "asynchronous": True,
        }
        found: dict[int, list[tuple[list[int], float]]] = {}
        order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
        batches = [order[a:b] for a, b in batch_bounds([len(sources[i]) + 1 for i in order], batch_tokens)]
        while batches:
            submitted = [self._submit(batch, sources, max(limits[i] for i in batch), options) for batch in batches]
            repeated: dict[int, list[int]] = {}
            for batch, futures in zip(batches, submitted, strict=True):
                limit = max(limits[i] for i in batch)
                for i, future in zip(batch, futures, strict=True):
                    result = future.result()
                    if limits[i] < limit and any(len(tokens) > limits[i] for tokens in result.hypotheses):
                        repeated.setdefault(limits[i], []).append(i)
                        continue
                    ids = [[self.tgt_ids[token] for token in tokens] for tokens in result.hypotheses]
                    found[i] = list(zip(ids, result.scores, strict=True))
                    progress(1)
            batches = list(repeated.values())
        return [found[i] for i in range(len(sources))]

    def token_log_probs(self, sources: Sequence[TokenIds], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability of each token of each target and of its EOS."""
        results = self.translator.score_batch(
            [[self.src_tokens[i] for i in ids] for ids in sources],
            [[self.tgt_tokens[i] for i in ids] for ids in targets],
            max_batch_size=BATCH_TOKENS,
            batch_type="tokens",
            max_input_length=0,
        )
        return [list(result.log_probs) for result in results]

    def _submit(self, batch: Sequence[int], sources: Sequence[TokenIds], limit: int, options: Any) -> Any:
        tokens = [[self.src_tokens[token] for token in sources[i]] for i in batch]
        return self.translator.translate_batch(tokens, max_decoding_length=limit, **options)


class CTranslate2Translator:
    """Translates lines of text like `decoding.translator.Translator`, with an exported model.

    Hypotheses are ranked by this program's length penalty, not by CTranslate2's.
    """

    def __init__(
        self,
        model: CTranslate2Model,
        vocabularies: Vocabularies,
        config: Config,
        options: DecodingConfig,
        request: TranslationRequest | None = None,
    ) -> None:
        """`config`: of the run, for the limits on lengths."""
        self.model = model
        self.vocabularies = vocabularies
        self.config = config
        self.options = options
        self.request = request or TranslationRequest()
        self.scorer = Scorer(options.length_penalty)

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        """The translation of each line, in order. Arguments as in `Translator`; `prefixes` must be empty."""
        assert not prefixes, "engines.Model refuses prefixes for this engine"
        src, tgt = self.vocabularies.src, self.vocabularies.tgt
        max_tokens = self.config.data.max_length - 1
        parts = [
            split_line(line, ids, src, max_tokens) for line, ids in zip(lines, src.encode(lines), strict=True)
        ]
        segments = [segment for line_parts in parts for segment in line_parts]
        start = time.perf_counter()
        hypotheses = self._search([segment.ids for segment in segments], progress)
        seconds = (time.perf_counter() - start) / max(1, len(segments))
        texts = tgt.decode([found[0].ids for found in hypotheses])
        translated = [
            SegmentTranslation(segment, SearchResult(found, seconds), text, [])
            for segment, found, text in zip(segments, hypotheses, texts, strict=True)
        ]
        ends = list(accumulate(map(len, parts)))
        return [
            join_segments(translated[end - len(line_parts) : end], self.request.n_best, tgt)
            for end, line_parts in zip(ends, parts, strict=True)
        ]

    def _search(self, sources: Sequence[TokenIds], progress: Callable[[int], object]) -> list[list[Hypothesis]]:
        """The hypotheses of each source, best first."""
        o, n_best = self.options, self.request.n_best
        limit = self.config.model.position_limit
        limits = [longest_translation(len(ids), o.max_length_ratio, limit) - 1 for ids in sources]
        # Beams that the length penalty could prefer are returned, and ranked here.
        found = self.model.search(
            sources,
            limits,
            beam=o.beam,
            num_hypotheses=o.beam if o.length_penalty and o.beam > 1 else n_best,
            batch_tokens=o.batch_tokens or BATCH_TOKENS,
            progress=progress,
        )
        # At its limit CTranslate2 stops without EOS, whose log-probability counts here.
        truncated = [(i, k) for i in range(len(found)) for k, (t, _) in enumerate(found[i]) if len(t) >= limits[i]]
        tokens = [found[i][k][0] for i, k in truncated]
        log_probs = self.model.token_log_probs([sources[i] for i, _ in truncated], tokens)
        for (i, k), values in zip(truncated, log_probs, strict=True):
            found[i][k] = (found[i][k][0], sum(values))
        ranked = [
            sorted(
                (build_hypothesis(tokens, [], self.scorer, log_prob) for tokens, log_prob in hypotheses),
                key=lambda hypothesis: -hypothesis.score,
            )
            for hypotheses in found
        ]
        if self.request.scored:
            log_probs = self.model.token_log_probs(sources, [hypotheses[0].tokens for hypotheses in ranked])
            for hypotheses, values in zip(ranked, log_probs, strict=True):
                best = hypotheses[0]
                hypotheses[0] = build_hypothesis(best.tokens, values, self.scorer, best.log_prob)
        return ranked


def batch_bounds(lengths: Sequence[int], max_tokens: int) -> list[tuple[int, int]]:
    """(start, end) of consecutive batches of at most `max_tokens` tokens, padding included, of falling lengths."""
    bounds, start = [], 0
    while start < len(lengths):
        end = min(len(lengths), start + max(1, max_tokens // lengths[start]))
        bounds.append((start, end))
        start = end
    return bounds


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_ids(tokens: Sequence[int]) -> TokenIds:
    """Token ids as an array."""
    return np.array(tokens, dtype=np.int64)
