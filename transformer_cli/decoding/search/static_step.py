"""One position of beam search as a function from tensors to tensors, which asks nothing of the device.

The books about what has ended, which `BeamSearch` keeps in Python, are tensors here.

Shapes: B slots, a sentence each, W beams, T positions that there is room for, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import BOS, EOS
from transformer_cli.decoding.search.base import (
    LOWEST_SCORE,
    Scorer,
    Selection,
    StepModel,
    argmax_token,
    mask_special_tokens,
    widest_float,
)
from transformer_cli.decoding.search.beam import TopKSelector, select_continuations
from transformer_cli.layout import pad_to
from transformer_cli.tree import tree_leaves, tree_map


@dataclass(frozen=True)
class FinishedBuffers:
    """Of each slot the W best hypotheses that have ended, best first; equal ones in the order of their ends.

    Attributes:
        scores: `[B, W]` under the length penalty; -inf = there is none. log_probs: `[B, W]`, their sums.
        lengths: `[B, W]` int64, tokens with EOS. tokens: `[B, W, T + 1]`, BOS first; what stands at the place of
            EOS means nothing.
        gains: `[B, W, T]`, the log-probability of each token and of EOS.
    """

    scores: Tensor
    log_probs: Tensor
    lengths: Tensor
    tokens: Tensor
    token_log_probs: Tensor

    def merge_later(self, others: FinishedBuffers) -> FinishedBuffers:
        """The W best of these and of others, all of which have ended later."""
        width = self.scores.shape[1]
        both = [torch.cat(pair, dim=1) for pair in zip(tree_leaves(self), tree_leaves(others), strict=True)]
        order = both[0].sort(dim=1, descending=True, stable=True).indices[:, :width]
        return FinishedBuffers(*(_pick(x, order) for x in both))


@dataclass(frozen=True)
class BeamBuffers:
    """All that a step reads and writes.

    Attributes:
        state: the model's, fixed. position: `[1]` int64, how many tokens each hypothesis has said.
        limits: `[B]` int64, most tokens, EOS included. done: `[B]` bool, nothing changes what has ended.
        tokens: `[B, W, T + 1]` int64, BOS first. gains: `[B, W, T]`, scores: `[B, W]`: as in `ActiveBeams`; one beam
            competes with nobody, and its score stays 0.
    """

    state: Any
    position: Tensor
    limits: Tensor
    done: Tensor
    tokens: Tensor
    token_log_probs: Tensor
    scores: Tensor
    ended: FinishedBuffers

    @property
    def capacity(self) -> int:
        """T."""
        return self.token_log_probs.shape[2]

    def select(self, rows: Tensor) -> BeamBuffers:
        """Slots `[B']`, any of them any number of times."""
        moved = {f.name: tree_map(getattr(self, f.name), partial(select_rows, rows)) for f in fields(self)[2:]}
        return replace(self, state=self.state.select(rows), **moved)

    def grow(self, positions: int, source: int) -> BeamBuffers:
        """With room for so many positions and source tokens."""

        def more(x: Tensor) -> Tensor:
            return pad_to(x, 2, x.shape[2] + positions - self.capacity) if x.ndim == 3 else x

        moved = {name: tree_map(getattr(self, name), more) for name in ("tokens", "token_log_probs", "ended")}
        return replace(self, state=self.state.to_static(positions, source), **moved)


@dataclass(frozen=True)
class StaticStep:
    """One position of all slots: a function from tensors to tensors, which asks nothing of the device.

    `scored`: by log-probabilities; else by logits, for greedy search, where the largest is the same.
    `n_best`: as in `BeamSearch`.
    """

    model: StepModel
    scorer: Scorer
    n_best: int
    scored: bool

    def __call__(self, slots: BeamBuffers) -> BeamBuffers:
        now, length = slots.position, slots.position + 1
        width = slots.scores.shape[1]
        logits, state = self.model.decode_step(slots.tokens.index_select(2, now).squeeze(2), slots.state)
        wide = torch.promote_types(logits.dtype, torch.float32)
        values = mask_special_tokens(logits.log_softmax(dim=-1, dtype=wide) if self.scored else logits.to(wide))
        chosen = select_continuations(slots.scores, values) if width > 1 else likeliest(values)

        # At its limit a hypothesis can only end: all continuations but one would be forbidden.
        must_end = (slots.limits == length).unsqueeze(1)
        forced, order = torch.nan_to_num(
            slots.scores + values[..., EOS], nan=LOWEST_SCORE, neginf=LOWEST_SCORE
        ).sort(dim=1, descending=True, stable=True)
        log_probs = torch.where(must_end, forced, chosen.ended_scores)
        parents = torch.where(must_end, order, chosen.ended_parents)

        scores = torch.where(must_end, forced, chosen.scores)
        tokens = _pick(slots.tokens, chosen.parents).index_copy(2, length, chosen.choices.unsqueeze(2))
        token_log_probs = _continued(slots, chosen.parents, chosen.scores)
        ended = slots.ended.merge_later(self._ends(slots, log_probs, parents))

        best = scores.amax(dim=1)
        possible = self.scorer(best.to(ended.scores.dtype), slots.limits.to(ended.scores.dtype))
        settled = (ended.scores >= possible.unsqueeze(1)).sum(dim=1) >= self.n_best
        full = (ended.scores > -torch.inf).sum(dim=1) >= width
        over = settled | full | (slots.limits <= length)
        # Where everything was impossible to the end, the translation is what the best beam had said.
        lost = (over & ~slots.done & (ended.scores[:, 0] == -torch.inf)).unsqueeze(1)
        generated = FinishedBuffers(
            ended.scores, best.unsqueeze(1), length.expand_as(parents), tokens, token_log_probs
        )
        return BeamBuffers(
            state.reorder(chosen.parents),
            length,
            slots.limits,
            slots.done | over,
            tokens,
            token_log_probs,
            scores if width > 1 else slots.scores,
            FinishedBuffers(
                *(_where(lost, x, y) for x, y in zip(tree_leaves(generated), tree_leaves(ended), strict=True))
            ),
        )

    def _ends(self, slots: BeamBuffers, log_probs: Tensor, parents: Tensor) -> FinishedBuffers:
        """Hypotheses `[B, W]` that end here. What the model calls impossible does not count."""
        length = slots.position + 1
        counts = (log_probs > LOWEST_SCORE / 2) & ~slots.done.unsqueeze(1)
        penalised = self.scorer(log_probs.to(slots.ended.scores.dtype), length.to(slots.ended.scores.dtype))
        return FinishedBuffers(
            penalised.masked_fill(~counts, -torch.inf),
            log_probs,
            length.expand_as(parents),
            _pick(slots.tokens, parents),
            _continued(slots, parents, log_probs),
        )


def likeliest(values: Tensor) -> Selection:
    """What greedy search does, of `[B, 1, V]`: of equal tokens the first, and an id before EOS ends, too."""
    choices = argmax_token(values[:, 0])[1].unsqueeze(1).clamp_min(EOS)  # [B, 1]
    token_log_probs = torch.nan_to_num(
        values.gather(2, choices.unsqueeze(2)).squeeze(2), nan=LOWEST_SCORE, neginf=LOWEST_SCORE
    )
    ends, parents = choices == EOS, torch.zeros_like(choices)
    return Selection(token_log_probs, parents, choices, token_log_probs.masked_fill(~ends, -torch.inf), parents)


def initial_buffers(state: Any, limits: Tensor, beam: int) -> BeamBuffers:
    """Slots that have said nothing, with no room yet."""
    count, like = len(limits), next(x for x in tree_leaves(state) if x.is_floating_point())
    nothing = like.new_empty(count, beam, 0, dtype=torch.promote_types(like.dtype, torch.float32))
    scores = nothing.new_tensor(TopKSelector().initial_scores(beam)).expand(count, -1)
    tokens = limits.new_full((count, beam, 1), BOS)
    lengths = limits.new_zeros(count, beam)
    none = torch.full((count, beam), -torch.inf, dtype=widest_float(limits.device), device=limits.device)
    ended = FinishedBuffers(none, torch.zeros_like(scores), lengths, tokens, nothing)
    done = torch.zeros_like(limits, dtype=torch.bool)
    return BeamBuffers(state, limits.new_zeros(1), limits, done, tokens, nothing, scores, ended)


def select_rows(rows: Tensor, x: Tensor) -> Tensor:
    """`[B, ...]` -> `[B', ...]`."""
    return x.index_select(0, rows)


def _pick(x: Tensor, order: Tensor) -> Tensor:
    """`[B, W, ...]` and places `[B, W']` -> `[B, W', ...]`."""
    return x.gather(1, order if x.ndim == 2 else order.unsqueeze(2).expand(-1, -1, x.shape[2]))


def _continued(slots: BeamBuffers, parents: Tensor, log_probs: Tensor) -> Tensor:
    """The gains `[B, W, T]` of beams continued to these sums."""
    last = log_probs - slots.scores.gather(1, parents)
    return _pick(slots.token_log_probs, parents).index_copy(2, slots.position, last.unsqueeze(2))


def _where(rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where `[B, 1]`, else y."""
    return torch.where(rows if y.ndim == 2 else rows.unsqueeze(2), x, y)
