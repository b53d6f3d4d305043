"""Forced decoding: the log-probabilities that a model assigns to given translations.

Shapes: N target tokens of a batch, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from transformer_cli.batch import collate
from transformer_cli.decoding.search.logits import log_softmax
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.token_ids import EOS, TokenIds


@dataclass(frozen=True)
class Score:
    """The score of one pair. `token_log_probs`: of each target token and of EOS, in nats."""

    token_log_probs: list[float]

    @property
    def log_prob(self) -> float:
        """Log-probability of the whole target."""
        return math.fsum(self.token_log_probs)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability per token, EOS included."""
        return perplexity([self])


def perplexity(scores: Sequence[Score]) -> float:
    """Perplexity over the tokens of all pairs."""
    tokens = sum(len(s.token_log_probs) for s in scores)
    return math.exp(min(-math.fsum(s.log_prob for s in scores) / max(tokens, 1), 700.0))


@torch.inference_mode()
def score_pairs(
    model: Seq2Seq,
    sources: Sequence[TokenIds],
    targets: Sequence[TokenIds],
    batch_tokens: int,
    progress: Callable[[int], object] = lambda done: None,
) -> list[Score]:
    """The score of each pair, in order.

    Args:
        sources, targets: ids without BOS and EOS.
        batch_tokens: maximum number of tokens of the longer side of a batch, padding included.
        progress: called with the number of pairs of each finished batch.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(sources)), key=lambda i: -_pair_length(sources[i], targets[i]))
    scores: dict[int, Score] = {}
    while order:
        size = max(1, batch_tokens // _pair_length(sources[order[0]], targets[order[0]]))
        rows, order = order[:size], order[size:]
        batch = collate([np.append(sources[i], EOS) for i in rows], [np.append(targets[i], EOS) for i in rows])
        on_device = batch.to(device)
        log_probs = log_softmax(model.logits(model(on_device)))  # [N, V]
        target_log_probs = log_probs.gather(1, on_device.tgt_out[:, None]).squeeze(1)  # [N]
        parts = torch.split(target_log_probs, batch.tgt_layout.lengths.tolist())
        scores.update((i, Score(part.tolist())) for i, part in zip(rows, parts, strict=True))
        progress(len(rows))
    return [scores[i] for i in range(len(sources))]


def _pair_length(source: TokenIds, target: TokenIds) -> int:
    return max(len(source), len(target)) + 1
