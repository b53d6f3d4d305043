"""Greedy search: the likeliest token at each position.

Shapes: B sentences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from transformer_cli.decoding.search.base import History, Rule, Scorer, StepModel, argmax_token, run_to_end
from transformer_cli.decoding.search.per_hypothesis import PerHypothesisSearch


class GreedySearch(PerHypothesisSearch):
    """One hypothesis a sentence."""

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
            memory: what the model's `init_state` takes, for B sentences.
            limits: `[B]` int64, most tokens of each hypothesis, EOS included; at the limit EOS is forced.
            rules: what may come next. scorer: for the score only.
            scored: compute log-probabilities; without them the softmax is left out, which changes no choice.
        """
        super().__init__(model, memory, limits, _likeliest, scorer=scorer, rules=rules, scored=scored)


greedy_search = run_to_end(GreedySearch)


def _likeliest(values: Tensor, history: History) -> Tensor:
    """`[B, 1, V]` -> `[B, 1]`."""
    return argmax_token(values[:, 0])[1].unsqueeze(1)
