"""Sampling: each token is drawn from what the model says, narrowed by temperature, top-k and top-p.

Shapes: B sentences, W samples of each, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transformer_cli.decoding.search.base import History, Rule, Scorer, StepModel, run_to_end, widest_float
from transformer_cli.decoding.search.per_hypothesis import PerHypothesisSearch


@dataclass(frozen=True)
class Sampler:
    """The distribution to draw from.

    Attributes:
        temperature: logits are divided by it: below 1 safer, above 1 wilder.
        top_k: only the k likeliest tokens (Fan et al. 2018); 0 = all.
        top_p: only the likeliest tokens that together have this probability (Holtzman et al. 2020); 1 = all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def draw(self, log_probs: Tensor, uniform: Tensor) -> Tensor:
        """`[B, W, V]` and a number in [0, 1) for each draw `[B, W]` -> token ids `[B, W]`.

        The inverse of the distribution function over tokens from likely to unlikely: the same number gives
        the same token, whatever else is in the batch.
        """
        count = self.top_k or log_probs.shape[-1]
        ordered, index = (log_probs / self.temperature).sort(dim=-1, descending=True, stable=True)
        probabilities = ordered[..., :count].softmax(dim=-1, dtype=widest_float(log_probs.device))
        below = probabilities.cumsum(dim=-1) - probabilities  # of all likelier tokens
        kept = probabilities.masked_fill(below >= self.top_p, 0.0)
        total = kept.cumsum(dim=-1)
        # The last token of the nucleus catches what rounding leaves over.
        chosen = (total <= uniform.unsqueeze(-1) * total[..., -1:]).sum(dim=-1)
        chosen = torch.minimum(chosen, (kept > 0).sum(dim=-1) - 1).clamp_min(0)
        return index.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)


def uniforms(seed: int, numbers: Sequence[int], samples: int, longest: int) -> Tensor:
    """`[B, W, L]` float64 in [0, 1): of each sentence by its number in the text, so batches make no difference."""
    drawn = [np.random.Generator(np.random.Philox(key=[seed, n])).random((longest, samples)) for n in numbers]
    return torch.from_numpy(np.stack(drawn)).transpose(1, 2)


class SampleSearch(PerHypothesisSearch):
    """W independent samples of each sentence."""

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        uniform: Tensor,
        *,
        sampler: Sampler,
        scorer: Scorer | None = None,
        rules: Sequence[Rule] = (),
    ) -> None:
        """Results hold the samples as they were drawn, repetitions included.

        Log-probabilities are the model's own, before temperature and narrowing.

        Args:
            memory: what the model's `init_state` takes, for B sentences.
            limits: `[B]` int64, most tokens of a sample, EOS included; at the limit EOS is forced.
            uniform: `[B, W, L]` in [0, 1), L at least the largest limit.
        """
        uniform = uniform.to(limits.device, widest_float(limits.device))

        def draw(log_probs: Tensor, history: History) -> Tensor:
            return sampler.draw(log_probs, uniform[history.rows, :, history.position])

        super().__init__(model, memory, limits, draw, width=uniform.shape[1], scorer=scorer, rules=rules)

    @property
    def can_merge(self) -> bool:
        """Never: the numbers to draw by are those of one batch."""
        return False


sample_search = run_to_end(SampleSearch)
