"""The encoded corpus on disk: for each side, one flat array of token ids and one of offsets, memory-mapped.

`STORE.json` is written last and has the hashes of the inputs. A store of other inputs is rebuilt.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
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
LENGTHS_PART = 1 << 17
"""Sentences whose lengths are read at a time."""
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
        reason = reason or ("blank" if blank else length_reason(len(s), len(t), config))
        if reason:
            left_out[reason] += 1
        else:
            rows.append(i)
    used_src, used_tgt = (Sentences.pack([side[i] for i in rows]) for side in (src, tgt))
    return EncodedCorpus(used_src, used_tgt, np.array(rows, dtype=np.int64), dict(left_out))


def length_reason(src: int, tgt: int, config: DataConfig, *, tagged: bool = False) -> str:
    """The reason for filtering out a pair with these numbers of tokens; empty to keep it.

    `tagged`: the source gets a tag in addition.
    """
    if not src or not tgt:
        return "blank"
    # EOS takes one position.
    if max(src + tagged, tgt) + 1 > config.max_length:
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
    with CorpusWriter(directory, name) as writer:
        writer.add(corpus.src.tokens, corpus.src.lengths, corpus.tgt.tokens, corpus.tgt.lengths, corpus.lines)
        writer.finish(key, corpus.left_out)


class CorpusWriter:
    """Writes a store part by part. Its files get their names together, when they are complete."""

    def __init__(self, directory: Path, name: str) -> None:
        """Raises: DiskError."""
        durable.make_directory(directory)
        self.directory, self.name, self.pairs = directory, name, 0
        types = (np.int32, np.int64, np.int32, np.int64, np.int64)
        self._files = [
            _ArrayFile(directory / f"{name}.{part}.npy", dtype) for part, dtype in zip(PARTS, types, strict=True)
        ]
        self._ends = [0, 0]
        for file in (self._files[1], self._files[3]):
            file.append(np.zeros(1))

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.discard()

    def add(
        self,
        src_tokens: NDArray[Any],
        src_lengths: NDArray[Any],
        tgt_tokens: NDArray[Any],
        tgt_lengths: NDArray[Any],
        lines: NDArray[Any],
    ) -> None:
        """Append pairs: the tokens of each side, each sentence with its EOS; their numbers; rows in the text.

        Raises:
            DiskError
        """
        for side, (tokens, lengths) in enumerate(((src_tokens, src_lengths), (tgt_tokens, tgt_lengths))):
            ends = self._ends[side] + np.cumsum(lengths, dtype=np.int64)
            self._files[2 * side].append(tokens)
            self._files[2 * side + 1].append(ends)
            self._ends[side] = int(ends[-1]) if len(ends) else self._ends[side]
        self._files[4].append(lines)
        self.pairs += len(lines)

    def finish(self, key: dict[str, str], left_out: dict[str, int]) -> None:
        """Complete the store, which replaces an older one. Raises: DiskError."""
        hashes = {file.path.name: file.complete() for file in self._files}
        index_path(self.directory, self.name).unlink(missing_ok=True)  # a partly replaced store must have no index
        for file in self._files:
            file.publish()
        durable.sync_directory(self.directory)
        index = {"key": key, "left_out": left_out, "pairs": self.pairs, "sha256": hashes}
        durable.write_json(index_path(self.directory, self.name), index)


class _ArrayFile:
    """A flat array that is written to a temporary file in the format of `numpy.save`."""

    def __init__(self, path: Path, dtype: type) -> None:
        self.path, self.dtype, self.count = path, np.dtype(dtype), 0
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}{durable.TEMPORARY}")
        with durable.as_disk_error(path, 0):
            self.temporary.unlink(missing_ok=True)  # it may be a link
            self._stream = self.temporary.open("xb")
            self._write_header()

    def append(self, values: NDArray[Any]) -> None:
        content = np.ascontiguousarray(values, dtype=self.dtype)
        with durable.as_disk_error(self.path, (self.count + len(content)) * self.dtype.itemsize):
            self._stream.write(content.data)
        self.count += len(content)

    def complete(self) -> str:
        """Write the final header and sync. Returns: the SHA-256 of the file."""
        with durable.as_disk_error(self.path, self.count * self.dtype.itemsize):
            self._stream.seek(0)
            self._write_header()
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
        return durable.sha256_file(self.temporary)

    def publish(self) -> None:
        with durable.as_disk_error(self.path, 0):
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Remove what was not published."""
        self._stream.close()
        self.temporary.unlink(missing_ok=True)

    def _write_header(self) -> None:
        """The header has room for any number of values, so that its size does not change."""
        dtype = np.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": dtype, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._stream, header)


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
        with ThreadPoolExecutor(len(files)) as threads:
            hashes = list(threads.map(durable.sha256_file, [directory / file for file in files]))
        for file, found in zip(files, hashes, strict=True):
            if found != index["sha256"][file]:
                raise ValueError(f"{file} does not match its SHA-256")
        left_out = {str(reason): int(count) for reason, count in index["left_out"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise CheckpointError(
            f"{directory}: the encoded corpus is damaged ({error})", hint=f"delete {directory} and run again"
        ) from None
    return EncodedCorpus(
        Sentences(arrays[0], arrays[1], _lengths(directory / files[1])),
        Sentences(arrays[2], arrays[3], _lengths(directory / files[3])),
        arrays[4] if len(arrays) == len(PARTS) else np.empty(0, dtype=np.int64),
        left_out,
    )


def _lengths(offsets: Path) -> NDArray[np.int32]:
    """The differences of stored offsets, read in parts: mapped pages would count as memory of the process."""
    with offsets.open("rb") as stream:
        shape = np.lib.format.read_array_header_1_0(stream)[0] if np.lib.format.read_magic(stream) else ()
        lengths = np.empty(shape[0] - 1, dtype=np.int32)
        last = np.fromfile(stream, dtype=np.int64, count=1)
        for start in range(0, len(lengths), LENGTHS_PART):
            part = np.fromfile(stream, dtype=np.int64, count=LENGTHS_PART)
            lengths[start : start + len(part)] = np.diff(part, prepend=last)
            last = part[-1:]
    return lengths


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
