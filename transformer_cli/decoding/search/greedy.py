"""Greedy search: the most likely token at each position.

Shapes: B sentences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from transformer_cli.decoding.search.base import History, Rule, StepModel, run_to_end
from transformer_cli.decoding.search.hypothesis import Scorer
from transformer_cli.decoding.search.logits import argmax_single_beam
from transformer_cli.decoding.search.per_hypothesis import PerHypothesisSearch


class GreedySearch(PerHypothesisSearch):
    """One hypothesis per sentence."""

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        *,
        scorer: Scorer | None = None,
        rules: Sequence[Rule] = (),
        scored: bool = True,
    ) -> None:
        """
        Args:
            memory: argument of the model's `init_state`, for B sentences.
            limits: `[B]` int64, maximum number of tokens of a hypothesis, EOS included; EOS is
                forced at the limit.
            scorer: computes the score of the result. rules: restrict the next token.
            scored: compute log-probabilities. False skips the softmax, which does not change the
                chosen tokens.
        """
        super().__init__(model, memory, limits, _choose_argmax, scorer=scorer, rules=rules, scored=scored)


greedy_search = run_to_end(GreedySearch)


def _choose_argmax(values: Tensor, history: History) -> Tensor:
    """The `TokenChooser` of greedy search."""
    return argmax_single_beam(values)
