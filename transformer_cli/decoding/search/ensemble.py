"""Several models as one: the mean of their probabilities (Sutskever et al. 2014, section 3.6).

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
from transformer_cli.errors import ConfigError
from transformer_cli.layout import Layout


@dataclass(frozen=True)
class EnsembleState:
    """One state a model."""

    states: list[Any]

    def reorder(self, parents: Tensor) -> EnsembleState:
        return EnsembleState([s.reorder(parents) for s in self.states])

    def select(self, sentences: Tensor) -> EnsembleState:
        return EnsembleState([s.select(sentences) for s in self.states])

    def cat(self, other: EnsembleState) -> EnsembleState:
        return EnsembleState([mine.cat(theirs) for mine, theirs in zip(self.states, other.states, strict=True)])

    def to_static(self, positions: int, source: int) -> EnsembleState:
        return EnsembleState([s.to_static(positions, source) for s in self.states])


class Ensemble(nn.Module):
    """Models of the same vocabularies; architectures may differ. Search sees one model."""

    def __init__(self, models: Sequence[Any]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, batch: Batch) -> Tensor:
        """Raises: ConfigError: what looks into one model (alignments, coverage) has no meaning for several."""
        raise ConfigError("alignments, attention and the coverage penalty need one model, not an ensemble")

    def encode(self, src: Tensor, layout: Layout) -> list[Any]:
        """Source ids -> one memory a model."""
        return [model.encode(src, layout) for model in self._members()]

    def init_state(self, memory: list[Any]) -> EnsembleState:
        pairs = zip(self._members(), memory, strict=True)
        return EnsembleState([model.init_state(m) for model, m in pairs])

    def decode_step(self, tokens: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
        """`[B, W]` -> (log of the mean probabilities `[B, W, V]`, new state)."""
        steps = [model.decode_step(tokens, s) for model, s in zip(self._members(), state.states, strict=True)]
        log_probs = torch.stack(
            [
                logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
                for logits, _ in steps
            ]
        )  # [models, B, W, V]
        mean = log_probs.logsumexp(dim=0) - math.log(len(steps))
        return mean, EnsembleState([s for _, s in steps])

    def _members(self) -> list[Any]:
        return list(self.models)
