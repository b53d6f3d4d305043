"""The encoded corpus on disk: for each side, one flat array of token ids and one of offsets, memory-mapped.

`STORE.json` is written last and has the hashes of the inputs. A store of other inputs is rebuilt.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer_cli import durable
from transformer_cli.batch import BatchPlan, Sentences
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.errors import CheckpointError
from transformer_cli.schema.data import DataConfig
from transformer_cli.untrusted import read_bounded, require_regular

INDEX = "STORE.json"
MAX_INDEX_BYTES, MAX_ARRAY_BYTES, MAX_HEADER_BYTES = 1 << 20, 1 << 36, 1 << 16
PARTS = ("src.tokens", "src.offsets", "tgt.tokens", "tgt.offsets", "lines")


@dataclass(frozen=True)
class EncodedCorpus:
    """Encoded sentence pairs.

    Attributes:
        src, tgt: token ids, aligned.
        lines: row of each pair in the text (from 0).
        left_out: number of filtered pairs by reason.
    """

    src: Sentences
    tgt: Sentences
    lines: NDArray[np.int64]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.src)

    def select(self, rows: NDArray[np.int64]) -> EncodedCorpus:
        """The pairs `rows`, in this order; a row may occur several times."""
        return EncodedCorpus(self.src.select(rows), self.tgt.select(rows), self.lines[rows], self.left_out)

    def batch_plan(self, rows: NDArray[np.int64], *, packed: bool = False) -> BatchPlan:
        """The plan of a batch with these pairs."""
        return BatchPlan(self.src, self.tgt, rows, packed)


def encode_corpus(
    text: ParallelText,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    config: DataConfig,
    reasons: Iterable[str] | None = None,
) -> EncodedCorpus:
    """Encode the pairs and exclude some; pairs in the result and `left_out` sum to all pairs.

    Args:
        config: limits of the number of tokens.
        reasons: why filters of the text exclude each pair, empty for those to keep; None = no such filters.
    """
    src, tgt = src_tokenizer.encode(text.src), tgt_tokenizer.encode(text.tgt)
    left_out: Counter[str] = Counter()
    rows = []
    for i, (s, t, reason) in enumerate(zip(src, tgt, reasons or [""] * len(text), strict=True)):
        # Lines that `str.strip` empties may still have tokens: an ideographic space, a tab.
        blank = not (text.src[i].strip() and text.tgt[i].strip())
        reason = reason or ("blank" if blank else _filter_reason(len(s), len(t), config))
        if reason:
            left_out[reason] += 1
        else:
            rows.append(i)
    used_src, used_tgt = (Sentences.pack([side[i] for i in rows]) for side in (src, tgt))
    return EncodedCorpus(used_src, used_tgt, np.array(rows, dtype=np.int64), dict(left_out))


def _filter_reason(src: int, tgt: int, config: DataConfig) -> str:
    """The reason for filtering out a pair with these numbers of tokens; empty to keep it."""
    if not src or not tgt:
        return "blank"
    # EOS takes one position.
    if max(src, tgt) + 1 > config.max_length:
        return "too long"
    ratio = config.filters.length_ratio
    # The ratio of very short pairs is not informative.
    if ratio and max(src, tgt) > ratio * min(src, tgt) and max(src, tgt) > 10:
        return "length ratio"
    return ""


def index_path(directory: Path, name: str) -> Path:
    """The index of the store `name`, which has the hashes of its inputs; without it there is no store."""
    return directory / f"{name}.{INDEX}"


def save_corpus(corpus: EncodedCorpus, directory: Path, name: str, key: dict[str, str]) -> None:
    """Write the store `name` into `directory`, replacing an older one. Raises: DiskError."""
    durable.make_directory(directory)
    index_path(directory, name).unlink(missing_ok=True)  # a partly replaced store must have no index
    hashes = {}
    for file, array in _arrays(corpus, name).items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        durable.write_bytes(directory / file, buffer.getvalue())
        hashes[file] = durable.sha256(buffer.getbuffer())
    index = {"key": key, "left_out": corpus.left_out, "pairs": len(corpus), "sha256": hashes}
    durable.write_json(index_path(directory, name), index)


def load_corpus(directory: Path, name: str, key: dict[str, str] | None) -> EncodedCorpus | None:
    """Memory-map the store `name`; None if there is none or it was built from other inputs.

    Args:
        key: hashes of the inputs. None accepts any store, also one of an older version without `lines`.

    Raises:
        CheckpointError: the store matches `key` but is damaged.
    """
    try:
        index = json.loads(read_bounded(index_path(directory, name), MAX_INDEX_BYTES))
        if key is not None and index["key"] != key:
            return None
        files = [f"{name}.{part}.npy" for part in PARTS]
        files = [file for file in files if key is not None or file in index["sha256"]]
        arrays = [_map_array(directory / file) for file in files]
        for file in files:
            if durable.sha256_file(directory / file) != index["sha256"][file]:
                raise ValueError(f"{file} does not match its SHA-256")
        left_out = {str(reason): int(count) for reason, count in index["left_out"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise CheckpointError(
            f"{directory}: the encoded corpus is damaged ({error})", hint=f"delete {directory} and run again"
        ) from None
    return EncodedCorpus(
        Sentences(arrays[0], np.asarray(arrays[1])),
        Sentences(arrays[2], np.asarray(arrays[3])),
        np.asarray(arrays[4]) if len(arrays) == len(PARTS) else np.empty(0, dtype=np.int64),
        left_out,
    )


def _map_array(path: Path) -> NDArray[Any]:
    """Memory-map an array. Raises: OSError; ValueError: no array, or one that its file has not the size of."""
    require_regular(path)
    size = path.stat().st_size
    if size > MAX_ARRAY_BYTES:  # before its content is hashed
        raise ValueError(f"{path.name} has more than {MAX_ARRAY_BYTES:,} bytes")
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if size > array.nbytes + MAX_HEADER_BYTES:
        raise ValueError(f"{path.name} is larger than its array")
    return array


def _arrays(corpus: EncodedCorpus, name: str) -> dict[str, NDArray[Any]]:
    arrays = (corpus.src.tokens, corpus.src.offsets, corpus.tgt.tokens, corpus.tgt.offsets, corpus.lines)
    return {f"{name}.{part}.npy": array for part, array in zip(PARTS, arrays, strict=True)}
