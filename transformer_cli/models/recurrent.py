"""The recurrent encoder-decoder: one state carried along the sentence (Sutskever et al. 2014; Cho et al. 2014),
with attention over the source (Bahdanau et al. 2015; Luong et al. 2015).

Shapes: B sentences, L positions, S source positions, W beams, D `d_model`; `[..., D]` is `[B, L, D]` or `[N, D]`.
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
    """Layers of two cells, one reading from the left, one from the right (Bahdanau et al. 2015, section 3.2)."""

    supports_packed = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind, half = CELLS[config.cell], config.d_model // 2
        self.forth = nn.ModuleList(kind(config.d_model, half) for _ in range(config.encoder_layers))
        self.back = nn.ModuleList(kind(config.d_model, half) for _ in range(config.encoder_layers))
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = layout.pad(self.dropout(x))
        for i, (forth, back) in enumerate(zip(self.forth, self.back, strict=True)):
            start, end = forth.zero(len(x), x), back.zero(len(x), x)  # type: ignore[operator]
            right = run_cell(forth, x, start)  # type: ignore[arg-type]
            left = reverse_tokens(run_cell(back, reverse_tokens(x, layout), end), layout)  # type: ignore[arg-type]
            out = self.dropout(torch.cat([right, left], dim=-1))
            x = x + out if i else out
        return layout.unpad(x)


class AdditiveAttention(nn.Module):
    """Weights softmax(v · tanh(W s + U h)) (Bahdanau et al. 2015, section A.1.2)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = Linear(d_model, d_model)
        self.key = Linear(d_model, d_model)
        self.score = nn.Parameter(torch.randn(1, d_model) * d_model**-0.5)
        self.weights = nn.Identity()  # where they can be watched

    def keys(self, memory: Tensor) -> Tensor:
        """`[B, S, D]` -> the same shape, once a sentence."""
        out: Tensor = self.key(memory)
        return out

    def forward(self, s: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Decoder states `[B, T, D]`, keys `[B, S, D]` -> weights `[B, T, S]`."""
        scores = additive_scores(self.query(s).unsqueeze(1), keys.unsqueeze(1), self.score)
        weights: Tensor = self.weights(masked_softmax(scores, mask))
        return weights.squeeze(1)


class DotAttention(nn.Module):
    """Weights softmax(s · h): nothing to learn (Luong et al. 2015, equation 8, "dot")."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weights = nn.Identity()  # where they can be watched

    def keys(self, memory: Tensor) -> Tensor:
        """`[B, S, D]` -> the same shape, once a sentence."""
        return memory

    def forward(self, s: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Decoder states `[B, T, D]`, keys `[B, S, D]` -> weights `[B, T, S]`."""
        weights: Tensor = self.weights(masked_softmax((s @ keys.mT).unsqueeze(1), mask))
        return weights.squeeze(1)


class MultiplicativeAttention(DotAttention):
    """Weights softmax(s · W h) (Luong et al. 2015, equation 8, "general")."""

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
    """What the decoder reads: states and keys `[B, S, D]`, and which of them are tokens, `[B, 1, 1, S]`."""

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
        """With room for so many tokens."""
        mask = static_key_mask(self.mask, self.keys[..., 0], count)
        return AttentionSource(pad_to(self.states, 1, count), pad_to(self.keys, 1, count), mask)


@dataclass(frozen=True)
class RecurrentState:
    """See `protocol.DecoderState`. States of each layer, and what the last position said, `[B, W, D]` each."""

    layers: list[State]
    attentional: Tensor
    source: AttentionSource | None

    def reorder(self, parents: Tensor) -> RecurrentState:
        def pick(x: Tensor) -> Tensor:
            return x.gather(1, parents.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

        return replace(self, layers=[tuple(map(pick, s)) for s in self.layers], attentional=pick(self.attentional))

    def select(self, sentences: Tensor) -> RecurrentState:
        layers = [tuple(x.index_select(0, sentences) for x in state) for state in self.layers]
        source = None if self.source is None else self.source.select(sentences)
        return RecurrentState(layers, self.attentional.index_select(0, sentences), source)

    def cat(self, other: RecurrentState) -> RecurrentState:
        layers = [
            tuple(torch.cat(pair) for pair in zip(mine, theirs, strict=True))
            for mine, theirs in zip(self.layers, other.layers, strict=True)
        ]
        source = None if self.source is None or other.source is None else self.source.cat(other.source)
        return RecurrentState(layers, torch.cat([self.attentional, other.attentional]), source)

    def to_static(self, positions: int, source: int) -> RecurrentState:
        return replace(self, source=None if self.source is None else self.source.to_static(source))


class RecurrentDecoder(nn.Module):
    """Cells that read the target so far; attention after them, as Luong et al. 2015 (section 3, equation 5).

    A norm stands where equation 5 has a tanh: states that cannot leave [-1, 1] make no sure predictions from tied
    embeddings, and saturate in trying to.

    With input feeding (section 3.3) what a position says is read by the next one, so positions follow each other;
    without it, attention works on all positions at once.
    """

    supports_packed = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind, d, n = CELLS[config.cell], config.d_model, config.decoder_layers
        self.feeds = config.input_feeding and config.rnn_attention != "none"
        inputs = [2 * d if self.feeds else d] + [d] * (n - 1)
        self.cells = nn.ModuleList(kind(size, d) for size in inputs)
        self.start = nn.Linear(2 * d, n * d)
        self.cross_attention = ATTENTIONS[config.rnn_attention](d) if config.rnn_attention != "none" else None
        self.combine = Linear(2 * d, d) if self.cross_attention is not None else None
        self.norm = build_norm(config.norm_type, d) if self.combine is not None else None
        self.dropout = Dropout(config.dropout)

    def forward(self, y: Tensor, layout: Layout, memory: Memory) -> Tensor:
        y = layout.pad(self.dropout(y))
        state = self.init_state(memory)
        if self.feeds:
            steps = []
            for now in y.unbind(dim=1):
                out, state = self._advance(now.unsqueeze(1), state)
                steps.append(out)
            return layout.unpad(torch.cat(steps, dim=1))
        for i, (cell, start) in enumerate(zip(self.cells, state.layers, strict=True)):
            out = run_cell(cell, y, tuple(x[:, 0] for x in start))  # type: ignore[arg-type]
            y = y + self.dropout(out) if i else self.dropout(out)
        return layout.unpad(self._attend(y, state.source))

    def init_state(self, memory: Memory) -> RecurrentState:
        states, layout = memory.layout.pad(memory.states), memory.layout
        last = states[torch.arange(len(states), device=states.device), layout.lengths - 1]
        # What a right-to-left cell ends with stands first, what a left-to-right cell ends with stands last.
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
        return self._advance(y, state)

    def _advance(self, y: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """One position: `[B, W, D]` -> `[B, W, D]`."""
        layers = []
        for i, (cell, before) in enumerate(zip(self.cells, state.layers, strict=True)):
            read = torch.cat([y, state.attentional], dim=-1) if self.feeds and i == 0 else y
            after = cell.step(cell.input(read), before)  # type: ignore[operator]
            layers.append(after)
            y = y + self.dropout(after[0]) if i else self.dropout(after[0])
        out = self._attend(y, state.source)
        return out, RecurrentState(layers, out, state.source)

    def _attend(self, s: Tensor, source: AttentionSource | None) -> Tensor:
        """Norm(W [c; s]) with the context c = Σ weights · memory: `[B, T, D]` -> the same shape."""
        if source is None or self.cross_attention is None or self.combine is None or self.norm is None:
            return s
        context = self.cross_attention(s, source.keys, source.mask) @ source.states
        out: Tensor = self.dropout(self.norm(self.combine(torch.cat([context, s], dim=-1))))
        return out
