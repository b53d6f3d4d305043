"""Beam search (Sutskever et al. 2014; Wu et al. 2016, section 7).

Shapes: B sentences, W beams, V vocabulary, t tokens so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer_cli.decoding.search.base import (
    ActiveHypotheses,
    History,
    Rule,
    Selection,
    Selector,
    StepModel,
    StepwiseSearch,
    initial_rows,
    initial_tokens,
    next_log_probs,
    run_to_end,
)
from transformer_cli.decoding.search.hypothesis import (
    LOWEST_SCORE,
    Hypothesis,
    Scorer,
    build_hypothesis,
    is_search_complete,
    remove_special_tokens,
)
from transformer_cli.decoding.search.logits import CLOSED_SCORE, IMPOSSIBLE_SCORE, select_beams, to_finite, top_k
from transformer_cli.token_ids import EOS


@dataclass(frozen=True)
class ActiveBeams(ActiveHypotheses):
    """`scores` `[B, W]`: the summed log-probability of each beam."""

    scores: Tensor


class BeamSearch(StepwiseSearch):
    """Keeps W competing hypotheses of each sentence."""

    active: ActiveBeams
    finished: list[FinishedHypotheses]

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        *,
        beam: int,
        n_best: int = 1,
        scorer: Scorer | None = None,
        rules: Sequence[Rule] = (),
        selector: Selector | None = None,
    ) -> None:
        """
        Args:
            memory: argument of the model's `init_state`, for B sentences.
            limits: `[B]` int64, maximum number of tokens of a hypothesis, EOS included; EOS is
                forced at the limit.
            beam: W. n_best: the search of a sentence stops when its best `n_best` hypotheses cannot
                change any more, or when `beam` hypotheses are finished.
            scorer: ranks finished hypotheses.
            rules: restrict the next token.
            selector: chooses the hypotheses that continue (default `TopKSelector`).
        """
        super().__init__(model, memory, limits, rules)
        self.selector, scorer = selector or TopKSelector(), scorer or Scorer()
        self.finished = [FinishedHypotheses(limit, beam, n_best, scorer) for limit in limits.tolist()]
        rows, tokens = initial_rows(limits), initial_tokens(limits, beam)
        scores = torch.tensor([self.selector.initial_scores(beam)] * len(rows), device=limits.device)
        self.active = ActiveBeams(rows, tokens, scores.new_empty(len(rows), beam, 0), scores)

    def extend(self, logits: Tensor, must_end: Tensor) -> Tensor:
        active, length = self.active, self.active.position + 1
        selection = self.selector(active.scores, next_log_probs(logits, active, must_end, self.rules), active)
        parents, scores = selection.parents, selection.scores

        sentences = [self.finished[row] for row in active.rows.tolist()]
        _add_finished(sentences, active, selection)
        gains = scores - select_beams(active.scores, parents)
        self.active = active = ActiveBeams(
            active.rows,
            _extend_beams(active.tokens, parents, selection.choices),
            _extend_beams(active.token_log_probs, parents, gains),
            scores,
        )
        best = active.scores.amax(dim=1).tolist()
        continues = [f.should_continue(b, length) for f, b in zip(sentences, best, strict=True)]
        _add_fallbacks(sentences, continues, active, best)
        self.state = self.state.reorder(parents)
        return torch.tensor(continues, device=active.rows.device)

    def collect_finished(self, is_finished: Tensor) -> None:
        """Do nothing: `extend` stores hypotheses when they finish."""

    def results(self) -> list[list[Hypothesis]]:
        """For each of the B sentences, in order, its finished hypotheses, best first; at least one."""
        return [f.ranked() for f in self.finished]


beam_search = run_to_end(BeamSearch)


class FinishedHypotheses:
    """The finished hypotheses of one sentence, and the rule that decides when its search stops."""

    def __init__(self, limit: int, beam: int, n_best: int, scorer: Scorer) -> None:
        self.limit, self.beam, self.n_best, self.scorer = limit, beam, n_best, scorer
        self.hypotheses: list[Hypothesis] = []
        self.is_complete = False

    def add(self, tokens: list[int], log_prob: float, token_log_probs: list[float]) -> None:
        if any(h.tokens == tokens for h in self.hypotheses):
            return  # groups of beams may generate the same hypothesis
        self.hypotheses.append(build_hypothesis(tokens, token_log_probs, self.scorer, log_prob))

    def should_continue(self, best_active: float, length: int) -> bool:
        """Update `is_complete` after `length` tokens. `best_active`: the largest score of an active beam."""
        bound = self.scorer.upper_bound(best_active, self.limit)
        unbeatable = sum(h.score >= bound for h in self.hypotheses)
        stops = is_search_complete(
            unbeatable, len(self.hypotheses), length, self.limit, n_best=self.n_best, beam=self.beam
        )
        self.is_complete = self.is_complete or stops or best_active < CLOSED_SCORE
        return not self.is_complete

    def ranked(self) -> list[Hypothesis]:
        """The best `beam` hypotheses, best first."""
        return sorted(self.hypotheses, key=lambda h: -h.score)[: self.beam]


class TopKSelector:
    """All continuations compete. Of the best 2W, those among the first W that end are finished, and
    the first W that do not end continue."""

    def initial_scores(self, width: int) -> list[float]:
        return [0.0] + [LOWEST_SCORE] * (width - 1)

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        return select_continuations(scores, log_probs)


def select_continuations(scores: Tensor, log_probs: Tensor) -> Selection:
    """`TopKSelector` as a function of scores `[B, W]` and log-probabilities `[B, W, V]`."""
    width, vocab = log_probs.shape[1:]
    top, index = top_k(scores, log_probs, 2 * width)  # [B, 2W]
    top = to_finite(top)
    # If everything is impossible, the best token may be a special one. It ends the hypothesis.
    parents, choices = index // vocab, (index % vocab).clamp_min(EOS)
    ends = choices == EOS
    active, rank = top.masked_fill(ends, -math.inf).topk(width)  # [B, W]
    return Selection(
        active.clamp_min(LOWEST_SCORE),
        parents.gather(1, rank),
        choices.gather(1, rank),
        top.masked_fill(~ends, -math.inf)[:, :width],
        parents[:, :width],
    )


def _extend_beams(history: Tensor, parents: Tensor, values: Tensor) -> Tensor:
    """History `[B, W, t]`, the beams to extend `[B, W]` and the values to append `[B, W]` -> `[B, W, t + 1]`."""
    return torch.cat([select_beams(history, parents), values.unsqueeze(-1)], dim=-1)


def _add_finished(sentences: Sequence[FinishedHypotheses], active: ActiveBeams, selection: Selection) -> None:
    """Store the hypotheses that end at this position. Impossible ones are dropped."""
    row, rank = (selection.finished_scores > IMPOSSIBLE_SCORE).nonzero(as_tuple=True)
    if not len(row):
        return
    parent, log_probs = selection.finished_parents[row, rank], selection.finished_scores[row, rank]
    last = (log_probs - active.scores[row, parent]).unsqueeze(-1)
    generated = active.tokens[row, parent, 1:].tolist()
    token_log_probs = torch.cat([active.token_log_probs[row, parent], last], dim=-1).tolist()
    for i, *hypothesis in zip(row.tolist(), generated, log_probs.tolist(), token_log_probs, strict=True):
        if not sentences[i].is_complete:
            sentences[i].add(*hypothesis)


def _add_fallbacks(
    sentences: Sequence[FinishedHypotheses], continues: Sequence[bool], active: ActiveBeams, best: Sequence[float]
) -> None:
    """Use the best beam as the translation of sentences that stop without a finished hypothesis.

    This happens if the model assigns zero probability to everything up to the limit.
    """
    for i, sentence in enumerate(sentences):
        if not continues[i] and not sentence.hypotheses:
            generated = remove_special_tokens(active.tokens[i, 0, 1:-1].tolist())
            sentence.add(generated, best[i], active.token_log_probs[i, 0].tolist())
