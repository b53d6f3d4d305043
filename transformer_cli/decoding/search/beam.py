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

from transformer_cli.batch import EOS
from transformer_cli.decoding.search.base import (
    BLOCK,
    CLOSED_SCORE,
    LOWEST_SCORE,
    ActiveHypotheses,
    History,
    Hypothesis,
    Rule,
    Scorer,
    Selection,
    Selector,
    StepModel,
    StepwiseSearch,
    initial_hypotheses,
    next_log_probs,
    run_to_end,
)


@dataclass(frozen=True)
class ActiveBeams(ActiveHypotheses):
    """`scores` `[B, W]`: the summed log-probability of each beam."""

    scores: Tensor


class BeamSearch(StepwiseSearch):
    """W hypotheses of each sentence that compete."""

    active: ActiveBeams
    found: list[FinishedHypotheses]

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
        """The best `beam` hypotheses found for each sentence.

        Args:
            memory: what the model's `init_state` takes, for B sentences.
            limits: `[B]` int64, most tokens of a hypothesis, EOS included; at the limit EOS is forced.
            wanted: a sentence goes on until nothing can change its best `n_best` hypotheses, or it has `beam`.
            rules: what may come next. selector: who goes on (default `TopKSelector`). scorer: who wins.
        """
        super().__init__(model, memory, limits, rules)
        self.selector, scorer = selector or TopKSelector(), scorer or Scorer()
        self.found = [FinishedHypotheses(limit, beam, n_best, scorer) for limit in limits.tolist()]
        rows, tokens = initial_hypotheses(limits, beam)
        scores = torch.tensor([self.selector.initial_scores(beam)] * len(rows), device=limits.device)
        self.active = ActiveBeams(rows, tokens, scores.new_empty(len(rows), beam, 0), scores)

    def choose(self, logits: Tensor, last: Tensor) -> Tensor:
        active, length = self.active, self.active.position + 1
        chosen = self.selector(active.scores, next_log_probs(logits, active, last, self.rules), active)

        sentences = [self.found[row] for row in active.rows.tolist()]
        _collect(sentences, active, chosen)
        self.active = active = ActiveBeams(
            active.rows,
            _extend(active.tokens, chosen.parents, chosen.choices),
            _extend(
                active.token_log_probs, chosen.parents, chosen.scores - active.scores.gather(1, chosen.parents)
            ),
            chosen.scores,
        )
        best = active.scores.amax(dim=1).tolist()
        continues = [f.should_continue(b, length) for f, b in zip(sentences, best, strict=True)]
        _add_fallbacks(sentences, continues, active, best)
        self.state = self.state.reorder(chosen.parents)
        return torch.tensor(continues, device=active.rows.device)

    def collect_finished(self, finished: Tensor) -> None:
        """Nothing: hypotheses were taken down as they ended."""

    def results(self) -> list[list[Hypothesis]]:
        """For each of the B sentences, in order, its finished hypotheses, best first; at least one."""
        return [f.ranked() for f in self.found]


beam_search = run_to_end(BeamSearch)


class FinishedHypotheses:
    """The finished hypotheses of one sentence, and the rule that says when to stop looking."""

    def __init__(self, limit: int, beam: int, n_best: int, scorer: Scorer) -> None:
        self.limit, self.beam, self.n_best, self.scorer = limit, beam, n_best, scorer
        self.hypotheses: list[Hypothesis] = []
        self.done = False

    def add(self, tokens: list[int], log_prob: float, token_log_probs: list[float]) -> None:
        if any(h.tokens == tokens for h in self.hypotheses):
            return  # groups of beams may say the same
        score = self.scorer(log_prob, len(tokens) + 1)
        self.hypotheses.append(Hypothesis(tokens, log_prob, score, token_log_probs))

    def should_continue(self, best_active: float, length: int) -> bool:
        """Until W are finished, the limit is reached, or no live one can still beat the best `n_best`."""
        possible = self.scorer(best_active, self.limit)
        settled = sum(h.score >= possible for h in self.hypotheses) >= self.n_best
        full = len(self.hypotheses) >= self.beam or best_active < CLOSED_SCORE
        self.done = self.done or settled or full or length >= self.limit
        return not self.done

    def ranked(self) -> list[Hypothesis]:
        return sorted(self.hypotheses, key=lambda h: -h.score)[: self.beam]


class TopKSelector:
    """All continuations compete: of the best 2W, those among the first W that end are finished, and the
    first W that do not end go on."""

    def initial_scores(self, width: int) -> list[float]:
        return [0.0] + [LOWEST_SCORE] * (width - 1)

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        return select_continuations(scores, log_probs)


def select_continuations(scores: Tensor, log_probs: Tensor) -> Selection:
    """See `TopKSelector`: scores `[B, W]` and log-probabilities `[B, W, V]` -> who goes on and who ends."""
    width, vocab = log_probs.shape[1:]
    top, index = top_k(scores, log_probs, 2 * width)  # [B, 2W]
    top = torch.nan_to_num(top, nan=LOWEST_SCORE, neginf=LOWEST_SCORE)
    # Where everything is impossible the best may be a special id: that ends the hypothesis.
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


def top_k(scores: Tensor, log_probs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of scores `[B, W, 1]` + log-probabilities `[B, W, V]`: (sums, indices in W · V), `[B, k]` each.

    Exact, in two stages: the k best sums lie in the k blocks with the best maxima, so only these are sorted.
    """
    sentences, width, vocab = log_probs.shape
    block = math.gcd(vocab, BLOCK)
    count = vocab // block
    if block < 8 or width * count < k:
        return (log_probs + scores.unsqueeze(-1)).flatten(1).topk(min(k, width * vocab))
    blocks = log_probs.view(sentences, width * count, block)
    maxima = blocks.amax(dim=-1).view(sentences, width, count) + scores.unsqueeze(-1)
    chosen = maxima.flatten(1).topk(k).indices  # [B, k]
    inside = blocks.gather(1, chosen.unsqueeze(-1).expand(-1, -1, block))  # [B, k, block]
    inside = inside + scores.gather(1, chosen // count).unsqueeze(-1)
    top, index = inside.flatten(1).topk(k)
    return top, chosen.gather(1, index // block) * block + index % block


def _extend(history: Tensor, parents: Tensor, values: Tensor) -> Tensor:
    """`[B, W, t]`, the beams continued `[B, W]` and what each adds `[B, W]` -> `[B, W, t + 1]`."""
    index = parents.unsqueeze(-1).expand(-1, -1, history.shape[-1])
    return torch.cat([history.gather(1, index), values.unsqueeze(-1)], dim=-1)


def _collect(sentences: Sequence[FinishedHypotheses], active: ActiveBeams, chosen: Selection) -> None:
    """Hand the hypotheses that end here to their sentences. What the model calls impossible does not count."""
    row, rank = (chosen.ended_scores > LOWEST_SCORE / 2).nonzero(as_tuple=True)
    if not len(row):
        return
    parent, log_probs = chosen.ended_parents[row, rank], chosen.ended_scores[row, rank]
    last = (log_probs - active.scores[row, parent]).unsqueeze(-1)
    generated = active.tokens[row, parent, 1:].tolist()
    trace = torch.cat([active.token_log_probs[row, parent], last], dim=-1).tolist()
    for i, *hypothesis in zip(row.tolist(), generated, log_probs.tolist(), trace, strict=True):
        if not sentences[i].done:
            sentences[i].add(*hypothesis)


def _add_fallbacks(
    sentences: Sequence[FinishedHypotheses], continues: Sequence[bool], active: ActiveBeams, best: Sequence[float]
) -> None:
    """Where everything was impossible to the end, the translation is what the best beam had said."""
    for i, sentence in enumerate(sentences):
        if not continues[i] and not sentence.hypotheses:
            generated = [t for t in active.tokens[i, 0, 1:-1].tolist() if t > EOS]
            sentence.add(generated, best[i], active.token_log_probs[i, 0].tolist())
