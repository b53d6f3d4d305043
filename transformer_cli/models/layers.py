"""The parts that layers are made of: norm, residual branch, feed-forward, attention.

Shapes: B sentences, L positions, N tokens, D `d_model`, H heads, K head size, F `d_ff`, W beams;
`[..., D]` is `[B, L, D]` or `[N, D]`. Linear maps carry no bias: with a norm before each they earn nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transformer_cli.layout import Layout, pad_to
from transformer_cli.models.positions import Positions
from transformer_cli.models.protocol import Memory
from transformer_cli.ops.attention import Kernel, attend, key_mask, min_keys, step_kernel
from transformer_cli.ops.dropout import Dropout
from transformer_cli.ops.kv_cache import KeyValueCache
from transformer_cli.ops.matmul import linear
from transformer_cli.schema import ModelConfig

Branch = Callable[[Tensor], Tensor]


class Linear(nn.Linear):
    """Linear maps that read the same input, fused into one; each is initialised by itself (Xavier)."""

    def __init__(self, inputs: int, *outputs: int, gain: float = 1.0) -> None:
        """`outputs`: the size of each map, all alike. `gain`: scale of the initial weights."""
        assert len(set(outputs)) == 1
        self.blocks = len(outputs)
        self.gain = gain
        super().__init__(inputs, sum(outputs), bias=False)

    def reset_parameters(self) -> None:
        for part in self.weight.chunk(self.blocks):
            nn.init.xavier_uniform_(part, self.gain)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        return linear(x, self.weight)


class LayerNorm(nn.LayerNorm):
    """Ba et al. 2016, with a scale and no shift."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, bias=False)


class RMSNorm(nn.RMSNorm):
    """Zhang and Sennrich 2019: the scale of LayerNorm without its centring."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, eps=1e-6)


class PreNormResidual(nn.Module):
    """x + Dropout(Branch(Norm(x))): the residual path stays free (Xiong et al. 2020)."""

    def __init__(self, norm: nn.Module, dropout: float) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        return x + self.dropout(branch(self.norm(x)))


class PostNormResidual(nn.Module):
    """Norm(x + Dropout(Branch(x))): Vaswani et al. 2017, section 3.1."""

    def __init__(self, norm: nn.Module, dropout: float) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        out: Tensor = self.norm(x + self.dropout(branch(x)))
        return out


class FeedForward(nn.Module):
    """act(x W1) W2 (section 3.3, equation 2)."""

    def __init__(self, d_model: int, d_ff: int, activation: Branch, gain: float) -> None:
        super().__init__()
        self.up = Linear(d_model, d_ff)
        self.down = Linear(d_ff, d_model, gain=gain)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down(self.activation(self.up(x)))
        return down


class GatedFeedForward(nn.Module):
    """(SiLU(x W1) * x W3) W2 (Shazeer 2020, equation 6: SwiGLU)."""

    def __init__(self, d_model: int, d_ff: int, gain: float) -> None:
        super().__init__()
        self.up = Linear(d_model, d_ff, d_ff)
        self.down = Linear(d_ff, d_model, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)  # [..., F] each
        down: Tensor = self.down(F.silu(gate) * value)
        return down


ACTIVATIONS: dict[str, Branch] = {"relu": F.relu, "gelu": F.gelu}


def build_feed_forward(activation: str, d_model: int, d_ff: int, gain: float) -> nn.Module:
    """The feed-forward network of that name."""
    if activation == "swiglu":
        return GatedFeedForward(d_model, d_ff, gain)
    return FeedForward(d_model, d_ff, ACTIVATIONS[activation], gain)


class SelfAttention(nn.Module):
    """Multi-head attention of a sentence to itself (section 3.2.2)."""

    def __init__(self, d_model: int, num_heads: int, positions: Positions, kernel: Kernel, gain: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = Linear(d_model, d_model, d_model, d_model)
        self.out = Linear(d_model, d_model, gain=gain)
        self.positions = positions
        self.kernel = kernel

    def forward(self, x: Tensor, layout: Layout, causal: bool) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        qk, v = self._project(x)
        q, k = self._rotate(qk, self.positions.rotation(layout.positions, qk.dtype))
        heads = attend(q, k, v, layout, layout, causal=causal, kernel=self.kernel)  # [..., H, K]
        out: Tensor = self.out(heads.flatten(-2))
        return out

    def step(
        self, x: Tensor, rotation: Tensor | None, mask: Tensor | None, cache: KeyValueCache, written: int | Tensor
    ) -> Tensor:
        """One position of W beams, `[B, W, D]` -> `[B, W, D]`; writes its key and value to `cache`.

        `rotation`: of this position; `mask` is `[B, 1, W, N]`: which of the N keys are the history of each beam;
        `written` says where the new ones go, as in `KeyValueCache.append`.
        """
        qk, v = self._project(x)
        q, k = self._rotate(qk, rotation)  # [B, W, H, K]
        keys, values = cache.append(k, v, written)
        heads = step_kernel(self.kernel)(q.transpose(1, 2), keys, values, mask, False)  # [B, H, W, K]
        out: Tensor = self.out(heads.transpose(1, 2).flatten(-2))
        return out

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys `[..., 2H, K]`, and values `[..., H, K]`."""
        qkv = self.query_key_value(x).unflatten(-1, (3 * self.num_heads, -1))  # [..., 3H, K]
        qk, v = qkv.split([2 * self.num_heads, self.num_heads], dim=-2)
        return qk, v

    def _rotate(self, qk: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor]:
        q, k = self.positions.rotate(qk, rotation).chunk(2, dim=-2)
        return q, k


class CrossAttention(nn.Module):
    """Multi-head attention of target positions to the source (section 3.2.3)."""

    def __init__(self, d_model: int, num_heads: int, kernel: Kernel, gain: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(d_model, d_model)
        self.key_value = Linear(d_model, d_model, d_model)
        self.out = Linear(d_model, d_model, gain=gain)
        self.kernel = kernel

    def forward(self, x: Tensor, layout: Layout, memory: Memory) -> Tensor:
        """`[..., D]` and the memory -> `[..., D]`."""
        q = self.query(x).unflatten(-1, (self.num_heads, -1))  # [..., H, K]
        k, v = self._key_value(memory)
        heads = attend(q, k, v, layout, memory.layout, causal=False, kernel=self.kernel)
        out: Tensor = self.out(heads.flatten(-2))
        return out

    def project_memory(self, memory: Memory) -> KeyValueCache:
        """Keys and values of the source, once a sentence: `[B, H, S, K]` each."""
        shown = min_keys(memory.layout.max_seqlen, memory.states.device)
        k, v = (
            pad_to(memory.layout.pad(x), 1, shown).transpose(1, 2).contiguous() for x in self._key_value(memory)
        )
        return KeyValueCache(k, v)

    def step(self, x: Tensor, mask: Tensor | None, source: KeyValueCache) -> Tensor:
        """One position of W beams, `[B, W, D]`: beams are query positions, so nothing is repeated."""
        q = self.query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, W, K]
        heads = step_kernel(self.kernel)(q, source.keys, source.values, mask, False)  # [B, H, W, K]
        out: Tensor = self.out(heads.transpose(1, 2).flatten(-2))
        return out

    def _key_value(self, memory: Memory) -> tuple[Tensor, Tensor]:
        kv = self.key_value(memory.states).unflatten(-1, (2 * self.num_heads, -1))  # [..., 2H, K]
        k, v = kv.chunk(2, dim=-2)
        return k, v


def source_mask(memory: Memory) -> Tensor | None:
    """`[B, 1, 1, S]` bool, True = a token: of the keys that `CrossAttention.project_memory` holds; None if all are."""
    return key_mask(memory.layout, min_keys(memory.layout.max_seqlen, memory.states.device))


class Embedding(nn.Embedding):
    """Token embeddings, scaled by √D (section 3.4)."""

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__(vocab_size, d_model)
        self.scale = d_model**0.5

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[...]` int64 -> `[..., D]`."""
        return F.embedding(tokens, self.weight) * self.scale


class LayerStack(nn.Module):
    """Layers one after the other, between positions and a last norm: what encoders and decoders have in common."""

    supports_packed = False

    def __init__(self, config: ModelConfig, positions: Positions, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.positions = positions
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(layers)
        self.norm = build_final_norm(config.norm, config.norm_type, config.d_model)

    def forward(self, x: Tensor, layout: Layout, *memory: Memory) -> Tensor:
        """`[..., D]`, and for a decoder what the encoder made -> `[..., D]`."""
        x = self.dropout(self.positions.add(x, layout.positions))
        for layer in self.layers:
            x = layer(x, layout, *memory)
        out: Tensor = self.norm(x)
        return out


def build_norm(kind: str, d_model: int) -> nn.Module:
    """The norm of that name."""
    return {"layer": LayerNorm, "rms": RMSNorm}[kind](d_model)


def build_residual(kind: str, norm_type: str, d_model: int, dropout: float) -> nn.Module:
    """The residual branch of that name."""
    residual = {"pre": PreNormResidual, "post": PostNormResidual}[kind]
    return residual(build_norm(norm_type, d_model), dropout)


def build_final_norm(kind: str, norm_type: str, d_model: int) -> nn.Module:
    """Pre-norm leaves its sum unnormalised, so the stack ends with a norm; post-norm has it already."""
    return build_norm(norm_type, d_model) if kind == "pre" else nn.Identity()


def residual_gain(kind: str, layers: int) -> float:
    """Pre-norm sums 2 · layers branches: each starts smaller so that the sum keeps its size."""
    return (2 * layers) ** -0.5 if kind == "pre" else 1.0


def step_position(position: int | Tensor, device: torch.device) -> Tensor:
    """`[1]` int64: the position that one decoding step computes."""
    return position if isinstance(position, Tensor) else torch.tensor([position], device=device)
