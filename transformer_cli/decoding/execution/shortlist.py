"""Search over a shortlist of target tokens: those that are candidates for the words of the source.

The sentences of a batch share one matrix product over the union of their lists, and each may
generate only the tokens of its own list, so a translation does not depend on the rest of the batch.
Search and its rules treat the union as a small vocabulary.

Shapes: B sentences, W beams, U tokens of the union, D `d_model`, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.models.inference import packed_linear
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.token_ids import PAD, TokenIds

UNION_MULTIPLE = 64
"""The size of the union is padded to a multiple of this number."""


@dataclass(frozen=True)
class Shortlist:
    """The tokens that a translation may contain.

    Attributes:
        candidates: source ids -> allowed target ids in ascending order, including PAD, UNK, BOS and
            EOS.
        weight: the output projection `[V, D]`, from which rows are taken.
    """

    candidates: Callable[[TokenIds], NDArray[np.int64]]
    weight: Tensor


@dataclass(frozen=True)
class ShortlistedState:
    """The model's state, and the tokens `[B, 1, U]` (bool) that each sentence must not generate.

    See `protocol.DecoderState`. It has no `cat`: each batch has a different union.
    """

    inner: Any
    banned: Tensor

    def reorder(self, parents: Tensor) -> ShortlistedState:
        return replace(self, inner=self.inner.reorder(parents))

    def select(self, sentences: Tensor) -> ShortlistedState:
        return ShortlistedState(self.inner.select(sentences), self.banned.index_select(0, sentences))


class ShortlistedModel:
    """A `StepModel` for one batch whose token ids are indices into the union. PAD to EOS keep their ids."""

    def __init__(self, model: Seq2Seq, shortlist: Shortlist, sources: Sequence[TokenIds]) -> None:
        self.model = model
        lists = [shortlist.candidates(source) for source in sources]
        union = np.unique(np.concatenate(lists))
        allowed = [np.searchsorted(union, candidates) for candidates in lists]
        # Whole blocks for the matrix product and for top-k. The filler is banned.
        self.union = np.append(union, np.full(-len(union) % UNION_MULTIPLE, PAD))
        device = shortlist.weight.device
        self.ids = torch.from_numpy(self.union).to(device)
        self.banned = torch.ones(len(lists), 1, len(self.union), dtype=torch.bool)
        for row, indices in enumerate(allowed):
            self.banned[row, 0, indices] = False
        tags = model.tags
        self.banned[..., (self.union >= tags.start) & (self.union < tags.stop)] = True
        self.banned = self.banned.to(device)
        self.output = packed_linear(shortlist.weight[self.ids].to(next(model.parameters()).dtype))

    def init_state(self, memory: Any) -> ShortlistedState:
        return ShortlistedState(self.model.init_state(memory), self.banned)

    def decode_step(self, tokens: Tensor, state: ShortlistedState) -> tuple[Tensor, ShortlistedState]:
        """Indices into the union `[B, W]` -> (logits `[B, W, U]`, -inf for banned tokens; new state)."""
        y, inner = self.model.step(self.ids[tokens], state.inner)
        logits: Tensor = self.output(y)
        return logits.masked_fill_(state.banned, -torch.inf), ShortlistedState(inner, state.banned)

    def map_ids(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """The hypotheses with ids of the vocabulary."""
        return [replace(h, tokens=self.union[h.tokens].tolist() if h.tokens else []) for h in hypotheses]
