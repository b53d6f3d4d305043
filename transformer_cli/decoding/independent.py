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
from transformer_cli.decoding.search import (
    WORST,
    History,
    Hypothesis,
    Live,
    Rule,
    Scorer,
    StepModel,
    StepwiseSearch,
    allow,
    begin,
    next_log_probs,
    widest,
)

Chooser = Callable[[Tensor, History], Tensor]
"""(log-probabilities or logits `[B, W, V]`, what was said) -> token ids `[B, W]`."""


@dataclass(frozen=True)
class LiveOrEnded(Live):
    """Some hypotheses of a sentence may have ended: `alive` `[B, W]` bool; these say EOS over and over."""

    alive: Tensor


class IndependentSearch(StepwiseSearch):
    """W hypotheses of each sentence, none of which looks at another."""

    live: LiveOrEnded
    found: list[list[Hypothesis]]

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        choose: Chooser,
        *,
        width: int = 1,
        scorer: Scorer | None = None,
        rules: Sequence[Rule] = (),
        scored: bool = True,
    ) -> None:
        """`choose`: of each hypothesis, the next token. The rest as `GreedySearch` and `SampleSearch` say."""
        super().__init__(model, memory, limits, rules)
        self.chooser, self.scorer, self.scored = choose, scorer or Scorer(), scored or bool(rules)
        rows, tokens = begin(limits, width)
        gains = torch.zeros(len(rows), width, 0, dtype=widest(limits.device), device=limits.device)
        self.live = LiveOrEnded(rows, tokens, gains, torch.ones_like(tokens[..., 0], dtype=torch.bool))
        self.found = [[] for _ in limits]

    def choose(self, logits: Tensor, last: Tensor) -> Tensor:
        live = self.live
        values = next_log_probs(logits, live, last, self.rules) if self.scored else allow(logits, last)
        choice = self.chooser(values, live)  # [B, W]
        # Where everything is impossible the choice may be a special id: that ends the hypothesis.
        choice = torch.where(live.alive & ~last.unsqueeze(1) & (choice > EOS), choice, EOS)
        gain = values.gather(-1, choice.unsqueeze(-1)).to(live.gains.dtype)
        gain = torch.where(live.alive.unsqueeze(-1), torch.nan_to_num(gain, nan=WORST, neginf=WORST), 0.0)
        self.live = LiveOrEnded(
            live.rows,
            torch.cat([live.tokens, choice.unsqueeze(-1)], dim=-1),
            torch.cat([live.gains, gain], dim=-1),
            live.alive & (choice != EOS),
        )
        return self.live.alive.any(dim=1)

    def leave(self, finished: Tensor) -> None:
        live = self.live.keep(finished.nonzero().squeeze(1))
        for row, said, gains in zip(
            live.rows.tolist(), live.tokens[..., 1:].tolist(), live.gains.tolist(), strict=True
        ):
            self.found[row] = [self._hypothesis(*one) for one in zip(said, gains, strict=True)]

    def results(self) -> list[list[Hypothesis]]:
        return self.found

    def _hypothesis(self, said: list[int], gains: list[float]) -> Hypothesis:
        length = said.index(EOS) + 1
        gains = gains[:length] if self.scored else []
        log_prob = max(sum(gains), WORST) if gains else math.nan
        return Hypothesis(said[: length - 1], log_prob, self.scorer(log_prob, length), gains)
