"""The likeliest piece without computing every logit exactly: a rough product finds the few that it may be.

Greedy search asks for the largest logit only. A product in int8 costs a third of one in fp32, and its error has a
bound: what lies further below the roughly largest than twice that bound cannot be the largest. The rest, a few
pieces, is computed exactly, and the choice is that of the exact product.

With x̂ and ŵ the rounded input and weights, |x·w - x̂·ŵ| <= ‖x - x̂‖ ‖ŵ‖ + ‖x‖ ‖w - ŵ‖ (Cauchy-Schwarz).

Shapes: B sentences, W beams, N = B · W rows, D `d_model`, V vocabulary, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import EOS
from transformer_cli.decoding.search.base import BLOCK
from transformer_cli.models.inference import DynamicInt8Linear, PackedLinear, quantize_weight, select_engine
from transformer_cli.models.seq2seq import Seq2Seq

MIN_VOCABULARY = 1024
"""Below, the exact product is as fast."""
MAX_CANDIDATES = 16
"""Candidates a row from which on the exact product of all is faster."""


class Int8Argmax:
    """The output projection `[V, D]`, exact where the largest logit may be, and roughly right below it.

    Ids before EOS count as never said, as search has it.
    """

    def __init__(self, weight: Tensor, exact: Callable[[Tensor], Tensor]) -> None:
        """`exact`: the whole product `[..., D]` -> `[..., V]`, for where there are too many candidates."""
        self.weight, self.exact = weight, exact
        self.rough = DynamicInt8Linear(weight)
        self.block = math.gcd(len(weight), BLOCK)
        rounded = quantize_weight(weight).dequantize()
        self.rounded_norm = float(rounded[EOS:].norm(dim=1).max())
        self.error_norm = float((weight - rounded)[EOS:].norm(dim=1).max())

    @staticmethod
    def supports(weight: Tensor) -> bool:
        """Whether it works for this projection, and pays."""
        pays = len(weight) >= MIN_VOCABULARY and math.gcd(len(weight), BLOCK) >= 16
        return pays and PackedLinear.supports(weight) and select_engine()

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., D]` -> `[..., V]`."""
        rows = x.reshape(-1, x.shape[-1])  # [N, D]
        logits = self.rough(rows)  # [N, V]
        logits[:, :EOS] = -torch.inf
        blocks = logits.view(len(rows), -1, self.block)
        maxima = blocks.amax(dim=-1)  # [N, V / block]
        least = maxima.amax(dim=-1) - 2.0 * self.bound(rows)  # [N]
        row, block = (maxima >= least[:, None]).nonzero(as_tuple=True)
        near = blocks.flatten(0, 1).index_select(0, row * blocks.shape[1] + block)
        hit, place = (near >= least.index_select(0, row)[:, None]).nonzero(as_tuple=True)
        if len(hit) > MAX_CANDIDATES * len(rows):
            return self.exact(x)
        row, token = row[hit], block[hit] * self.block + place  # [C]
        logits[row, token] = (rows.index_select(0, row) * self.weight.index_select(0, token)).sum(dim=-1)
        return logits.view(*x.shape[:-1], -1)

    def bound(self, rows: Tensor) -> Tensor:
        """`[N, D]` -> `[N]`: no rough logit of this row is further from the exact one."""
        low, high = rows.aminmax()
        # One scale for all; a whole step, not half of one: the range is shifted so that 0 is met exactly.
        step = (high.clamp_min(0.0) - low.clamp_max(0.0)) / self.rough.levels
        return step * rows.shape[1] ** 0.5 * self.rounded_norm + rows.norm(dim=1) * self.error_norm


class Int8ArgmaxModel:
    """A model whose logits are exact at the top: a `StepModel` for greedy search that nobody asks for scores."""

    def __init__(self, model: Seq2Seq, output: Int8Argmax) -> None:
        self.model, self.output = model, output

    def init_state(self, memory: Any) -> Any:
        return self.model.init_state(memory)

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Last tokens `[B, W]` -> (logits `[B, W, V]`, new state)."""
        y, state = self.model.step(tokens, state)
        return self.output(y), state
