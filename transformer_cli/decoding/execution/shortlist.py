"""Search over a short list of target pieces: those that the words of the source may become.

The sentences of a batch share one product over the union of their lists, and each may say what stands on its own;
so a translation does not depend on its neighbours. Search and its rules see the union as a small vocabulary.

Shapes: B sentences, W beams, U pieces of the union, D `d_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transformer_cli.batch import PAD, TokenIds
from transformer_cli.decoding.search.base import Hypothesis
from transformer_cli.models.inference import packed_linear
from transformer_cli.models.seq2seq import Seq2Seq

BLOCK = 64
"""The union is filled up to a multiple of this."""


@dataclass(frozen=True)
class Shortlist:
    """Source ids -> the increasing ids that its translation may hold, PAD to EOS among them; and the output
    projection `[V, D]` of which rows are taken."""

    candidates: Callable[[TokenIds], NDArray[np.int64]]
    weight: Tensor


@dataclass(frozen=True)
class ShortlistedState:
    """The model's state, and what each sentence may not say: `[B, 1, U]`; see `protocol.DecoderState`.

    It joins no other: each batch has a union of its own.
    """

    inner: Any
    banned: Tensor

    def reorder(self, parents: Tensor) -> ShortlistedState:
        return replace(self, inner=self.inner.reorder(parents))

    def select(self, sentences: Tensor) -> ShortlistedState:
        return ShortlistedState(self.inner.select(sentences), self.banned.index_select(0, sentences))


class ShortlistedModel:
    """A model for one batch, whose token ids count the union: a `StepModel`. PAD to EOS keep their ids."""

    def __init__(self, model: Seq2Seq, shortlist: Shortlist, sources: Sequence[TokenIds]) -> None:
        self.model = model
        lists = [shortlist.candidates(source) for source in sources]
        union = np.unique(np.concatenate(lists))
        places = [np.searchsorted(union, one) for one in lists]
        # Whole blocks for the product and for the selection of the best; what fills them up may not be said.
        self.union = np.append(union, np.full(-len(union) % BLOCK, PAD))
        device = shortlist.weight.device
        self.ids = torch.from_numpy(self.union).to(device)
        self.banned = torch.ones(len(lists), 1, len(self.union), dtype=torch.bool)
        for row, allowed in enumerate(places):
            self.banned[row, 0, allowed] = False
        self.banned = self.banned.to(device)
        self.output = packed_linear(shortlist.weight[self.ids].to(next(model.parameters()).dtype))

    def init_state(self, memory: Any) -> ShortlistedState:
        return ShortlistedState(self.model.init_state(memory), self.banned)

    def decode_step(self, tokens: Tensor, state: ShortlistedState) -> tuple[Tensor, ShortlistedState]:
        """Places in the union `[B, W]` -> (logits `[B, W, U]`, -inf for what is not listed; the next state)."""
        y, inner = self.model.step(self.ids[tokens], state.inner)
        logits: Tensor = self.output(y)
        return logits.masked_fill_(state.banned, -torch.inf), ShortlistedState(inner, state.banned)

    def map_ids(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses in the vocabulary's own ids."""
        return [replace(h, tokens=self.union[h.tokens].tolist() if h.tokens else []) for h in hypotheses]
