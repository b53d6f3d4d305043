"""Encoding of a text that is larger than memory: on all cores, straight into a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.filters.base import Filter
from transformer_cli.data.filters.pipeline import BATCH, BLANK, Judge, Judgement
from transformer_cli.data.store import CorpusWriter, length_reason
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.schema.data import DataConfig
from transformer_cli.token_ids import EOS, TokenIds

PART = 8 * BATCH
"""Pairs that are encoded at a time."""
Side = tuple[NDArray[Any], NDArray[np.int32]]
"""Token ids, each sentence with its EOS, and the number of them in each sentence."""


@dataclass(frozen=True)
class _Part:
    """Encoded pairs.

    Attributes:
        pairs: number of pairs, encoded or not.
        judgements: by filters of the text, of `BATCH` pairs each.
        reasons: why each pair is excluded, without comparison to earlier pairs; empty if none is.
        rows: the encoded ones of the pairs.
        src, tgt: their token ids.
    """

    pairs: int
    judgements: list[Judgement]
    reasons: list[str]
    rows: NDArray[np.int64]
    src: Side
    tgt: Side


def encode_text(
    text: ParallelText,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    config: DataConfig,
    filters: Sequence[Filter],
    writer: CorpusWriter,
    *,
    tag: Sequence[int] | TokenIds = (),
    first: int = 0,
) -> dict[str, int]:
    """Encode the pairs that no filter excludes, as `encode_corpus` does, and write them.

    Args:
        tag: the token before each source that tells the target language; empty for none.
        first: row of the first pair in the whole text, of which this is a part.

    Returns:
        The number of excluded pairs by reason; they and the pairs that were written sum to all pairs.
    """
    judge = Judge(filters)

    def encode(start: int, src: Sequence[str], tgt: Sequence[str]) -> _Part:
        reasons, rows = [""] * len(src), np.arange(len(src))
        if not (all(map(str.strip, src)) and all(map(str.strip, tgt))):
            reasons = [BLANK if not (s.strip() and t.strip()) else "" for s, t in zip(src, tgt, strict=True)]
        judgements = []
        if filters:
            pairs = list(text.pairs_of(start, src, tgt))
            judgements = [judge.judge_alone(pairs[i : i + BATCH]) for i in range(0, len(pairs), BATCH)]
            judged = [reason for one in judgements for reason in one.reasons]
            reasons = [first or second for first, second in zip(judged, reasons, strict=True)]
        if any(reasons):
            rows = np.array([i for i, reason in enumerate(reasons) if not reason], dtype=np.int64)
            src, tgt = [src[i] for i in rows.tolist()], [tgt[i] for i in rows.tolist()]
        src_side, tgt_side = src_tokenizer.encode_flat(src), tgt_tokenizer.encode_flat(tgt)
        kept = np.ones(len(rows), dtype=bool)
        tagged = len(tag) > 0
        for i in np.flatnonzero(_may_exceed(src_side[1], tgt_side[1], config, tagged)).tolist():
            if reason := length_reason(int(src_side[1][i]), int(tgt_side[1][i]), config, tagged=tagged):
                reasons[rows[i]] = reason
                kept[i] = False
        src_side, tgt_side = _finish(src_side, kept, src_tokenizer), _finish(tgt_side, kept, tgt_tokenizer)
        if tagged:
            src_side = _prepend(src_side, tag[0])
        return _Part(len(reasons), judgements, reasons if any(reasons) else [], rows[kept], src_side, tgt_side)

    left_out: Counter[str] = Counter()
    start = first
    for part in text.map_parts(encode, PART):
        reasons = part.reasons or [""] * part.pairs
        if filters:
            compared = [reason for one in part.judgements for reason in judge.compare(one)]
            reasons = [first or second for first, second in zip(compared, reasons, strict=True)]
        kept = np.ones(len(part.rows), dtype=bool)
        if filters:
            kept = np.array([not reasons[row] for row in part.rows.tolist()], dtype=bool)
        src, tgt = _select(part.src, kept), _select(part.tgt, kept)
        writer.add(*src, *tgt, start + part.rows[kept])
        left_out.update(filter(None, reasons))
        start += part.pairs
    return dict(left_out)


def _may_exceed(
    src: NDArray[np.int32], tgt: NDArray[np.int32], config: DataConfig, tagged: bool
) -> NDArray[np.bool_]:
    """Which of the pairs of these lengths `length_reason` must look at: a superset of those that it excludes."""
    longer, shorter = np.maximum(src, tgt), np.minimum(src, tgt)
    ratio = config.filters.length_ratio
    return (shorter == 0) | (longer + tagged >= config.max_length) | (longer > (ratio or np.inf) * shorter)


def _finish(side: Side, kept: NDArray[np.bool_], tokenizer: Tokenizer) -> Side:
    """The kept ones of the sentences, with EOS, in as few bytes as possible: they are sent to another process."""
    tokens, lengths = _select(side, kept)
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.int32
    finished = np.full(len(tokens) + len(lengths), EOS, dtype=dtype)
    is_token = np.ones(len(finished), dtype=bool)
    is_token[np.cumsum(lengths + 1) - 1] = False
    finished[is_token] = tokens
    return finished, lengths + 1


def _prepend(side: Side, token: int) -> Side:
    """The sentences with a token before each."""
    tokens, lengths = side
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return np.insert(tokens, starts, token), lengths + 1


def _select(side: Side, kept: NDArray[np.bool_]) -> Side:
    tokens, lengths = side
    return side if kept.all() else (tokens[np.repeat(kept, lengths)], lengths[kept])
