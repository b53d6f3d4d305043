"""Beam search with the length penalty of GNMT (Wu et al. 2016, section 7).

Shapes: B sentences, W beams, V vocabulary, t tokens so far.
"""

from __future__ import annotations

import math
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


def beam_search(
    model: StepModel, memory: Any, limits: Tensor, *, beam: int, alpha: float = 1.0
) -> list[list[Hypothesis]]:
    """The best `beam` hypotheses found for each sentence.

    Each position extends all W live hypotheses by all V tokens and looks at the best 2W: those among the first
    W that end are finished, the first W that do not end live on. A sentence is done when it has W
    finished hypotheses, or when no live one can still beat the best finished one.

    Args:
        memory: what the model's `init_state` takes, for B sentences.
        limits: `[B]` int64, most tokens of a hypothesis, EOS included; at the limit EOS is forced.

    Returns:
        For each of the B sentences, in order, its finished hypotheses, best first; at least one.
    """
    state = model.init_state(memory, beam)
    device = limits.device
    finished: list[list[Hypothesis]] = [[] for _ in limits]
    longest = limits.tolist()
    rows = torch.arange(len(limits), device=device)  # the sentence in each row of the state
    alive = torch.ones_like(rows, dtype=torch.bool)
    tokens = torch.full((len(rows), beam, 1), BOS, device=device)  # [B, W, t]
    # All beams begin alike: only the first may branch, or all would stay copies of it.
    scores = torch.full((len(rows), beam), WORST, device=device)  # [B, W]
    scores[:, 0] = 0.0

    for position in range(max(longest)):
        logits, state = model.decode_step(tokens[:, :, -1], state)
        logits = logits.float()
        base = scores - logits.logsumexp(dim=-1)  # [B, W]
        last = limits[rows] == position + 1
        logits = allow(logits, last)
        totals = logits.add_(base.unsqueeze(-1)).flatten(1)  # [B, W · V] log-probabilities
        top, index = top_k(totals, 2 * beam)  # [B, 2W]
        top = torch.nan_to_num(top, nan=WORST, neginf=WORST)
        vocab = logits.shape[-1]
        # Where everything is impossible the best may be a special id: that ends the hypothesis.
        parents, choices = index // vocab, (index % vocab).clamp_min(EOS)
        choices = choices.masked_fill(last.unsqueeze(1), EOS)

        ends = choices == EOS
        penalty = length_penalty(position + 1, alpha)
        ending = ends[:, :beam] & alive.unsqueeze(1)
        for row, rank in ending.nonzero().tolist():
            log_prob, sentence = float(top[row, rank]), int(rows[row])
            # What the model calls impossible is a translation only where there is no other.
            if log_prob > WORST / 2 or (position + 1 == longest[sentence] and not finished[sentence]):
                said = tokens[row, parents[row, rank], 1:].tolist()
                finished[sentence].append(Hypothesis(said, log_prob, log_prob / penalty))

        scores, rank = top.masked_fill(ends, -math.inf).topk(beam)  # [B, W]
        scores = scores.clamp_min(WORST)
        parents, choices = parents.gather(1, rank), choices.gather(1, rank)
        history = tokens.gather(1, parents.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        tokens = torch.cat([history, choices.unsqueeze(-1)], dim=-1)

        best_live = scores[:, 0].tolist()
        for row, sentence in enumerate(rows.tolist()):
            limit = longest[sentence]
            possible = best_live[row] / length_penalty(limit, alpha)
            alive[row] &= not _is_done(finished[sentence], beam, possible) and position + 1 < limit
        if not alive.any():
            break
        state = state.reorder(parents)
        keep = alive_rows(alive)
        if keep is not None:
            rows, alive, tokens, scores = rows[keep], alive[keep], tokens[keep], scores[keep]
            state = state.keep(keep)

    return [sorted(found, key=lambda h: -h.score)[:beam] for found in finished]


def _is_done(finished: list[Hypothesis], beam: int, possible: float) -> bool:
    return len(finished) >= beam or any(h.score >= possible for h in finished)


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`scores.topk(k)` over the last of two dimensions, exactly, in two stages.

    The k best elements lie in the k blocks with the best maxima, so only these are sorted.
    """
    rows, columns = scores.shape
    block = math.gcd(columns, 128)
    k = min(k, columns)
    if block < 8 or columns // block < k:
        return scores.topk(k)
    blocks = scores.view(rows, -1, block)  # [B, columns / block, block]
    chosen = blocks.amax(dim=-1).topk(k).indices  # [B, k]
    inside = blocks.gather(1, chosen.unsqueeze(-1).expand(-1, -1, block)).flatten(1)  # [B, k · block]
    top, index = inside.topk(k)
    return top, chosen.gather(1, index // block) * block + index % block
