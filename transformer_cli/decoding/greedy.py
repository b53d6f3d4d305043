"""Greedy search: the likeliest token at each position.

Shapes: B sentences, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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
    allow,
    best_token,
    next_log_probs,
    widest,
)


def greedy_search(
    model: StepModel,
    memory: Any,
    limits: Tensor,
    *,
    scorer: Scorer | None = None,
    rules: Sequence[Rule] = (),
    scored: bool = True,
) -> list[Hypothesis]:
    """One hypothesis a sentence.

    Args:
        memory: what the model's `init_state` takes, for B sentences.
        limits: `[B]` int64, most tokens of each hypothesis, EOS included; at the limit EOS is forced.
        rules: what may come next. scorer: for the score only.
        scored: compute log-probabilities; without them the softmax is left out, which changes no choice.

    Returns:
        B hypotheses, in order.
    """
    scorer = scorer or Scorer()
    scored = scored or bool(rules)
    state = model.init_state(memory)
    rows = torch.arange(len(limits), device=limits.device)  # the sentence in each row of the state
    alive = torch.ones_like(rows, dtype=torch.bool)
    tokens = torch.full((len(rows), 1, 1), BOS, device=limits.device)  # [B, 1, t]
    longest = int(limits.max())
    said = torch.full((len(rows), longest), EOS, device=limits.device)
    gains = torch.zeros(len(rows), longest, dtype=widest(limits.device), device=limits.device)

    for position in range(longest):
        logits, state = model.decode_step(tokens[:, :, -1], state)
        last = limits[rows] == position + 1
        history = History(rows, tokens)
        values = next_log_probs(logits, history, limits, rules) if scored else allow(logits, last)
        best, choice = best_token(values[:, 0])  # [B]
        # Where everything is impossible the best may be a special id: that ends the translation.
        choice = torch.where(alive & ~last & (choice > EOS), choice, EOS)
        said[rows, position] = choice
        gains[rows, position] = torch.where(alive, torch.nan_to_num(best, nan=WORST, neginf=WORST), 0.0).to(
            gains.dtype
        )
        alive = alive & (choice != EOS)
        if not alive.any():
            break
        tokens = torch.cat([tokens, choice[:, None, None]], dim=-1)
        keep = alive_rows(alive)
        if keep is not None:
            rows, alive, tokens, state = rows[keep], alive[keep], tokens[keep], state.keep(keep)

    found = zip(said.tolist(), gains.tolist(), strict=True)
    return [_hypothesis(ids, trace if scored else [], scorer) for ids, trace in found]


def _hypothesis(said: list[int], gains: list[float], scorer: Scorer) -> Hypothesis:
    length = said.index(EOS) + 1
    gains = gains[:length]
    log_prob = max(sum(gains), WORST) if gains else math.nan
    return Hypothesis(said[: length - 1], log_prob, scorer(log_prob, length), gains)
