"""Forced decoding: how likely a model finds given translations.

Shapes: N target tokens of a batch, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from transformer_cli.batch import EOS, TokenIds, collate
from transformer_cli.models.seq2seq import Seq2Seq


@dataclass(frozen=True)
class Score:
    """Of one pair: log-probability of each target piece and of EOS, in nats."""

    token_log_probs: list[float]

    @property
    def log_prob(self) -> float:
        return math.fsum(self.token_log_probs)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability of a piece, EOS included."""
        return perplexity([self])


def perplexity(scores: Sequence[Score]) -> float:
    """Of all pieces together."""
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
        sources, targets: ids without BOS and EOS. batch_tokens: of the longer side of a batch, padding included.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(sources)), key=lambda i: -_width(sources[i], targets[i]))
    found: dict[int, Score] = {}
    while order:
        size = max(1, batch_tokens // _width(sources[order[0]], targets[order[0]]))
        rows, order = order[:size], order[size:]
        batch = collate([np.append(sources[i], EOS) for i in rows], [np.append(targets[i], EOS) for i in rows])
        on_device = batch.to(device)
        states = model(on_device)  # [N, D]
        log_probs = model.logits(states).log_softmax(
            dim=-1, dtype=torch.promote_types(states.dtype, torch.float32)
        )
        generated = log_probs.gather(1, on_device.tgt_out[:, None]).squeeze(1)  # [N]
        parts = torch.split(generated, batch.tgt_layout.lengths.tolist())
        found.update((i, Score(part.tolist())) for i, part in zip(rows, parts, strict=True))
        progress(len(rows))
    return [found[i] for i in range(len(sources))]


def _width(source: TokenIds, target: TokenIds) -> int:
    return max(len(source), len(target)) + 1
