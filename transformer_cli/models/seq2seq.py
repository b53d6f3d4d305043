"""The complete model: embeddings and output projection around any encoder and any decoder.

Shapes: B sentences, W beams, N tokens, D `d_model`, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from transformer_cli.batch import Batch
from transformer_cli.layout import Layout
from transformer_cli.models.layers import Embedding
from transformer_cli.models.protocol import Decoder, Encoder, Memory
from transformer_cli.token_ids import EOS


class Seq2Seq(nn.Module):
    """Encoder-decoder model from token ids to logits.

    `forward` returns the states before the output projection, which the loss fuses with the
    softmax; `logits` applies the projection.
    """

    encoder: Encoder
    decoder: Decoder
    num_tags: int = 0
    """Number of tags of target languages in the target vocabulary, the ids after EOS; see `Tokenizer.tags`."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        d_model: int,
        src_vocab: int,
        tgt_vocab: int,
        tie_embeddings: str,
    ) -> None:
        super().__init__()
        assert tie_embeddings != "all" or src_vocab == tgt_vocab, "tie_embeddings=all requires a joint vocabulary"
        self.tgt_embedding = Embedding(tgt_vocab, d_model)
        self.src_embedding = self.tgt_embedding if tie_embeddings == "all" else Embedding(src_vocab, d_model)
        # The embedding multiplies by √D, so that the same matrix produces logits of unit scale in the projection.
        self.output = nn.Linear(d_model, tgt_vocab, bias=False)
        nn.init.normal_(self.output.weight, std=d_model**-0.5)
        if tie_embeddings != "none":
            self.output.weight = self.tgt_embedding.weight
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, batch: Batch) -> Tensor:
        """Compute the decoder states of all target tokens (teacher forcing), flat: `[N, D]`."""
        memory = self.encode(batch.src, batch.src_layout)
        y = self.decoder(self.tgt_embedding(batch.tgt_in), batch.tgt_layout, memory)
        return batch.tgt_layout.flatten(y)

    @property
    def supports_packed(self) -> bool:
        """Whether packed batches stay packed in both encoder and decoder."""
        return self.encoder.supports_packed and self.decoder.supports_packed

    def encode(self, src: Tensor, layout: Layout) -> Memory:
        """Encode source ids, `[B, S]` or `[N]`."""
        return Memory(self.encoder(self.src_embedding(src), layout), layout)

    def decode(self, tgt_in: Tensor, layout: Layout, memory: Memory) -> Tensor:
        """Compute the logits of given target ids (teacher forcing): `[N, V]`, aligned with `Batch.tgt_out`."""
        return self.logits(layout.flatten(self.decoder(self.tgt_embedding(tgt_in), layout, memory)))

    @property
    def output_weight(self) -> Tensor:
        """The weight of the output projection, `[V, D]`, for a loss that fuses it."""
        return self.output.weight

    def logits(self, states: Tensor) -> Tensor:
        """Apply the output projection: `[..., D]` -> `[..., V]`; -inf for the tags of target languages."""
        out: Tensor = self.output(states)
        if self.num_tags:
            out[..., self.tags] = -torch.inf
        return out

    @property
    def tags(self) -> slice:
        """The ids of the tags, which stand before sources and are never generated."""
        return slice(EOS + 1, EOS + 1 + self.num_tags)

    def init_state(self, memory: Memory) -> Any:
        """Create the decoder state before the first token."""
        return self.decoder.init_state(memory)

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Last token of each hypothesis, `[B, W]` -> (logits of the next token `[B, W, V]`, next state)."""
        y, state = self.step(tokens, state)
        return self.logits(y), state

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """`decode_step` without the output projection: `[B, W]` -> (`[B, W, D]`, next state)."""
        return self.decoder.decode_step(self.tgt_embedding(tokens), state)
