"""Encoding of a text that is larger than memory: on all cores, straight into a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.filters.base import Filter
from transformer_cli.data.filters.pipeline import BATCH, BLANK, Judge, Judgement
from transformer_cli.data.store import CorpusWriter, length_reason
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.schema.data import DataConfig
from transformer_cli.token_ids import EOS

PART = 8 * BATCH
"""Pairs that are encoded at a time."""
Side = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Token ids, each sentence with its EOS, and the number of them in each sentence."""


@dataclass(frozen=True)
class _Part:
    """Encoded pairs.

    Attributes:
        judgements: by filters of the text, of `BATCH` pairs each.
        reasons: why other limits exclude a pair; empty if none does.
        rows: the encoded ones of the pairs.
        src, tgt: their token ids.
    """

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
) -> dict[str, int]:
    """Encode the pairs that no filter excludes, as `encode_corpus` does, and write them.

    Returns:
        The number of excluded pairs by reason; they and the pairs that were written sum to all pairs.
    """
    judge = Judge(filters)

    def encode(start: int, src: Sequence[str], tgt: Sequence[str]) -> _Part:
        reasons = [BLANK if not (s.strip() and t.strip()) else "" for s, t in zip(src, tgt, strict=True)]
        judgements = []
        if filters:
            pairs = list(text.pairs_of(start, src, tgt))
            judgements = [judge.judge_alone(pairs[i : i + BATCH]) for i in range(0, len(pairs), BATCH)]
            judged = [reason for one in judgements for reason in one.reasons]
            reasons = [first or second for first, second in zip(judged, reasons, strict=True)]
        rows = np.array([i for i, reason in enumerate(reasons) if not reason], dtype=np.int64)
        src_side = src_tokenizer.encode_flat([src[i] for i in rows])
        tgt_side = tgt_tokenizer.encode_flat([tgt[i] for i in rows])
        kept = np.ones(len(rows), dtype=bool)
        for i, (s, t) in enumerate(zip(src_side[1].tolist(), tgt_side[1].tolist(), strict=True)):
            if reason := length_reason(s, t, config):
                reasons[rows[i]] = reason
                kept[i] = False
        return _Part(judgements, reasons, rows[kept], _finish(src_side, kept), _finish(tgt_side, kept))

    left_out: Counter[str] = Counter()
    start = 0
    for part in text.map_parts(encode, PART):
        reasons = part.reasons
        if filters:
            compared = [reason for one in part.judgements for reason in judge.compare(one)]
            reasons = [first or second for first, second in zip(compared, reasons, strict=True)]
        kept = np.array([not reasons[row] for row in part.rows.tolist()], dtype=bool)
        src, tgt = _select(part.src, kept), _select(part.tgt, kept)
        writer.add(*src, *tgt, start + part.rows[kept])
        left_out.update(reason for reason in reasons if reason)
        start += len(reasons)
    return dict(left_out)


def _finish(side: Side, kept: NDArray[np.bool_]) -> Side:
    """The kept ones of the sentences, with EOS."""
    tokens, lengths = _select(side, kept)
    finished = np.full(len(tokens) + len(lengths), EOS, dtype=np.int32)
    is_token = np.ones(len(finished), dtype=bool)
    is_token[np.cumsum(lengths + 1) - 1] = False
    finished[is_token] = tokens
    return finished, lengths + 1


def _select(side: Side, kept: NDArray[np.bool_]) -> Side:
    tokens, lengths = side
    return side if kept.all() else (tokens[np.repeat(kept, lengths)], lengths[kept])
