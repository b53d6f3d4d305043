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

from transformer_cli.batch import BOS, EOS
from transformer_cli.decoding.search import (
    WORST,
    History,
    Hypothesis,
    Rule,
    Scorer,
    StepModel,
    alive_rows,
    first_step,
    next_log_probs,
    widest,
)


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
        probabilities = ordered[..., :count].softmax(dim=-1, dtype=widest(log_probs.device))
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


def sample_search(
    model: StepModel,
    memory: Any,
    limits: Tensor,
    uniform: Tensor,
    *,
    sampler: Sampler,
    scorer: Scorer | None = None,
    rules: Sequence[Rule] = (),
) -> list[list[Hypothesis]]:
    """W independent samples of each sentence.

    Args:
        memory: what the model's `init_state` takes, for B sentences.
        limits: `[B]` int64, most tokens of a sample, EOS included; at the limit EOS is forced.
        uniform: `[B, W, L]` in [0, 1), L at least the largest limit.

    Returns:
        For each of the B sentences its W samples as they were drawn, repetitions included; log-probabilities
        are the model's own, before temperature and narrowing.
    """
    scorer = scorer or Scorer()
    sentences, width, _ = uniform.shape
    rows = torch.arange(sentences, device=limits.device)
    alive = torch.ones(sentences, width, dtype=torch.bool, device=limits.device)
    tokens = torch.full((sentences, width, 1), BOS, device=limits.device)  # [B, W, t]
    longest = int(limits.max())
    said = torch.full((sentences, width, longest), EOS, device=limits.device)
    gains = torch.zeros(sentences, width, longest, dtype=widest(limits.device), device=limits.device)
    uniform = uniform.to(limits.device, widest(limits.device))

    logits, state = first_step(model, memory, tokens)
    for position in range(longest):
        log_probs = next_log_probs(logits, History(rows, tokens), limits, rules)
        last = (limits[rows] == position + 1).unsqueeze(1)
        choice = sampler.draw(log_probs, uniform[rows, :, position])
        choice = torch.where(alive & ~last & (choice > EOS), choice, EOS)
        gain = log_probs.gather(-1, choice.unsqueeze(-1)).squeeze(-1).to(gains.dtype)
        said[rows, :, position] = choice
        gains[rows, :, position] = torch.where(alive, torch.nan_to_num(gain, nan=WORST, neginf=WORST), 0.0)
        alive = alive & (choice != EOS)
        if not alive.any():
            break
        tokens = torch.cat([tokens, choice.unsqueeze(-1)], dim=-1)
        keep = alive_rows(alive.any(dim=1))
        if keep is not None:
            rows, alive, tokens, state = rows[keep], alive[keep], tokens[keep], state.keep(keep)
        logits, state = model.decode_step(tokens[:, :, -1], state)

    found = zip(said.tolist(), gains.tolist(), strict=True)
    return [[_sample(*one, scorer) for one in zip(ids, trace, strict=True)] for ids, trace in found]


def _sample(said: list[int], gains: list[float], scorer: Scorer) -> Hypothesis:
    length = said.index(EOS) + 1
    log_prob = max(sum(gains[:length]), WORST)
    return Hypothesis(said[: length - 1], log_prob, scorer(log_prob, length), gains[:length])
