"""Sampling: draws each token from the model's distribution, narrowed by temperature, top-k and top-p.

Shapes: B sentences, W samples of each, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transformer_cli.decoding.search.base import History, Rule, StepModel, run_to_end
from transformer_cli.decoding.search.hypothesis import Scorer
from transformer_cli.decoding.search.logits import widest_float
from transformer_cli.decoding.search.per_hypothesis import PerHypothesisSearch


@dataclass(frozen=True)
class Sampler:
    """The distribution to draw from.

    Attributes:
        temperature: divides the logits; below 1 the distribution is sharper, above 1 flatter.
        top_k: keep only the k most likely tokens (Fan et al. 2018); 0 keeps all.
        top_p: keep only the most likely tokens that together have this probability (Holtzman et al.
            2020); 1 keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def draw(self, log_probs: Tensor, uniform: Tensor) -> Tensor:
        """`[B, W, V]` and a random number in [0, 1) for each draw `[B, W]` -> token ids `[B, W]`.

        Inverse transform sampling over the tokens in descending order of probability: equal numbers
        give equal tokens, whatever else is in the batch.
        """
        count = self.top_k or log_probs.shape[-1]
        ordered, index = (log_probs / self.temperature).sort(dim=-1, descending=True, stable=True)
        probabilities = ordered[..., :count].softmax(dim=-1, dtype=widest_float(log_probs.device))
        preceding = probabilities.cumsum(dim=-1) - probabilities  # of all more likely tokens
        nucleus = probabilities.masked_fill(preceding >= self.top_p, 0.0)
        total = nucleus.cumsum(dim=-1)
        # Rounding may select a position after the last token of the nucleus.
        rank = (total <= uniform.unsqueeze(-1) * total[..., -1:]).sum(dim=-1)
        rank = torch.minimum(rank, (nucleus > 0).sum(dim=-1) - 1).clamp_min(0)
        return index.gather(-1, rank.unsqueeze(-1)).squeeze(-1)


def uniforms(seed: int, numbers: Sequence[int], samples: int, length: int) -> Tensor:
    """`[B, W, length]` float64 in [0, 1).

    Each sentence is seeded by its number in the text, so samples do not depend on batching.
    """
    drawn = [np.random.Generator(np.random.Philox(key=[seed, n])).random((length, samples)) for n in numbers]
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
        """Results contain the samples in the order in which they were drawn, repetitions included.

        Log-probabilities are those of the model, before temperature, top-k and top-p.

        Args:
            memory: argument of the model's `init_state`, for B sentences.
            limits: `[B]` int64, maximum number of tokens of a sample, EOS included; EOS is forced
                at the limit.
            uniform: `[B, W, L]` in [0, 1), L at least the largest limit.
            sampler: the distribution. scorer: computes the scores of the results. rules: restrict
                the next token.
        """
        uniform = uniform.to(limits.device, widest_float(limits.device))

        def draw(log_probs: Tensor, history: History) -> Tensor:
            return sampler.draw(log_probs, uniform[history.rows, :, history.position])

        super().__init__(model, memory, limits, draw, width=uniform.shape[1], scorer=scorer, rules=rules)

    @property
    def can_merge(self) -> bool:
        """False: the random numbers belong to the sentences of a single batch."""
        return False


sample_search = run_to_end(SampleSearch)
