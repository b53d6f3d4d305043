"""Beam search (Sutskever et al. 2014; Wu et al. 2016, section 7).

Shapes: B sentences, W beams, V vocabulary, t tokens so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import BOS, EOS
from transformer_cli.decoding.search import (
    BLOCK,
    CLOSED,
    WORST,
    History,
    Hypothesis,
    Rule,
    Scorer,
    Selection,
    Selector,
    StepModel,
    alive_rows,
    first_step,
    next_log_probs,
)


def beam_search(
    model: StepModel,
    memory: Any,
    limits: Tensor,
    *,
    beam: int,
    wanted: int = 1,
    scorer: Scorer | None = None,
    rules: Sequence[Rule] = (),
    selector: Selector | None = None,
) -> list[list[Hypothesis]]:
    """The best `beam` hypotheses found for each sentence.

    Args:
        memory: what the model's `init_state` takes, for B sentences.
        limits: `[B]` int64, most tokens of a hypothesis, EOS included; at the limit EOS is forced.
        wanted: a sentence goes on until nothing can change its best `wanted` hypotheses, or it has `beam`.
        rules: what may come next. selector: who goes on (default `TopBeams`). scorer: who wins.

    Returns:
        For each of the B sentences, in order, its finished hypotheses, best first; at least one.
    """
    selector, scorer = selector or TopBeams(), scorer or Scorer()
    found = [Finished(limit, beam, wanted, scorer) for limit in limits.tolist()]
    rows = torch.arange(len(found), device=limits.device)  # the sentence in each row of the state
    tokens = torch.full((len(found), beam, 1), BOS, device=limits.device)  # [B, W, t]
    scores = torch.tensor([selector.start(beam)] * len(found), device=limits.device)  # [B, W]
    gains = scores.new_empty(len(found), beam, 0)  # [B, W, t - 1], log-probability of each token

    logits, state = first_step(model, memory, tokens)
    for length in range(1, max(f.limit for f in found) + 1):
        history = History(rows, tokens)
        chosen = selector(scores, next_log_probs(logits, history, limits, rules), history)

        sentences = [found[i] for i in rows.tolist()]
        _collect(sentences, tokens, gains, scores, chosen)
        tokens = _continue(tokens, chosen.parents, chosen.choices)
        gains = _continue(gains, chosen.parents, chosen.scores - scores.gather(1, chosen.parents))
        scores = chosen.scores
        best = scores.amax(dim=1).tolist()
        goes_on = [f.goes_on(b, length) for f, b in zip(sentences, best, strict=True)]
        _give_up(sentences, goes_on, tokens, gains, best)
        if not any(goes_on):
            break
        state = state.reorder(chosen.parents)
        keep = alive_rows(torch.tensor(goes_on, device=rows.device))
        if keep is not None:
            rows, tokens, gains, scores, state = (
                rows[keep],
                tokens[keep],
                gains[keep],
                scores[keep],
                state.keep(keep),
            )
        logits, state = model.decode_step(tokens[:, :, -1], state)

    return [f.ranked() for f in found]


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


def _collect(
    sentences: Sequence[Finished], tokens: Tensor, gains: Tensor, scores: Tensor, chosen: Selection
) -> None:
    """Hand the hypotheses that end here to their sentences. What the model calls impossible does not count."""
    row, rank = (chosen.ended_scores > WORST / 2).nonzero(as_tuple=True)
    if not len(row):
        return
    parent, log_probs = chosen.ended_parents[row, rank], chosen.ended_scores[row, rank]
    last = (log_probs - scores[row, parent]).unsqueeze(-1)
    said = tokens[row, parent, 1:].tolist()
    trace = torch.cat([gains[row, parent], last], dim=-1).tolist()
    for i, *hypothesis in zip(row.tolist(), said, log_probs.tolist(), trace, strict=True):
        if not sentences[i].done:
            sentences[i].add(*hypothesis)


def _give_up(
    sentences: Sequence[Finished], goes_on: Sequence[bool], tokens: Tensor, gains: Tensor, best: Sequence[float]
) -> None:
    """Where everything was impossible to the end, the translation is what the best beam had said."""
    for i, sentence in enumerate(sentences):
        if not goes_on[i] and not sentence.hypotheses:
            said = [t for t in tokens[i, 0, 1:-1].tolist() if t > EOS]
            sentence.add(said, best[i], gains[i, 0].tolist())
