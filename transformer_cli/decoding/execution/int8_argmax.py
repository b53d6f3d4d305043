"""The most likely token without computing every logit exactly: an int8 product narrows down the candidates.

Greedy search uses only the largest logit. An int8 product takes a third of the time of one in fp32,
and its error has a bound: a logit that is more than twice this bound below the largest approximate
logit cannot be the largest. The remaining candidates, a few tokens, are computed exactly, so the
choice is that of the exact product.

With x̂ and ŵ the quantized input and weights, |x·w - x̂·ŵ| <= ‖x - x̂‖ ‖ŵ‖ + ‖x‖ ‖w - ŵ‖
(Cauchy-Schwarz).

Shapes: B sentences, W beams, N = B · W rows, D `d_model`, V vocabulary, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_cli.decoding.search.logits import BLOCK
from transformer_cli.models.inference import DynamicInt8Linear, PackedLinear, quantize_weight, select_engine
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.token_ids import EOS

MIN_VOCABULARY = 1024
"""With a smaller vocabulary the exact product is as fast."""
MAX_CANDIDATES = 16
"""With more candidates per row the exact product of all logits is faster."""


class Int8Argmax:
    """Output projection `[V, D]`: exact logits of all tokens that can have the largest, approximate for others.

    Ids before EOS, and those of tags, are never candidates, because search never generates them.
    """

    def __init__(self, weight: Tensor, exact: Callable[[Tensor], Tensor], tags: slice = slice(0)) -> None:
        """
        Args:
            exact: the complete product `[..., D]` -> `[..., V]`, used if there are too many candidates.
            tags: see `Seq2Seq.tags`.
        """
        self.weight, self.exact, self.tags = weight, exact, tags
        self.approximate = DynamicInt8Linear(weight)
        self.block = math.gcd(len(weight), BLOCK)
        quantized = quantize_weight(weight).dequantize()
        self.quantized_norm = float(quantized[EOS:].norm(dim=1).max())
        self.error_norm = float((weight - quantized)[EOS:].norm(dim=1).max())

    @staticmethod
    def supports(weight: Tensor) -> bool:
        """Whether it works and saves time for this projection on this machine."""
        pays = len(weight) >= MIN_VOCABULARY and math.gcd(len(weight), BLOCK) >= 16
        return pays and PackedLinear.supports(weight) and select_engine()

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., D]` -> `[..., V]`."""
        rows = x.reshape(-1, x.shape[-1])  # [N, D]
        logits = self.approximate(rows)  # [N, V]
        logits[:, :EOS] = -torch.inf
        logits[:, self.tags] = -torch.inf
        blocks = logits.view(len(rows), -1, self.block)
        maxima = blocks.amax(dim=-1)  # [N, V / block]
        threshold = maxima.amax(dim=-1) - 2.0 * self.bound(rows)  # [N]
        row, block = (maxima >= threshold[:, None]).nonzero(as_tuple=True)
        candidate_blocks = blocks.flatten(0, 1).index_select(0, row * blocks.shape[1] + block)
        hit, index = (candidate_blocks >= threshold.index_select(0, row)[:, None]).nonzero(as_tuple=True)
        if len(hit) > MAX_CANDIDATES * len(rows):
            return self.exact(x)
        row, token = row[hit], block[hit] * self.block + index  # [C]
        logits[row, token] = (rows.index_select(0, row) * self.weight.index_select(0, token)).sum(dim=-1)
        return logits.view(*x.shape[:-1], -1)

    def bound(self, rows: Tensor) -> Tensor:
        """`[N, D]` -> `[N]`: the largest possible error of an approximate logit of each row."""
        low, high = rows.aminmax()
        # One scale for all rows. The rounding error is a whole step, not half of one, because the range is shifted
        # so that 0 is represented exactly.
        step = (high.clamp_min(0.0) - low.clamp_max(0.0)) / self.approximate.levels
        return step * rows.shape[1] ** 0.5 * self.quantized_norm + rows.norm(dim=1) * self.error_norm


class Int8ArgmaxModel:
    """A `StepModel` for greedy search without scores: only the largest logits are exact."""

    def __init__(self, model: Seq2Seq, output: Int8Argmax) -> None:
        self.model, self.output = model, output

    def init_state(self, memory: Any) -> Any:
        return self.model.init_state(memory)

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Last tokens `[B, W]` -> (logits `[B, W, V]`, new state)."""
        y, state = self.model.step(tokens, state)
        return self.output(y), state
