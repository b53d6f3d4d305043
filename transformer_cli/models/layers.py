"""Building blocks of encoder and decoder layers: norms, residual branches, feed-forward networks, attention.

Shapes: B sentences, L positions, N tokens, D `d_model`, H heads, K head size, F `d_ff`, W beams;
`[..., D]` is `[B, L, D]` or `[N, D]`. Linear maps have no bias: each follows a norm, where a bias
does not help.

Section and equation numbers without a source refer to Vaswani et al. 2017.
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
    """One or more linear maps of one input in a single product; each is initialised separately (Xavier)."""

    def __init__(self, inputs: int, *outputs: int, gain: float = 1.0) -> None:
        """`outputs`: size of each map, all equal. `gain`: scale of the initial weights."""
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
    """Layer normalization (Ba et al. 2016) with a scale and without a bias."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, bias=False)


class RMSNorm(nn.RMSNorm):
    """Root mean square normalization (Zhang and Sennrich 2019): LayerNorm without centring."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model, eps=1e-6)


class PreNormResidual(nn.Module):
    """x + Dropout(Branch(Norm(x))): no norm on the residual path (Xiong et al. 2020)."""

    def __init__(self, norm: nn.Module, dropout: float) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        return x + self.dropout(branch(self.norm(x)))


class PostNormResidual(nn.Module):
    """Norm(x + Dropout(Branch(x))) (Vaswani et al. 2017, section 3.1)."""

    def __init__(self, norm: nn.Module, dropout: float) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, branch: Branch) -> Tensor:
        out: Tensor = self.norm(x + self.dropout(branch(x)))
        return out


class FeedForward(nn.Module):
    """act(x W1) W2 (Vaswani et al. 2017, section 3.3, equation 2)."""

    def __init__(self, d_model: int, d_ff: int, activation: Branch, gain: float) -> None:
        super().__init__()
        self.up = Linear(d_model, d_ff)
        self.down = Linear(d_ff, d_model, gain=gain)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down(self.activation(self.up(x)))
        return down


class GatedFeedForward(nn.Module):
    """SwiGLU: (SiLU(x W1) * x W3) W2 (Shazeer 2020, equation 6)."""

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
    """Build the feed-forward network for `activation`: `relu`, `gelu` or `swiglu`."""
    if activation == "swiglu":
        return GatedFeedForward(d_model, d_ff, gain)
    return FeedForward(d_model, d_ff, ACTIVATIONS[activation], gain)


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2)."""

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
        self,
        x: Tensor,
        rotation: Tensor | None,
        mask: Tensor | None,
        cache: KeyValueCache,
        cache_position: int | Tensor,
    ) -> Tensor:
        """Compute one position of W beams and write its keys and values to `cache`.

        Args:
            x: `[B, W, D]`.
            rotation: `Positions.rotation` of this position.
            mask: `[B, 1, W, N]`, True = the key belongs to the history of the beam.
            cache_position: where the new keys are written; see `KeyValueCache.append`.

        Returns:
            `[B, W, D]`.
        """
        qk, v = self._project(x)
        q, k = self._rotate(qk, rotation)  # [B, W, H, K]
        keys, values = cache.append(k, v, cache_position)
        heads = step_kernel(self.kernel)(q.transpose(1, 2), keys, values, mask, False)  # [B, H, W, K]
        out: Tensor = self.out(heads.transpose(1, 2).flatten(-2))
        return out

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[..., D]` -> queries and keys `[..., 2H, K]`, and values `[..., H, K]`."""
        qkv = self.query_key_value(x).unflatten(-1, (3 * self.num_heads, -1))  # [..., 3H, K]
        qk, v = qkv.split([2 * self.num_heads, self.num_heads], dim=-2)
        return qk, v

    def _rotate(self, qk: Tensor, rotation: Tensor | None) -> tuple[Tensor, Tensor]:
        q, k = self.positions.rotate(qk, rotation).chunk(2, dim=-2)
        return q, k


class CrossAttention(nn.Module):
    """Multi-head attention of target positions to the source (Vaswani et al. 2017, section 3.2.3)."""

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
        """Compute keys and values of the source, `[B, H, S, K]` each, which all decoding steps and beams share."""
        num_keys = min_keys(memory.layout.max_seqlen, memory.states.device)
        k, v = (
            pad_to(memory.layout.pad(x), 1, num_keys).transpose(1, 2).contiguous() for x in self._key_value(memory)
        )
        return KeyValueCache(k, v)

    def step(self, x: Tensor, mask: Tensor | None, source: KeyValueCache) -> Tensor:
        """Compute one position of W beams, `[B, W, D]` -> `[B, W, D]`.

        Beams are query positions, so the source keys are not repeated for each beam.
        """
        q = self.query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, W, K]
        heads = step_kernel(self.kernel)(q, source.keys, source.values, mask, False)  # [B, H, W, K]
        out: Tensor = self.out(heads.transpose(1, 2).flatten(-2))
        return out

    def _key_value(self, memory: Memory) -> tuple[Tensor, Tensor]:
        kv = self.key_value(memory.states).unflatten(-1, (2 * self.num_heads, -1))  # [..., 2H, K]
        k, v = kv.chunk(2, dim=-2)
        return k, v


def source_mask(memory: Memory) -> Tensor | None:
    """`key_mask` of the keys from `CrossAttention.project_memory`, `[B, 1, 1, S]` bool or None."""
    return key_mask(memory.layout, min_keys(memory.layout.max_seqlen, memory.states.device))


class Embedding(nn.Embedding):
    """Token embeddings, scaled by √D (Vaswani et al. 2017, section 3.4)."""

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__(vocab_size, d_model)
        self.scale = d_model**0.5

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[...]` int64 -> `[..., D]`."""
        return F.embedding(tokens, self.weight) * self.scale


class LayerStack(nn.Module):
    """Position encoding, a sequence of layers and the final norm: the common part of encoders and decoders."""

    supports_packed = False

    def __init__(self, config: ModelConfig, positions: Positions, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.positions = positions
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(layers)
        self.norm = build_final_norm(config.norm, config.norm_type, config.d_model)

    def forward(self, x: Tensor, layout: Layout, *memory: Memory) -> Tensor:
        """`[..., D]`, and the encoder's memory if this is a decoder -> `[..., D]`."""
        x = self.dropout(self.positions.add(x, layout.positions))
        for layer in self.layers:
            x = layer(x, layout, *memory)
        out: Tensor = self.norm(x)
        return out


def build_norm(norm_type: str, d_model: int) -> nn.Module:
    """Build a norm of type `layer` or `rms`."""
    return {"layer": LayerNorm, "rms": RMSNorm}[norm_type](d_model)


def build_residual(norm: str, norm_type: str, d_model: int, dropout: float) -> nn.Module:
    """Build a residual branch with the norm before (`norm` = `pre`) or after it (`post`)."""
    residual = {"pre": PreNormResidual, "post": PostNormResidual}[norm]
    return residual(build_norm(norm_type, d_model), dropout)


def build_final_norm(norm: str, norm_type: str, d_model: int) -> nn.Module:
    """Build the final norm of a pre-norm stack; the output of a post-norm stack is normalised already."""
    return build_norm(norm_type, d_model) if norm == "pre" else nn.Identity()


def residual_gain(norm: str, layers: int) -> float:
    """Initial gain of a branch: pre-norm adds up 2 · layers branches, whose sum keeps its scale."""
    return (2 * layers) ** -0.5 if norm == "pre" else 1.0


def step_position(position: int | Tensor, device: torch.device) -> Tensor:
    """Return the position of a decoding step as a tensor, `[1]` int64."""
    return position if isinstance(position, Tensor) else torch.tensor([position], device=device)
