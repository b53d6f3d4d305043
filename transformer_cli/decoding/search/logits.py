"""From logits to candidates: normalization, masks of impossible tokens, exact two-stage argmax and top-k.

Shapes: B sentences, W beams, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from transformer_cli.decoding.search.hypothesis import LOWEST_SCORE
from transformer_cli.token_ids import EOS

BLOCK = 128
"""Block size of the two-stage argmax and top-k: blocks of the vocabulary are first compared by their maxima."""
IMPOSSIBLE_SCORE = LOWEST_SCORE / 2
"""A summed log-probability at or below this value contains an impossible token."""
CLOSED_SCORE = 1.5 * LOWEST_SCORE
"""A beam whose score is below this value is closed: it is not extended."""


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities over the last dimension, in float32 at least; float64 stays float64."""
    return logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def mask_impossible_tokens(logits: Tensor, must_end: Tensor) -> Tensor:
    """Set PAD, UNK and BOS to -inf, and, in the rows `must_end` `[B]` (bool), everything but EOS. In place."""
    if must_end.any():
        eos = logits[must_end, ..., EOS]
        logits[must_end] = -torch.inf
        logits[must_end, ..., EOS] = eos
    return mask_special_tokens(logits)


def mask_special_tokens(logits: Tensor) -> Tensor:
    """Set PAD, UNK and BOS to -inf. In place."""
    logits[..., :EOS] = -torch.inf  # PAD, UNK, BOS
    return logits


def to_finite(log_probs: Tensor) -> Tensor:
    """Replace -inf and NaN by `LOWEST_SCORE`."""
    return torch.nan_to_num(log_probs, nan=LOWEST_SCORE, neginf=LOWEST_SCORE)


def argmax_token(values: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of `[B, V]` and the first index at which it occurs, `[B]` each.

    Two stages, because torch computes a maximum ten times faster than its index: the first block
    that contains the maximum, then the first index in this block. NaN counts as the largest value,
    as in torch.
    """
    vocab = values.shape[-1]
    block = math.gcd(vocab, BLOCK)
    if block < 8:
        best, index = values.max(dim=-1)
        return best, index
    blocks = values.view(-1, vocab // block, block)
    chosen = blocks.amax(dim=-1).argmax(dim=-1)  # [B]
    first = torch.arange(0, len(chosen) * blocks.shape[1], blocks.shape[1], device=values.device)
    best, index = blocks.flatten(0, 1).index_select(0, first + chosen).max(dim=-1)
    return best, chosen * block + index


def argmax_single_beam(values: Tensor) -> Tensor:
    """`[B, 1, V]` -> token ids `[B, 1]`: the most likely token, the first of equal ones."""
    return argmax_token(values[:, 0])[1].unsqueeze(1)


def top_k(scores: Tensor, log_probs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest sums of scores `[B, W]` and log-probabilities `[B, W, V]`.

    Returns (sums, indices in W · V), `[B, k]` each. Exact, in two stages: the k largest sums are in
    the k blocks with the largest maxima, so only these are sorted.
    """
    sentences, width, vocab = log_probs.shape
    block = math.gcd(vocab, BLOCK)
    count = vocab // block
    if block < 8 or width * count < k:
        return (log_probs + scores.unsqueeze(-1)).flatten(1).topk(min(k, width * vocab))
    blocks = log_probs.view(sentences, width * count, block)
    maxima = blocks.amax(dim=-1).view(sentences, width, count) + scores.unsqueeze(-1)
    chosen = maxima.flatten(1).topk(k).indices  # [B, k]
    candidates = blocks.gather(1, chosen.unsqueeze(-1).expand(-1, -1, block))  # [B, k, block]
    candidates = candidates + scores.gather(1, chosen // count).unsqueeze(-1)
    top, index = candidates.flatten(1).topk(k)
    return top, chosen.gather(1, index // block) * block + index % block


def select_beams(x: Tensor, beams: Tensor) -> Tensor:
    """`[B, W]` or `[B, W, t]`, and beam indices `[B, W']` -> `[B, W']` or `[B, W', t]`."""
    return x.gather(1, beams if x.ndim == 2 else beams.unsqueeze(2).expand(-1, -1, x.shape[2]))


def widest_float(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: float64, except float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64
