"""Which target pieces a source piece may become: IBM Model 1 (Brown et al. 1993, section 4.4) on the encoded corpus.

A sentence says few of the words of a language. A list of those that it might say makes the largest product of a
decoding step many times smaller (Jean et al. 2015, section 3.3).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transformer_cli import durable
from transformer_cli.batch import EOS, TokenIds
from transformer_cli.data.store import EncodedCorpus

ENTRIES = 20_000_000
"""Pairs of pieces that are counted at most; of a larger corpus every n-th sentence is taken."""
ROUNDS = 4
"""Of expectation and maximisation."""
FILE = "lexicon.npz"
FREQUENT = 200
"""The commonest target pieces stand on every list."""


@dataclass(frozen=True)
class Lexicon:
    """What the pieces of a language become.

    Attributes:
        table: `[V_src, k]`, the likeliest target pieces of each source piece, EOS where there are fewer; -1 in the first
            place of a piece that was never seen.
        frequent: the commonest target pieces.
        joint: source and target share their pieces, so that a piece may be copied.
        tgt_vocab: number of target pieces.
    """

    table: NDArray[np.int32]
    frequent: NDArray[np.int32]
    joint: bool
    tgt_vocab: int

    def shortlist(self, source: TokenIds) -> NDArray[np.int64]:
        """Ids that the translation of `source` may hold, increasing; all where one of its pieces is a stranger."""
        if (self.table[source, 0] < 0).any():
            return np.arange(self.tgt_vocab)
        copied = source if self.joint else source[:0]
        parts = (np.arange(EOS + 1), self.table[source].ravel(), self.frequent, copied)
        return np.unique(np.concatenate(parts)).astype(np.int64)


def build_lexicon(corpus: EncodedCorpus, src_vocab: int, tgt_vocab: int, size: int, *, joint: bool) -> Lexicon:
    """Count what becomes what. `size`: target pieces kept for each source piece."""
    nothing = src_vocab  # the empty word, which explains what no source word does
    lengths = (corpus.src.lengths * corpus.tgt.lengths).sum()
    rows = range(0, len(corpus), -(-int(lengths) // ENTRIES))
    keys, places, place = [], [], 0
    for row in rows:
        source, target = np.append(corpus.src[row][:-1], nothing), corpus.tgt[row][:-1]
        keys.append((source[:, None] * tgt_vocab + target).ravel())
        places.append(np.tile(np.arange(place, place + len(target)), len(source)))
        place += len(target)
    pairs, pair_of = np.unique(np.concatenate(keys), return_inverse=True)
    place_of = np.concatenate(places)
    source_of, target_of = pairs // tgt_vocab, pairs % tgt_vocab
    chance = np.ones(len(pairs))
    for _ in range(ROUNDS):
        share = chance[pair_of]
        share /= np.bincount(place_of, share)[place_of]
        counts = np.bincount(pair_of, share)
        chance = counts / np.bincount(source_of, counts)[source_of]
    table = np.full((src_vocab + 1, size), EOS, dtype=np.int32)
    table[:, 0] = -1
    order = np.lexsort((target_of, -chance, source_of))
    first = np.searchsorted(source_of[order], np.arange(src_vocab + 1))
    rank = np.arange(len(order)) - first[source_of[order]]
    kept = rank < size
    table[source_of[order][kept], rank[kept]] = target_of[order][kept]
    said = np.bincount(target_of, np.bincount(pair_of), minlength=tgt_vocab)
    return Lexicon(table[:-1], np.argsort(-said, kind="stable")[:FREQUENT].astype(np.int32), joint, tgt_vocab)


def save_lexicon(lexicon: Lexicon, directory: Path, key: str) -> None:
    """Keep a lexicon; `key` names what it was counted from. Raises: DiskError."""
    buffer = io.BytesIO()
    np.savez(buffer, table=lexicon.table, frequent=lexicon.frequent, key=np.array(key))
    durable.write_bytes(directory / FILE, buffer.getvalue())


def load_lexicon(directory: Path, key: str, *, joint: bool, tgt_vocab: int) -> Lexicon | None:
    """The lexicon that was kept; None if there is none, or one of something else, or a damaged one."""
    try:
        with np.load(directory / FILE, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            table, frequent = kept["table"], kept["frequent"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    in_range = table.ndim == 2 and table.size and table.max() < tgt_vocab and frequent.max(initial=0) < tgt_vocab
    return Lexicon(table, frequent, joint, tgt_vocab) if in_range else None
