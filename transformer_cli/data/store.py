"""The encoded corpus on disk: one flat array of ids and one of offsets a side, memory-mapped.

`STORE.json`, written last, names the inputs by hash; a store that does not fit them is built anew.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer_cli import durable
from transformer_cli.batch import BatchPlan, Sentences
from transformer_cli.schema import DataConfig
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.errors import CheckpointError

INDEX = "STORE.json"
PARTS = ("src.tokens", "src.offsets", "tgt.tokens", "tgt.offsets", "lines")


@dataclass(frozen=True)
class EncodedCorpus:
    """Pairs of encoded sentences, which lines of the text (from 0) they are, and how many were left out and why."""

    src: Sentences
    tgt: Sentences
    lines: NDArray[np.int64]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.src)

    def batch_plan(self, rows: NDArray[np.int64], *, packed: bool = False) -> BatchPlan:
        """These pairs, to be laid out as one batch."""
        return BatchPlan(self.src, self.tgt, rows, packed)


def encode_corpus(
    text: ParallelText, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer, config: DataConfig
) -> EncodedCorpus:
    """Encode pairs and apply the filters; kept and left-out pairs sum to all pairs."""
    src, tgt = src_tokenizer.encode(text.src), tgt_tokenizer.encode(text.tgt)
    left_out = dict.fromkeys(["blank", "too long", "length ratio", "duplicate"], 0)
    seen: set[tuple[str, str]] = set()
    kept = []
    for i, (s, t) in enumerate(zip(src, tgt, strict=True)):
        pair = (text.src[i], text.tgt[i])
        # What `str.strip` calls blank may still have pieces: an ideographic space, a tab.
        blank = not (pair[0].strip() and pair[1].strip())
        reason = "blank" if blank else _reject(len(s), len(t), config)
        if not reason and config.filters.duplicates:
            reason = "duplicate" if pair in seen else ""
            seen.add(pair)
        if reason:
            left_out[reason] += 1
        else:
            kept.append(i)
    kept_src, kept_tgt = (Sentences.pack([side[i] for i in kept]) for side in (src, tgt))
    return EncodedCorpus(kept_src, kept_tgt, np.array(kept, dtype=np.int64), left_out)


def _reject(src: int, tgt: int, config: DataConfig) -> str:
    if not src or not tgt:
        return "blank"
    # EOS is a position too.
    if max(src, tgt) + 1 > config.max_length:
        return "too long"
    ratio = config.filters.length_ratio
    # Very short pairs have wild ratios that mean nothing.
    if ratio and max(src, tgt) > ratio * min(src, tgt) and max(src, tgt) > 10:
        return "length ratio"
    return ""


def index_path(directory: Path, name: str) -> Path:
    """The file that says what the store `name` was made from; without it there is no store."""
    return directory / f"{name}.{INDEX}"


def save_corpus(corpus: EncodedCorpus, directory: Path, name: str, key: dict[str, str]) -> None:
    """Write the store `name` into `directory`, replacing an older one. Raises: DiskError."""
    durable.make_directory(directory)
    index_path(directory, name).unlink(missing_ok=True)  # arrays half replaced belong to no index
    hashes = {}
    for file, array in _arrays(corpus, name).items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        durable.write_bytes(directory / file, buffer.getvalue())
        hashes[file] = durable.sha256(buffer.getbuffer())
    index = {"key": key, "left_out": corpus.left_out, "pairs": len(corpus), "sha256": hashes}
    durable.write_json(index_path(directory, name), index)


def load_corpus(directory: Path, name: str, key: dict[str, str] | None) -> EncodedCorpus | None:
    """The store `name` memory-mapped; None if there is none or it was made from other inputs.

    `key` names the inputs; None takes what is there, also the store of an older version, which has no `lines`.

    Raises:
        CheckpointError: the store says it fits but cannot be read.
    """
    try:
        index = json.loads(index_path(directory, name).read_text(encoding="utf-8"))
        if key is not None and index["key"] != key:
            return None
        files = [f"{name}.{part}.npy" for part in PARTS if key is not None or f"{name}.{part}.npy" in index["sha256"]]
        for file in files:
            if durable.sha256_file(directory / file) != index["sha256"][file]:
                raise ValueError(f"{file} does not match its SHA-256")
        left_out = {str(reason): int(count) for reason, count in index["left_out"].items()}
        arrays = [np.load(directory / file, mmap_mode="r", allow_pickle=False) for file in files]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise CheckpointError(
            f"{directory}: the encoded corpus is damaged ({error})", hint=f"delete {directory} and run again"
        ) from None
    return EncodedCorpus(
        Sentences(arrays[0], np.asarray(arrays[1])),
        Sentences(arrays[2], np.asarray(arrays[3])),
        np.asarray(arrays[4]) if len(arrays) == len(PARTS) else np.empty(0, dtype=np.int64),
        left_out,
    )


def _arrays(corpus: EncodedCorpus, name: str) -> dict[str, NDArray[Any]]:
    arrays = (corpus.src.tokens, corpus.src.offsets, corpus.tgt.tokens, corpus.tgt.offsets, corpus.lines)
    return {f"{name}.{part}.npy": array for part, array in zip(PARTS, arrays, strict=True)}
