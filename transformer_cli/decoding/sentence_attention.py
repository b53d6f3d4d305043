"""The attention weights of one sentence and its translation, by kind, layer and head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from transformer_cli.decoding.alignment import align_words, attention_maps, generation_attention
from transformer_cli.errors import DataError
from transformer_cli.token_ids import TokenIds

KINDS = ("encoder", "decoder", "cross")
MAX_TOKENS = 60
"""Maximum tokens per side; larger pictures are not readable."""


@dataclass(frozen=True)
class SentenceAttention:
    """Attention weights.

    Attributes:
        maps: kind -> layers of `[H, rows, columns]`, each row sums to 1; kinds that the model lacks are empty.
            Rows and columns of `encoder` are the source tokens and EOS, of `decoder` BOS and the target tokens;
            rows of `cross` are those of `decoder`, columns those of `encoder`.
        links: word alignment (source word, target word); empty without cross-attention.
    """

    maps: dict[str, list[NDArray[np.float32]]]
    links: list[tuple[int, int]]


def attend_sentence(
    model: nn.Module,
    src: TokenIds,
    tgt: TokenIds,
    src_token_bytes: Sequence[bytes],
    tgt_token_bytes: Sequence[bytes],
    skip: int = 0,
) -> SentenceAttention:
    """The attention of a pair of sentences, given by ids without BOS and EOS.

    Args:
        src_token_bytes, tgt_token_bytes: of each token of the vocabularies, `[V]`.
        skip: number of source tokens at the beginning, such as a tag, that are not of the text.

    Raises:
        ConfigError: the model has no attention layers.
        DataError: a side is blank or too long.
    """
    if len(src) <= skip or not len(tgt):
        raise DataError("there is nothing to draw: the sentence or its translation is blank")
    if max(len(src), len(tgt)) > MAX_TOKENS:
        raise DataError(
            f"the sentence has {max(len(src), len(tgt))} tokens; a plot shows at most {MAX_TOKENS} per side",
            hint="use a shorter sentence",
        )
    maps: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in KINDS}
    for layer, weights in attention_maps(model, [src], [tgt]).items():
        maps[_kind(layer)].append(weights[0].float().cpu().numpy())
    links: list[tuple[int, int]] = []
    if maps["cross"]:
        mean = generation_attention(model, src, tgt)[:, skip:]
        links = align_words(mean, [src_token_bytes[i] for i in src[skip:]], [tgt_token_bytes[i] for i in tgt])
    return SentenceAttention(maps, links)


def _kind(layer: str) -> str:
    return "cross" if layer.endswith("cross_attention") else layer.split(".")[0]
