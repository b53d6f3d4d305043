"""Which characters of a translation belong to which characters of its source, by attention.

Shapes: S source and T target tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from transformer_cli.decoding.alignment import generation_attention
from transformer_cli.decoding.segments import TextCodec
from transformer_cli.token_ids import TokenIds

Span = tuple[int, int]
"""Start and end of a part of a text, in characters."""


@dataclass(frozen=True)
class TokenAlignment:
    """Attention between the tokens of two texts.

    Attributes:
        src_spans, tgt_spans: place of each token in its text.
        weights: `[T, S]`, how much the model attends to a source token when it generates a target token.
    """

    src_spans: list[Span]
    tgt_spans: list[Span]
    weights: NDArray[np.float32]

    def target_of(self, start: int, end: int) -> Span | None:
        """The part of the translation that attends most to this part of the source; None without such tokens.

        Of all runs of target tokens, the one with the largest sum of what their shares of attention exceed the
        middle between the largest and the smallest share by: one stray token does not widen it.
        """
        columns = [i for i, (a, b) in enumerate(self.src_spans) if a < end and b > start]
        if not columns or not self.tgt_spans:
            return None
        shares = self.weights[:, columns].sum(axis=1) / np.maximum(self.weights.sum(axis=1), 1e-9)
        first, last = _largest_run(shares - (shares.max() + shares.min()) / 2)
        return self.tgt_spans[first][0], self.tgt_spans[last][1]


def _largest_run(gains: NDArray[np.float32]) -> tuple[int, int]:
    """First and last index of the consecutive values with the largest sum (Kadane's algorithm)."""
    best, run, total, best_total = (int(gains.argmax()),) * 2, 0, 0.0, float(gains.max())
    for index, gain in enumerate(gains.tolist()):
        if total <= 0:
            run, total = index, 0.0
        total += gain
        if total > best_total:
            best, best_total = (run, index), total
    return best


def align_tokens(
    model: nn.Module,
    src_tokenizer: TextCodec,
    tgt_tokenizer: TextCodec,
    source: str,
    target: str,
    tag: Sequence[int] | TokenIds = (),
) -> TokenAlignment:
    """The alignment of a source and a translation, neither longer than the model accepts.

    `tag`: tokens before the source that tell the target language.

    Raises:
        ConfigError: the model has no attention from target to source.
    """
    (src,), (tgt,) = src_tokenizer.encode([source]), tgt_tokenizer.encode([target])
    if not len(src) or not len(tgt):
        return TokenAlignment([], [], np.empty((0, 0), dtype=np.float32))
    tagged = np.concatenate([np.array(tag, dtype=np.int64), src])
    weights = generation_attention(model, tagged, tgt)[:, len(tag) :]
    src_bytes, tgt_bytes = src_tokenizer.token_bytes(), tgt_tokenizer.token_bytes()
    return TokenAlignment(
        token_spans(source, [src_bytes[i] for i in src]),
        token_spans(target, [tgt_bytes[i] for i in tgt]),
        weights,
    )


def token_spans(text: str, token_bytes: Sequence[bytes]) -> list[Span]:
    """The place of each token in a text, without spaces. Tokens without bytes share the characters left over."""
    places = [i for i, character in enumerate(text) if not character.isspace()]
    lengths = [len(token.replace(b" ", b"")) for token in token_bytes]
    sizes = np.cumsum([len(text[i].encode()) for i in places]) if places else np.zeros(0)
    unknown = sum(not token for token in token_bytes)
    left_over = max(0.0, float(sizes[-1] if len(sizes) else 0) - sum(lengths)) / max(1, unknown)
    spans, position = [], 0.0
    for token, length in zip(token_bytes, lengths, strict=True):
        end = position + (length if token else left_over)
        # Characters of which a byte lies in [position, end).
        first = int(np.searchsorted(sizes, position, side="right"))
        last = int(np.searchsorted(sizes, end, side="left"))
        if end <= position or first >= len(places):
            at = places[min(first, len(places) - 1)] if places else 0
            spans.append((at, at))
        else:
            spans.append((places[first], places[min(last, len(places) - 1)] + 1))
        position = end
    return spans
