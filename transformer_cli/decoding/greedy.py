"""Greedy search: the likeliest token at each position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import BOS, EOS
from transformer_cli.decoding.search import (
    WORST,
    Hypothesis,
    StepModel,
    alive_rows,
    allow,
    length_penalty,
)


def greedy_search(model: StepModel, memory: Any, limits: Tensor, *, alpha: float = 1.0) -> list[Hypothesis]:
    """One hypothesis a sentence.

    Args:
        memory: what the model's `init_state` takes, for B sentences.
        limits: `[B]` int64, most tokens of each hypothesis, EOS included; at the limit EOS is forced.
        alpha: length penalty, for the score only.

    Returns:
        B hypotheses, in order.
    """
    state = model.init_state(memory, 1)
    rows = torch.arange(len(limits), device=limits.device)  # the sentence in each row of the state
    alive = torch.ones_like(rows, dtype=torch.bool)
    tokens = torch.full((len(rows), 1), BOS, device=limits.device)  # [B, 1]
    said = torch.full((len(rows), int(limits.max())), EOS, device=limits.device)
    log_probs = torch.zeros(len(rows), device=limits.device)

    for position in range(int(limits.max())):
        logits, state = model.decode_step(tokens, state)
        logits = logits[:, 0].float()  # [B, V]
        total = logits.logsumexp(dim=-1)  # the only part of the softmax that is needed
        last = limits[rows] == position + 1
        best, choice = allow(logits, last).max(dim=-1)
        gained = torch.nan_to_num(best - total, nan=WORST, neginf=WORST)
        log_probs[rows] += torch.where(alive, gained, 0.0)
        # Where everything is impossible the best may be a special id: that ends the translation.
        choice = torch.where(alive & ~last & (choice > EOS), choice, EOS)
        said[rows, position] = choice
        alive = alive & (choice != EOS)
        if not alive.any():
            break
        tokens = choice.unsqueeze(1)
        keep = alive_rows(alive)
        if keep is not None:
            rows, alive, tokens, state = rows[keep], alive[keep], tokens[keep], state.keep(keep)

    return [_hypothesis(ids, p, alpha) for ids, p in zip(said.tolist(), log_probs.tolist(), strict=True)]


def _hypothesis(said: list[int], log_prob: float, alpha: float) -> Hypothesis:
    tokens = said[: said.index(EOS)]
    return Hypothesis(tokens, log_prob, log_prob / length_penalty(len(tokens) + 1, alpha))
