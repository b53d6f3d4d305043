"""Recurrent encoder and decoder (Sutskever et al. 2014; Cho et al. 2014) with attention to the
source (Bahdanau et al. 2015; Luong et al. 2015).

Shapes: B sentences, L positions, S source positions, T target positions, W beams, D `d_model`;
`[..., D]` is `[B, L, D]` or `[N, D]`, depending on the layout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from transformer_cli.layout import Layout, cat_padded, pad_to
from transformer_cli.models.layers import Linear, build_norm
from transformer_cli.models.protocol import Memory
from transformer_cli.ops.additive import additive_scores
from transformer_cli.ops.attention import cat_key_masks, key_mask, masked_softmax, select_key_mask, static_key_mask
from transformer_cli.ops.dropout import Dropout
from transformer_cli.ops.recurrence import CELLS, State, reverse_tokens, run_cell
from transformer_cli.schema import ModelConfig


class RecurrentEncoder(nn.Module):
    """Bidirectional layers of two cells, one per direction (Bahdanau et al. 2015, section 3.2)."""

    supports_packed = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        cell, size = CELLS[config.cell], config.d_model // 2
        self.forth = nn.ModuleList(cell(config.d_model, size) for _ in range(config.encoder_layers))
        self.back = nn.ModuleList(cell(config.d_model, size) for _ in range(config.encoder_layers))
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = layout.pad(self.dropout(x))
        for i, (forward_cell, backward_cell) in enumerate(zip(self.forth, self.back, strict=True)):
            start, end = forward_cell.zero(len(x), x), backward_cell.zero(len(x), x)  # type: ignore[operator]
            forward_out = run_cell(forward_cell, x, start)  # type: ignore[arg-type]
            reversed_out = run_cell(backward_cell, reverse_tokens(x, layout), end)  # type: ignore[arg-type]
            out = self.dropout(torch.cat([forward_out, reverse_tokens(reversed_out, layout)], dim=-1))
            x = x + out if i else out
        return layout.unpad(x)


class AdditiveAttention(nn.Module):
    """Attention weights softmax(v · tanh(W s + U h)) (Bahdanau et al. 2015, section A.1.2)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = Linear(d_model, d_model)
        self.key = Linear(d_model, d_model)
        self.score = nn.Parameter(torch.randn(1, d_model) * d_model**-0.5)
        self.weights = nn.Identity()  # hook point: receives the attention weights

    def keys(self, memory: Tensor) -> Tensor:
        """Project the source states, once per sentence: `[B, S, D]` -> `[B, S, D]`."""
        out: Tensor = self.key(memory)
        return out

    def forward(self, s: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Decoder states `[B, T, D]` and keys `[B, S, D]` -> weights `[B, T, S]`."""
        scores = additive_scores(self.query(s).unsqueeze(1), keys.unsqueeze(1), self.score)
        weights: Tensor = self.weights(masked_softmax(scores, mask))
        return weights.squeeze(1)


class DotAttention(nn.Module):
    """Attention weights softmax(s · h), without parameters (Luong et al. 2015, equation 8, "dot")."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weights = nn.Identity()  # hook point: receives the attention weights

    def keys(self, memory: Tensor) -> Tensor:
        """Project the source states, once per sentence: `[B, S, D]` -> `[B, S, D]`."""
        return memory

    def forward(self, s: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Decoder states `[B, T, D]` and keys `[B, S, D]` -> weights `[B, T, S]`."""
        weights: Tensor = self.weights(masked_softmax((s @ keys.mT).unsqueeze(1), mask))
        return weights.squeeze(1)


class MultiplicativeAttention(DotAttention):
    """Attention weights softmax(s · W h) (Luong et al. 2015, equation 8, "general")."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.key = Linear(d_model, d_model)

    def keys(self, memory: Tensor) -> Tensor:
        out: Tensor = self.key(memory)
        return out


ATTENTIONS: dict[str, type[nn.Module]] = {
    "additive": AdditiveAttention,
    "multiplicative": MultiplicativeAttention,
    "dot": DotAttention,
}


@dataclass(frozen=True)
class AttentionSource:
    """The source as the decoder reads it.

    Attributes:
        states: `[B, S, D]`, the encoder states.
        keys: `[B, S, D]`, their projection for attention.
        mask: `key_mask` of the source, `[B, 1, 1, S]`.
    """

    states: Tensor
    keys: Tensor
    mask: Tensor | None

    def select(self, sentences: Tensor) -> AttentionSource:
        return AttentionSource(
            self.states.index_select(0, sentences),
            self.keys.index_select(0, sentences),
            select_key_mask(self.mask, sentences),
        )

    def cat(self, other: AttentionSource) -> AttentionSource:
        masks = (self.mask, self.keys[..., 0]), (other.mask, other.keys[..., 0])
        return AttentionSource(
            cat_padded(self.states, other.states, 1),
            cat_padded(self.keys, other.keys, 1),
            cat_key_masks(*masks),
        )

    def to_static(self, count: int) -> AttentionSource:
        """Pad to a fixed capacity of `count` tokens."""
        mask = static_key_mask(self.mask, self.keys[..., 0], count)
        return AttentionSource(pad_to(self.states, 1, count), pad_to(self.keys, 1, count), mask)


@dataclass(frozen=True)
class RecurrentState:
    """See `protocol.DecoderState`.

    Attributes:
        layers: the state of each layer's cell, `[B, W, D]` per tensor.
        attentional: `[B, W, D]`, the attentional state h̃ of the last position (Luong et al. 2015,
            equation 5).
        source: None for a decoder without attention.
    """

    layers: list[State]
    attentional: Tensor
    source: AttentionSource | None

    def reorder(self, parents: Tensor) -> RecurrentState:
        def gather(x: Tensor) -> Tensor:
            return x.gather(1, parents.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

        layers = [tuple(map(gather, state)) for state in self.layers]
        return replace(self, layers=layers, attentional=gather(self.attentional))

    def select(self, sentences: Tensor) -> RecurrentState:
        layers = [tuple(x.index_select(0, sentences) for x in state) for state in self.layers]
        source = None if self.source is None else self.source.select(sentences)
        return RecurrentState(layers, self.attentional.index_select(0, sentences), source)

    def cat(self, other: RecurrentState) -> RecurrentState:
        layers = [
            tuple(torch.cat(pair) for pair in zip(a, b, strict=True))
            for a, b in zip(self.layers, other.layers, strict=True)
        ]
        source = None if self.source is None or other.source is None else self.source.cat(other.source)
        return RecurrentState(layers, torch.cat([self.attentional, other.attentional]), source)

    def to_static(self, positions: int, source: int) -> RecurrentState:
        return replace(self, source=None if self.source is None else self.source.to_static(source))


class RecurrentDecoder(nn.Module):
    """Recurrent cells over the target prefix, followed by attention (Luong et al. 2015, section 3, equation 5).

    A norm replaces the tanh of equation 5: with tied embeddings, states bounded to [-1, 1] cannot
    make confident predictions and saturate.

    With input feeding (section 3.3) each position reads the attentional state of the previous one,
    so training computes one position at a time; without it, attention covers all positions at once.
    """

    supports_packed = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        cell, d, n = CELLS[config.cell], config.d_model, config.decoder_layers
        self.input_feeding = config.input_feeding and config.rnn_attention != "none"
        inputs = [2 * d if self.input_feeding else d] + [d] * (n - 1)
        self.cells = nn.ModuleList(cell(size, d) for size in inputs)
        self.start = nn.Linear(2 * d, n * d)
        self.cross_attention = ATTENTIONS[config.rnn_attention](d) if config.rnn_attention != "none" else None
        self.combine = Linear(2 * d, d) if self.cross_attention is not None else None
        self.norm = build_norm(config.norm_type, d) if self.combine is not None else None
        self.dropout = Dropout(config.dropout)

    def forward(self, y: Tensor, layout: Layout, memory: Memory) -> Tensor:
        y = layout.pad(self.dropout(y))
        state = self.init_state(memory)
        if self.input_feeding:
            outputs = []
            for position in y.unbind(dim=1):
                out, state = self._step(position.unsqueeze(1), state)
                outputs.append(out)
            return layout.unpad(torch.cat(outputs, dim=1))
        for i, (cell, start) in enumerate(zip(self.cells, state.layers, strict=True)):
            out = run_cell(cell, y, tuple(x[:, 0] for x in start))  # type: ignore[arg-type]
            y = y + self.dropout(out) if i else self.dropout(out)
        return layout.unpad(self._attend(y, state.source))

    def init_state(self, memory: Memory) -> RecurrentState:
        states, layout = memory.layout.pad(memory.states), memory.layout
        last = states[torch.arange(len(states), device=states.device), layout.lengths - 1]
        # The final state of the forward cell is at the last token, that of the backward cell at the first.
        start = torch.tanh(self.start(torch.cat([last, states[:, 0]], dim=-1)))  # [B, n · D]
        layers = [
            (h.contiguous(), *(torch.zeros_like(h) for _ in range(cell.states - 1)))  # type: ignore[operator]
            for h, cell in zip(start.unsqueeze(1).chunk(len(self.cells), dim=-1), self.cells, strict=True)
        ]
        source = None
        if self.cross_attention is not None:
            source = AttentionSource(states, self.cross_attention.keys(states), key_mask(layout))  # type: ignore[operator]
        return RecurrentState(layers, torch.zeros_like(layers[0][0]), source)

    def decode_step(self, y: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        return self._step(y, state)

    def _step(self, y: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Compute one position: `[B, W, D]` -> `[B, W, D]`."""
        layers = []
        for i, (cell, cell_state) in enumerate(zip(self.cells, state.layers, strict=True)):
            x = torch.cat([y, state.attentional], dim=-1) if self.input_feeding and i == 0 else y
            cell_state = cell.step(cell.input(x), cell_state)  # type: ignore[operator]
            layers.append(cell_state)
            y = y + self.dropout(cell_state[0]) if i else self.dropout(cell_state[0])
        out = self._attend(y, state.source)
        return out, RecurrentState(layers, out, state.source)

    def _attend(self, s: Tensor, source: AttentionSource | None) -> Tensor:
        """The attentional state Norm(W [c; s]), where c = Σ weights · memory: `[B, T, D]` -> `[B, T, D]`."""
        if source is None or self.cross_attention is None or self.combine is None or self.norm is None:
            return s
        context = self.cross_attention(s, source.keys, source.mask) @ source.states
        out: Tensor = self.dropout(self.norm(self.combine(torch.cat([context, s], dim=-1))))
        return out
