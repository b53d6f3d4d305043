"""Lexical translation table for vocabulary shortlists, estimated by IBM Model 1 on the encoded corpus.

Model: Brown et al. 1993, section 4.4. A translation uses few tokens of the vocabulary. Restricting the output
projection, the largest matrix product of a decoding step, to the likely tokens makes it many times smaller
(Jean et al. 2015, section 3.3).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transformer_cli import durable
from transformer_cli.data.model1 import estimate_model1
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.token_ids import EOS, TokenIds
from transformer_cli.untrusted import require_regular

ENTRIES = 20_000_000
"""Maximum number of token pairs that are counted; of a larger corpus only every n-th sentence is used."""
FILE = "lexicon.npz"
FREQUENT = 200
"""Number of the most frequent target tokens, which are in every shortlist."""


@dataclass(frozen=True)
class Lexicon:
    """The likeliest target tokens of each source token.

    Attributes:
        table: `[V_src, k]` target ids by falling probability, filled with EOS; the first column is -1 for source
            tokens that do not occur in the corpus.
        frequent: ids of the most frequent target tokens.
        joint: source and target share one vocabulary, so that source tokens may be copied.
        tgt_vocab: size of the target vocabulary.
    """

    table: NDArray[np.int32]
    frequent: NDArray[np.int32]
    joint: bool
    tgt_vocab: int

    def shortlist(self, source: TokenIds) -> NDArray[np.int64]:
        """Sorted candidate ids for translations of `source`; the whole vocabulary if it has an unseen token."""
        if (self.table[source, 0] < 0).any():
            return np.arange(self.tgt_vocab)
        copied = source if self.joint else source[:0]
        parts = (np.arange(EOS + 1), self.table[source].ravel(), self.frequent, copied)
        return np.unique(np.concatenate(parts)).astype(np.int64)


def build_lexicon(corpus: EncodedCorpus, src_vocab: int, tgt_vocab: int, size: int, *, joint: bool) -> Lexicon:
    """Estimate translation probabilities by EM and keep the `size` likeliest targets of each source token."""
    null = src_vocab  # the NULL word of Model 1: aligned to target words without a source word
    lengths = np.multiply(corpus.src.lengths, corpus.tgt.lengths, dtype=np.int64).sum()
    rows = range(0, len(corpus), -(-int(lengths) // ENTRIES))
    sources = [np.append(corpus.src[row][:-1], null) for row in rows]
    pairs, prob, counts = estimate_model1(sources, [corpus.tgt[row][:-1] for row in rows], tgt_vocab)
    source_of_pair, target_of_pair = pairs // tgt_vocab, pairs % tgt_vocab
    table = np.full((src_vocab + 1, size), EOS, dtype=np.int32)
    table[:, 0] = -1
    order = np.lexsort((target_of_pair, -prob, source_of_pair))
    source_of_rank, targets = source_of_pair[order], target_of_pair[order]
    rank = np.arange(len(order)) - np.searchsorted(source_of_rank, np.arange(src_vocab + 1))[source_of_rank]
    top = rank < size
    table[source_of_rank[top], rank[top]] = targets[top]
    frequency = np.bincount(target_of_pair, counts, minlength=tgt_vocab)
    frequent = np.argsort(-frequency, kind="stable")[:FREQUENT].astype(np.int32)
    return Lexicon(table[:-1], frequent, joint, tgt_vocab)


def save_lexicon(lexicon: Lexicon, directory: Path, key: str) -> None:
    """Write a lexicon to `directory`; `key` identifies the inputs it was built from. Raises: DiskError."""
    buffer = io.BytesIO()
    np.savez(buffer, table=lexicon.table, frequent=lexicon.frequent, key=np.array(key))
    durable.write_bytes(directory / FILE, buffer.getvalue())


def load_lexicon(directory: Path, key: str, *, joint: bool, tgt_vocab: int) -> Lexicon | None:
    """Read a lexicon; None if there is none, it was built from other inputs, or it is damaged."""
    try:
        require_regular(directory / FILE)
        with np.load(directory / FILE, allow_pickle=False) as arrays:
            if any(member.compress_type for member in arrays.zip.infolist()):  # it could expand without limit
                return None
            if str(arrays["key"]) != key:
                return None
            table, frequent = arrays["table"], arrays["frequent"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    in_range = table.ndim == 2 and table.size and table.max() < tgt_vocab and frequent.max(initial=0) < tgt_vocab
    return Lexicon(table, frequent, joint, tgt_vocab) if in_range else None
