"""Greedy search: the likeliest token at each position.

Shapes: B sentences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from transformer_cli.decoding.independent import IndependentSearch
from transformer_cli.decoding.search import History, Rule, Scorer, StepModel, best_token, completed


class GreedySearch(IndependentSearch):
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


greedy_search = completed(GreedySearch)


def _likeliest(values: Tensor, history: History) -> Tensor:
    """`[B, 1, V]` -> `[B, 1]`."""
    return best_token(values[:, 0])[1].unsqueeze(1)
