"""Ensembles: decoding by the mean probabilities of several models (Sutskever et al. 2014, section 3.6).

Shapes: B sentences, W beams, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transformer_cli.batch import Batch
from transformer_cli.decoding.search.logits import log_softmax
from transformer_cli.errors import ConfigError
from transformer_cli.layout import Layout


@dataclass(frozen=True)
class EnsembleState:
    """One decoder state per model; see `protocol.DecoderState`."""

    states: list[Any]

    def reorder(self, parents: Tensor) -> EnsembleState:
        return EnsembleState([s.reorder(parents) for s in self.states])

    def select(self, sentences: Tensor) -> EnsembleState:
        return EnsembleState([s.select(sentences) for s in self.states])

    def cat(self, other: EnsembleState) -> EnsembleState:
        return EnsembleState([a.cat(b) for a, b in zip(self.states, other.states, strict=True)])

    def to_static(self, positions: int, source: int) -> EnsembleState:
        return EnsembleState([s.to_static(positions, source) for s in self.states])


class Ensemble(nn.Module):
    """Models with the same vocabularies behind the interface of a single one. Architectures may differ."""

    def __init__(self, models: Sequence[Any]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, batch: Batch) -> Tensor:
        """Not supported.

        Raises:
            ConfigError: always. Attention weights (alignments, coverage penalty) are defined for
                one model only.
        """
        raise ConfigError("alignments, attention and the coverage penalty need one model, not an ensemble")

    def encode(self, src: Tensor, layout: Layout) -> list[Any]:
        """Source ids -> one memory per model."""
        return [model.encode(src, layout) for model in self._members()]

    def init_state(self, memory: list[Any]) -> EnsembleState:
        pairs = zip(self._members(), memory, strict=True)
        return EnsembleState([model.init_state(m) for model, m in pairs])

    def decode_step(self, tokens: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
        """`[B, W]` -> (log of the mean probabilities `[B, W, V]`, new state)."""
        steps = [model.decode_step(tokens, s) for model, s in zip(self._members(), state.states, strict=True)]
        log_probs = torch.stack([log_softmax(logits) for logits, _ in steps])  # [models, B, W, V]
        mean = log_probs.logsumexp(dim=0) - math.log(len(steps))
        return mean, EnsembleState([s for _, s in steps])

    def _members(self) -> list[Any]:
        return list(self.models)
