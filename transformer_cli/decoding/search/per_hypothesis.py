"""Hypotheses that go on by themselves: at each position a token is chosen for each of them.

Greedy search chooses the likeliest, sampling draws.

Shapes: B sentences, W hypotheses of each, V vocabulary, t tokens so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import EOS
from transformer_cli.decoding.search.base import (
    LOWEST_SCORE,
    ActiveHypotheses,
    History,
    Hypothesis,
    Rule,
    Scorer,
    StepModel,
    StepwiseSearch,
    initial_hypotheses,
    mask_impossible_tokens,
    next_log_probs,
    widest_float,
)

TokenChooser = Callable[[Tensor, History], Tensor]
"""(log-probabilities or logits `[B, W, V]`, what was said) -> token ids `[B, W]`."""


@dataclass(frozen=True)
class ActiveOrEnded(ActiveHypotheses):
    """Some hypotheses of a sentence may have ended: `alive` `[B, W]` bool; these say EOS over and over."""

    alive: Tensor


class PerHypothesisSearch(StepwiseSearch):
    """W hypotheses of each sentence, none of which looks at another."""

    active: ActiveOrEnded
    found: list[list[Hypothesis]]

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        choose: TokenChooser,
        *,
        width: int = 1,
        scorer: Scorer | None = None,
        rules: Sequence[Rule] = (),
        scored: bool = True,
    ) -> None:
        """`choose`: of each hypothesis, the next token. The rest as `GreedySearch` and `SampleSearch` say."""
        super().__init__(model, memory, limits, rules)
        self.chooser, self.scorer, self.scored = choose, scorer or Scorer(), scored or bool(rules)
        rows, tokens = initial_hypotheses(limits, width)
        token_log_probs = torch.zeros(len(rows), width, 0, dtype=widest_float(limits.device), device=limits.device)
        self.active = ActiveOrEnded(
            rows, tokens, token_log_probs, torch.ones_like(tokens[..., 0], dtype=torch.bool)
        )
        self.found = [[] for _ in limits]

    def choose(self, logits: Tensor, last: Tensor) -> Tensor:
        active = self.active
        values = (
            next_log_probs(logits, active, last, self.rules)
            if self.scored
            else mask_impossible_tokens(logits, last)
        )
        choice = self.chooser(values, active)  # [B, W]
        # Where everything is impossible the choice may be a special id: that ends the hypothesis.
        choice = torch.where(active.alive & ~last.unsqueeze(1) & (choice > EOS), choice, EOS)
        gain = values.gather(-1, choice.unsqueeze(-1)).to(active.token_log_probs.dtype)
        gain = torch.where(
            active.alive.unsqueeze(-1), torch.nan_to_num(gain, nan=LOWEST_SCORE, neginf=LOWEST_SCORE), 0.0
        )
        self.active = ActiveOrEnded(
            active.rows,
            torch.cat([active.tokens, choice.unsqueeze(-1)], dim=-1),
            torch.cat([active.token_log_probs, gain], dim=-1),
            active.alive & (choice != EOS),
        )
        return self.active.alive.any(dim=1)

    def collect_finished(self, finished: Tensor) -> None:
        active = self.active.select(finished.nonzero().squeeze(1))
        for row, generated, token_log_probs in zip(
            active.rows.tolist(), active.tokens[..., 1:].tolist(), active.token_log_probs.tolist(), strict=True
        ):
            self.found[row] = [self._hypothesis(*one) for one in zip(generated, token_log_probs, strict=True)]

    def results(self) -> list[list[Hypothesis]]:
        return self.found

    def _hypothesis(self, generated: list[int], token_log_probs: list[float]) -> Hypothesis:
        length = generated.index(EOS) + 1
        token_log_probs = token_log_probs[:length] if self.scored else []
        log_prob = max(sum(token_log_probs), LOWEST_SCORE) if token_log_probs else math.nan
        return Hypothesis(generated[: length - 1], log_prob, self.scorer(log_prob, length), token_log_probs)
