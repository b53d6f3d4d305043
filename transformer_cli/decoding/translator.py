"""Text in, text out: batching by length, search, and the order of the lines restored.

Every line gives one translation. Blank lines never reach the model; a line longer than the model was trained
for is translated in pieces and joined.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from transformer_cli.batch import EOS, Ids, lay
from transformer_cli.config import DecodingConfig
from transformer_cli.decoding.beam import beam_search
from transformer_cli.decoding.greedy import greedy_search
from transformer_cli.decoding.search import Hypothesis
from transformer_cli.models.seq2seq import Seq2Seq

EXTRA_LENGTH = 10
"""Pieces that every translation may have beyond max_length_ratio times its source."""
SENTENCE_END = re.compile(r"(?<=[.!?。！？…])[\"')\]»“”]*\s*")


class TextCodec(Protocol):
    """What the translator needs of a tokenizer."""

    def encode(self, lines: Sequence[str]) -> list[Ids]: ...

    def decode(self, sentences: Sequence[Ids]) -> list[str]: ...


@dataclass(frozen=True)
class Translation:
    """One line of output.

    `score` is the length-normalised log-probability (the mean over the pieces of a split line, 0 for an
    empty one); `status` is `ok`, `empty` (blank in, blank out) or `split` (translated in pieces).
    """

    text: str
    score: float
    status: str


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
    ) -> None:
        """`max_length`: pieces of a source, EOS included, before it is split; `max_target`: the model's bound."""
        self.model = model
        self.src_tokenizer = src_tokenizer
        self.tgt_tokenizer = tgt_tokenizer
        self.options = options
        self.max_length = max_length
        self.max_target = max_target

    def translate(
        self, lines: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> list[Translation]:
        """One translation a line, in order. `progress` is told how many pieces each batch finished."""
        encoded = self.src_tokenizer.encode(lines)
        pieces: list[Ids] = []
        owners: list[list[int]] = []  # which pieces make up each line
        for line, ids in zip(lines, encoded, strict=True):
            parts = [] if not line.strip() or not len(ids) else self._split(line, ids)
            owners.append(list(range(len(pieces), len(pieces) + len(parts))))
            pieces.extend(parts)
        found = self.search(pieces, progress)
        texts = self.tgt_tokenizer.decode([np.array(h.tokens, dtype=np.int64) for h in found])
        return [_join([found[i] for i in own], [texts[i] for i in own]) for own in owners]

    @torch.inference_mode()
    def search(
        self, sources: Sequence[Ids], progress: Callable[[int], object] = lambda done: None
    ) -> list[Hypothesis]:
        """The best hypothesis of each source (ids without EOS), in order."""
        was_training = self.model.training
        self.model.eval()
        device = next(self.model.parameters()).device
        order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
        found: dict[int, Hypothesis] = {}
        for batch in self._batches(order, sources):
            ids, layout = lay([np.append(sources[i], EOS) for i in batch])
            limits = torch.tensor([self._limit(len(sources[i])) for i in batch], device=device)
            memory = self.model.encode(ids.to(device), layout.to(device))
            for i, best in zip(batch, self._search(memory, limits), strict=True):
                found[i] = best
            progress(len(batch))
        self.model.train(was_training)
        return [found[i] for i in range(len(sources))]

    def _search(self, memory: object, limits: torch.Tensor) -> list[Hypothesis]:
        beam, alpha = self.options.beam, self.options.length_penalty
        if beam == 1:
            return greedy_search(self.model, memory, limits, alpha=alpha)
        found = beam_search(self.model, memory, limits, beam=beam, alpha=alpha)
        return [hypotheses[0] for hypotheses in found]

    def _batches(self, order: Sequence[int], sources: Sequence[Ids]) -> list[list[int]]:
        batches: list[list[int]] = []
        room = 0
        for i in order:  # longest first, so the first of a batch sets its width
            width = len(sources[i]) + 1
            if not batches or room < width:
                batches.append([])
                room = max(self.options.batch_tokens, width)
                first = width
            batches[-1].append(i)
            room -= first
        return batches

    def _limit(self, source: int) -> int:
        limit = math.ceil(self.options.max_length_ratio * source) + EXTRA_LENGTH
        return limit if self.max_target is None else min(limit, self.max_target)

    def _split(self, line: str, ids: Ids) -> list[Ids]:
        """The line as it is if it fits; else sentence by sentence, as in training, and what is longer still cut.

        A model trained on sentences that is given a paragraph tends to translate its beginning and stop.
        """
        room = self.max_length - 1
        if len(ids) <= room:
            return [ids]
        return [part for sentence in _sentences(line) for part in self._cut(sentence, room)]

    def _cut(self, text: str, room: int) -> list[Ids]:
        (ids,) = self.src_tokenizer.encode([text])
        return [ids[i : i + room] for i in range(0, len(ids), room)]


def _sentences(line: str) -> list[str]:
    ends = [match.end() for match in SENTENCE_END.finditer(line)] + [len(line)]
    starts = [0, *ends]
    return [line[a:b] for a, b in zip(starts, ends, strict=False) if b > a]


def _join(found: list[Hypothesis], texts: list[str]) -> Translation:
    if not found:
        return Translation("", 0.0, "empty")
    score = sum(h.score for h in found) / len(found)
    text = " ".join(t.strip() for t in texts)
    return Translation(text, score, "ok" if len(found) == 1 else "split")
