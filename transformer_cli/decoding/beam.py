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
from transformer_cli.decoding.search import (
    BLOCK,
    CLOSED,
    WORST,
    History,
    Hypothesis,
    Live,
    Rule,
    Scorer,
    Selection,
    Selector,
    StepModel,
    StepwiseSearch,
    begin,
    completed,
    next_log_probs,
)


@dataclass(frozen=True)
class LiveBeams(Live):
    """`scores` `[B, W]`: the summed log-probability of each beam."""

    scores: Tensor


class BeamSearch(StepwiseSearch):
    """W hypotheses of each sentence that compete."""

    live: LiveBeams
    found: list[Finished]

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        *,
        beam: int,
        wanted: int = 1,
        scorer: Scorer | None = None,
        rules: Sequence[Rule] = (),
        selector: Selector | None = None,
    ) -> None:
        """The best `beam` hypotheses found for each sentence.

        Args:
            memory: what the model's `init_state` takes, for B sentences.
            limits: `[B]` int64, most tokens of a hypothesis, EOS included; at the limit EOS is forced.
            wanted: a sentence goes on until nothing can change its best `wanted` hypotheses, or it has `beam`.
            rules: what may come next. selector: who goes on (default `TopBeams`). scorer: who wins.
        """
        super().__init__(model, memory, limits, rules)
        self.selector, scorer = selector or TopBeams(), scorer or Scorer()
        self.found = [Finished(limit, beam, wanted, scorer) for limit in limits.tolist()]
        rows, tokens = begin(limits, beam)
        scores = torch.tensor([self.selector.start(beam)] * len(rows), device=limits.device)
        self.live = LiveBeams(rows, tokens, scores.new_empty(len(rows), beam, 0), scores)

    def choose(self, logits: Tensor, last: Tensor) -> Tensor:
        live, length = self.live, self.live.position + 1
        chosen = self.selector(live.scores, next_log_probs(logits, live, last, self.rules), live)

        sentences = [self.found[row] for row in live.rows.tolist()]
        _collect(sentences, live, chosen)
        self.live = live = LiveBeams(
            live.rows,
            _continue(live.tokens, chosen.parents, chosen.choices),
            _continue(live.gains, chosen.parents, chosen.scores - live.scores.gather(1, chosen.parents)),
            chosen.scores,
        )
        best = live.scores.amax(dim=1).tolist()
        goes_on = [f.goes_on(b, length) for f, b in zip(sentences, best, strict=True)]
        _give_up(sentences, goes_on, live, best)
        self.state = self.state.reorder(chosen.parents)
        return torch.tensor(goes_on, device=live.rows.device)

    def leave(self, finished: Tensor) -> None:
        """Nothing: hypotheses were taken down as they ended."""

    def results(self) -> list[list[Hypothesis]]:
        """For each of the B sentences, in order, its finished hypotheses, best first; at least one."""
        return [f.ranked() for f in self.found]


beam_search = completed(BeamSearch)


class Finished:
    """The finished hypotheses of one sentence, and the rule that says when to stop looking."""

    def __init__(self, limit: int, beam: int, wanted: int, scorer: Scorer) -> None:
        self.limit, self.beam, self.wanted, self.scorer = limit, beam, wanted, scorer
        self.hypotheses: list[Hypothesis] = []
        self.done = False

    def add(self, tokens: list[int], log_prob: float, gains: list[float]) -> None:
        if any(h.tokens == tokens for h in self.hypotheses):
            return  # groups of beams may say the same
        score = self.scorer(log_prob, len(tokens) + 1)
        self.hypotheses.append(Hypothesis(tokens, log_prob, score, gains))

    def goes_on(self, best_live: float, length: int) -> bool:
        """Until W are finished, the limit is reached, or no live one can still beat the best `wanted`."""
        possible = self.scorer(best_live, self.limit)
        settled = sum(h.score >= possible for h in self.hypotheses) >= self.wanted
        full = len(self.hypotheses) >= self.beam or best_live < CLOSED
        self.done = self.done or settled or full or length >= self.limit
        return not self.done

    def ranked(self) -> list[Hypothesis]:
        return sorted(self.hypotheses, key=lambda h: -h.score)[: self.beam]


class TopBeams:
    """All continuations compete: of the best 2W, those among the first W that end are finished, and the
    first W that do not end go on."""

    def start(self, width: int) -> list[float]:
        return [0.0] + [WORST] * (width - 1)

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        return best_continuations(scores, log_probs)


def best_continuations(scores: Tensor, log_probs: Tensor) -> Selection:
    """See `TopBeams`: scores `[B, W]` and log-probabilities `[B, W, V]` -> who goes on and who ends."""
    width, vocab = log_probs.shape[1:]
    top, index = top_k(scores, log_probs, 2 * width)  # [B, 2W]
    top = torch.nan_to_num(top, nan=WORST, neginf=WORST)
    # Where everything is impossible the best may be a special id: that ends the hypothesis.
    parents, choices = index // vocab, (index % vocab).clamp_min(EOS)
    ends = choices == EOS
    live, rank = top.masked_fill(ends, -math.inf).topk(width)  # [B, W]
    return Selection(
        live.clamp_min(WORST),
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


def _continue(history: Tensor, parents: Tensor, values: Tensor) -> Tensor:
    """`[B, W, t]`, the beams continued `[B, W]` and what each adds `[B, W]` -> `[B, W, t + 1]`."""
    index = parents.unsqueeze(-1).expand(-1, -1, history.shape[-1])
    return torch.cat([history.gather(1, index), values.unsqueeze(-1)], dim=-1)


def _collect(sentences: Sequence[Finished], live: LiveBeams, chosen: Selection) -> None:
    """Hand the hypotheses that end here to their sentences. What the model calls impossible does not count."""
    row, rank = (chosen.ended_scores > WORST / 2).nonzero(as_tuple=True)
    if not len(row):
        return
    parent, log_probs = chosen.ended_parents[row, rank], chosen.ended_scores[row, rank]
    last = (log_probs - live.scores[row, parent]).unsqueeze(-1)
    said = live.tokens[row, parent, 1:].tolist()
    trace = torch.cat([live.gains[row, parent], last], dim=-1).tolist()
    for i, *hypothesis in zip(row.tolist(), said, log_probs.tolist(), trace, strict=True):
        if not sentences[i].done:
            sentences[i].add(*hypothesis)


def _give_up(
    sentences: Sequence[Finished], goes_on: Sequence[bool], live: LiveBeams, best: Sequence[float]
) -> None:
    """Where everything was impossible to the end, the translation is what the best beam had said."""
    for i, sentence in enumerate(sentences):
        if not goes_on[i] and not sentence.hypotheses:
            said = [t for t in live.tokens[i, 0, 1:-1].tolist() if t > EOS]
            sentence.add(said, best[i], live.gains[i, 0].tolist())
