"""One position of beam search as a function from tensors to tensors that never synchronizes with the device.

The bookkeeping of finished hypotheses, which `BeamSearch` does in Python, uses tensors here.

Shapes: B slots, one sentence each, W beams, T positions (capacity of the buffers), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from transformer_cli.decoding.search.base import Selection, StepModel, initial_tokens
from transformer_cli.decoding.search.beam import TopKSelector, select_continuations
from transformer_cli.decoding.search.hypothesis import Scorer, is_search_complete
from transformer_cli.decoding.search.logits import (
    IMPOSSIBLE_SCORE,
    argmax_single_beam,
    log_softmax,
    mask_special_tokens,
    select_beams,
    to_finite,
    widest_float,
)
from transformer_cli.layout import pad_to
from transformer_cli.token_ids import EOS
from transformer_cli.tree import tree_leaves, tree_map


@dataclass(frozen=True)
class FinishedBuffers:
    """The W best finished hypotheses of each slot, best first; equal ones in the order in which they finished.

    Attributes:
        scores: `[B, W]`, with the length penalty; -inf marks an empty place.
        log_probs: `[B, W]`, summed log-probabilities.
        lengths: `[B, W]` int64, number of tokens, EOS included.
        tokens: `[B, W, T + 1]`, BOS first; the value at the position of EOS is undefined.
        token_log_probs: `[B, W, T]`, the log-probability of each token and of EOS.
    """

    scores: Tensor
    log_probs: Tensor
    lengths: Tensor
    tokens: Tensor
    token_log_probs: Tensor

    def merge_later(self, later: FinishedBuffers) -> FinishedBuffers:
        """The W best of these and of hypotheses that finished later."""
        width = self.scores.shape[1]
        merged = [torch.cat(pair, dim=1) for pair in zip(tree_leaves(self), tree_leaves(later), strict=True)]
        order = merged[0].sort(dim=1, descending=True, stable=True).indices[:, :width]
        return FinishedBuffers(*(select_beams(x, order) for x in merged))

    def where(self, slots: Tensor, other: FinishedBuffers) -> FinishedBuffers:
        """These in `slots` `[B]` (bool), elsewhere `other`."""
        pairs = zip(tree_leaves(self), tree_leaves(other), strict=True)
        rows = slots.unsqueeze(1)
        return FinishedBuffers(*(torch.where(rows if y.ndim == 2 else rows.unsqueeze(2), x, y) for x, y in pairs))


@dataclass(frozen=True)
class BeamBuffers:
    """Everything that a step reads and writes.

    Attributes:
        state: state of the model, of static shape.
        position: `[1]` int64, number of generated tokens.
        limits: `[B]` int64, maximum number of tokens, EOS included.
        done: `[B]` bool, where the finished hypotheses do not change any more.
        tokens: `[B, W, T + 1]` int64, BOS first.
        token_log_probs: `[B, W, T]`. scores: `[B, W]`. As in `ActiveBeams`; with a single beam,
            which does not compete, the score stays 0.
        finished: the finished hypotheses.
    """

    state: Any
    position: Tensor
    limits: Tensor
    done: Tensor
    tokens: Tensor
    token_log_probs: Tensor
    scores: Tensor
    finished: FinishedBuffers

    @property
    def capacity(self) -> int:
        """T."""
        return self.token_log_probs.shape[2]

    def select(self, rows: Tensor) -> BeamBuffers:
        """The slots `rows` `[B']`, which may contain a slot more than once."""
        selected = {f.name: tree_map(getattr(self, f.name), partial(select_rows, rows)) for f in fields(self)[2:]}
        return replace(self, state=self.state.select(rows), **selected)

    def to_static(self, positions: int, source: int) -> BeamBuffers:
        """Buffers with capacity for this number of positions and source tokens."""

        def grow(x: Tensor) -> Tensor:
            return pad_to(x, 2, x.shape[2] + positions - self.capacity) if x.ndim == 3 else x

        grown = {name: tree_map(getattr(self, name), grow) for name in ("tokens", "token_log_probs", "finished")}
        return replace(self, state=self.state.to_static(positions, source), **grown)


@dataclass(frozen=True)
class StaticStep:
    """One position of all slots: a function from tensors to tensors that never synchronizes with the device.

    Attributes:
        n_best: as in `BeamSearch`.
        scored: use log-probabilities; False uses logits, which have the same maximum, for greedy
            search.
    """

    model: StepModel
    scorer: Scorer
    n_best: int
    scored: bool

    def __call__(self, buffers: BeamBuffers) -> BeamBuffers:
        """The buffers after the next position."""
        position, length = buffers.position, buffers.position + 1
        width = buffers.scores.shape[1]
        logits, state = self.model.decode_step(buffers.tokens.index_select(2, position).squeeze(2), buffers.state)
        values = mask_special_tokens(log_softmax(logits) if self.scored else _at_least_float32(logits))
        selection = select_continuations(buffers.scores, values) if width > 1 else select_argmax(values)

        # At its limit a hypothesis can only end: every continuation other than EOS is forbidden.
        must_end = (buffers.limits == length).unsqueeze(1)
        forced, order = to_finite(buffers.scores + values[..., EOS]).sort(dim=1, descending=True, stable=True)
        finished_scores = torch.where(must_end, forced, selection.finished_scores)
        finished_parents = torch.where(must_end, order, selection.finished_parents)

        scores = torch.where(must_end, forced, selection.scores)
        tokens = select_beams(buffers.tokens, selection.parents).index_copy(
            2, length, selection.choices.unsqueeze(2)
        )
        token_log_probs = _extend_token_log_probs(buffers, selection.parents, selection.scores)
        finished = buffers.finished.merge_later(self._finish(buffers, finished_scores, finished_parents))

        best = scores.amax(dim=1)
        stops = self._should_stop(finished, best, length, buffers.limits)
        # Without a finished hypothesis, because everything was impossible, the best beam is the translation.
        needs_fallback = stops & ~buffers.done & (finished.scores[:, 0] == -torch.inf)
        fallback = FinishedBuffers(
            finished.scores, best.unsqueeze(1), length.expand_as(finished_parents), tokens, token_log_probs
        )
        return BeamBuffers(
            state.reorder(selection.parents),
            length,
            buffers.limits,
            buffers.done | stops,
            tokens,
            token_log_probs,
            scores if width > 1 else buffers.scores,
            fallback.where(needs_fallback, finished),
        )

    def _should_stop(self, finished: FinishedBuffers, best: Tensor, length: Tensor, limits: Tensor) -> Tensor:
        """As `FinishedHypotheses.should_continue`, negated: `[B]` bool. `best`: `[B]`."""
        dtype = finished.scores.dtype
        bound = self.scorer.upper_bound(best.to(dtype), limits.to(dtype))
        unbeatable = (finished.scores >= bound.unsqueeze(1)).sum(dim=1)
        count = (finished.scores > -torch.inf).sum(dim=1)
        stops: Tensor = is_search_complete(
            unbeatable, count, length, limits, n_best=self.n_best, beam=finished.scores.shape[1]
        )
        return stops

    def _finish(self, buffers: BeamBuffers, log_probs: Tensor, parents: Tensor) -> FinishedBuffers:
        """Hypotheses that end at this position, `[B, W]`; impossible ones have the score -inf."""
        length, dtype = buffers.position + 1, buffers.finished.scores.dtype
        is_possible = (log_probs > IMPOSSIBLE_SCORE) & ~buffers.done.unsqueeze(1)
        return FinishedBuffers(
            self.scorer(log_probs.to(dtype), length.to(dtype)).masked_fill(~is_possible, -torch.inf),
            log_probs,
            length.expand_as(parents),
            select_beams(buffers.tokens, parents),
            _extend_token_log_probs(buffers, parents, log_probs),
        )


def select_argmax(values: Tensor) -> Selection:
    """The `Selection` of greedy search for `[B, 1, V]`. A special token ends the hypothesis, as EOS does."""
    choices = argmax_single_beam(values).clamp_min(EOS)  # [B, 1]
    scores = to_finite(values.gather(2, choices.unsqueeze(2)).squeeze(2))
    ends, parents = choices == EOS, torch.zeros_like(choices)
    return Selection(scores, parents, choices, scores.masked_fill(~ends, -torch.inf), parents)


def initial_buffers(state: Any, limits: Tensor, beam: int) -> BeamBuffers:
    """Buffers of hypotheses without tokens, with capacity 0."""
    count, like = len(limits), next(x for x in tree_leaves(state) if x.is_floating_point())
    token_log_probs = like.new_empty(count, beam, 0, dtype=torch.promote_types(like.dtype, torch.float32))
    scores = token_log_probs.new_tensor(TopKSelector().initial_scores(beam)).expand(count, -1)
    tokens = initial_tokens(limits, beam)
    empty = torch.full((count, beam), -torch.inf, dtype=widest_float(limits.device), device=limits.device)
    finished = FinishedBuffers(
        empty, torch.zeros_like(scores), limits.new_zeros(count, beam), tokens, token_log_probs
    )
    done = torch.zeros_like(limits, dtype=torch.bool)
    return BeamBuffers(state, limits.new_zeros(1), limits, done, tokens, token_log_probs, scores, finished)


def select_rows(rows: Tensor, x: Tensor) -> Tensor:
    """`[B, ...]` -> `[B', ...]`."""
    return x.index_select(0, rows)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _extend_token_log_probs(buffers: BeamBuffers, parents: Tensor, log_probs: Tensor) -> Tensor:
    """`token_log_probs` `[B, W, T]` of the beams `parents`, extended to the sums `log_probs` `[B, W]`."""
    last = log_probs - select_beams(buffers.scores, parents)
    return select_beams(buffers.token_log_probs, parents).index_copy(2, buffers.position, last.unsqueeze(2))
