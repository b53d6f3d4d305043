"""Search in which hypotheses do not compete: at each position a token is chosen for each of them separately.

Greedy search chooses the most likely token, sampling draws one.

Shapes: B sentences, W hypotheses of each, V vocabulary, t tokens so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer_cli.decoding.search.base import (
    ActiveHypotheses,
    History,
    Rule,
    StepModel,
    StepwiseSearch,
    initial_rows,
    initial_tokens,
    next_log_probs,
)
from transformer_cli.decoding.search.hypothesis import Hypothesis, Scorer, build_hypothesis
from transformer_cli.decoding.search.logits import mask_impossible_tokens, to_finite, widest_float
from transformer_cli.token_ids import EOS

TokenChooser = Callable[[Tensor, History], Tensor]
"""(log-probabilities or logits `[B, W, V]`, history) -> token ids `[B, W]`."""


@dataclass(frozen=True)
class ActiveOrFinished(ActiveHypotheses):
    """All W hypotheses of the unfinished sentences. `is_active` `[B, W]` bool; finished ones repeat EOS."""

    is_active: Tensor


class PerHypothesisSearch(StepwiseSearch):
    """W hypotheses of each sentence, extended independently of each other."""

    active: ActiveOrFinished
    finished: list[list[Hypothesis]]

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
        """`choose`: the next token of each hypothesis. Other arguments as in `GreedySearch` and `SampleSearch`."""
        super().__init__(model, memory, limits, rules)
        self.choose, self.scorer, self.scored = choose, scorer or Scorer(), scored or bool(rules)
        rows, tokens = initial_rows(limits), initial_tokens(limits, width)
        token_log_probs = torch.zeros(len(rows), width, 0, dtype=widest_float(limits.device), device=limits.device)
        is_active = torch.ones_like(tokens[..., 0], dtype=torch.bool)
        self.active = ActiveOrFinished(rows, tokens, token_log_probs, is_active)
        self.finished = [[] for _ in limits]

    def extend(self, logits: Tensor, must_end: Tensor) -> Tensor:
        active = self.active
        values = (
            next_log_probs(logits, active, must_end, self.rules)
            if self.scored
            else mask_impossible_tokens(logits, must_end)
        )
        choices = self.choose(values, active)  # [B, W]
        # If everything is impossible, the choice may be a special token. It ends the hypothesis.
        choices = torch.where(active.is_active & ~must_end.unsqueeze(1) & (choices > EOS), choices, EOS)
        gains = values.gather(-1, choices.unsqueeze(-1)).to(active.token_log_probs.dtype)
        gains = torch.where(active.is_active.unsqueeze(-1), to_finite(gains), 0.0)
        self.active = ActiveOrFinished(
            active.rows,
            torch.cat([active.tokens, choices.unsqueeze(-1)], dim=-1),
            torch.cat([active.token_log_probs, gains], dim=-1),
            active.is_active & (choices != EOS),
        )
        return self.active.is_active.any(dim=1)

    def collect_finished(self, is_finished: Tensor) -> None:
        rows = self.active.select(is_finished.nonzero().squeeze(1))
        for row, generated, token_log_probs in zip(
            rows.rows.tolist(), rows.tokens[..., 1:].tolist(), rows.token_log_probs.tolist(), strict=True
        ):
            self.finished[row] = [self._hypothesis(*x) for x in zip(generated, token_log_probs, strict=True)]

    def results(self) -> list[list[Hypothesis]]:
        return self.finished

    def _hypothesis(self, generated: list[int], token_log_probs: list[float]) -> Hypothesis:
        length = generated.index(EOS)
        return build_hypothesis(
            generated[:length], token_log_probs[: length + 1] if self.scored else [], self.scorer
        )
