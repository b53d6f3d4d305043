"""SentencePiece subword tokenizer (Kudo and Richardson 2018), trained on the raw corpus.

Ids 0 to 3 are `pad unk bos eos` (see `batch`). The text is not normalized, so decoding restores it exactly.
With byte fallback every character can be encoded.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, cycle, islice
from pathlib import Path

import numpy as np
import sentencepiece as spm
from numpy.typing import NDArray

from transformer_cli.data.directions import TAG, tag_of
from transformer_cli.data.parallel import native_threads
from transformer_cli.token_ids import (BOS, EOS, PAD, UNK, TokenIds)
from transformer_cli.durable import sha256
from transformer_cli.errors import CheckpointError, ConfigError, DataError
from transformer_cli.schema import TokenizerConfig
from transformer_cli.untrusted import read_bounded

INPUT_SENTENCE_SIZE = 2_000_000
"""SentencePiece's own limit, which it writes into the model: constant, so that equal texts give equal models."""
SAMPLE_PART = 1 << 14
"""Lines that are sampled at a time."""
MAX_MODEL_BYTES = 64 << 20
"""Size limit of a model file."""
N_BEST = 16
"""Number of segmentations of a line from which `sample` draws."""


class Tokenizer:
    """A SentencePiece model: encodes text to token ids and decodes them.

    Args:
        model: the serialized model.
        origin: its file, for error messages.

    Raises:
        CheckpointError: not a SentencePiece model, or one with other special ids.
    """

    def __init__(self, model: bytes, origin: str = "tokenizer") -> None:
        self.model = model
        self._processor = spm.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, UnicodeDecodeError):  # UnicodeDecodeError: the message quotes invalid bytes
            raise CheckpointError(f"{origin}: not a SentencePiece model") from None
        p = self._processor
        if (p.pad_id(), p.unk_id(), p.bos_id(), p.eos_id()) != (PAD, UNK, BOS, EOS):
            raise CheckpointError(
                f"{origin}: its special ids are not pad 0, unk 1, bos 2, eos 3",
                hint="train one with: transformer-cli tokenizer train",
            )

    @staticmethod
    def load(path: Path, *, follow_links: bool = True) -> Tokenizer:
        """Read a model file. Raises: CheckpointError if it is missing or not a usable SentencePiece model."""
        try:
            content = read_bounded(path.resolve() if follow_links else path, MAX_MODEL_BYTES)
            return Tokenizer(content, str(path))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None

    @property
    def vocab_size(self) -> int:
        return int(self._processor.GetPieceSize())

    @property
    def hash(self) -> str:
        """SHA-256 of the model, which identifies the vocabulary."""
        return sha256(self.model)

    @property
    def vocabulary(self) -> list[str]:
        """The token of each id, in SentencePiece's notation (`▁` for a space)."""
        return [str(self._processor.IdToPiece(i)) for i in range(self.vocab_size)]

    @cached_property
    def tags(self) -> dict[str, int]:
        """The tags of target languages: language -> id. They are the ids after EOS.

        They are control symbols of SentencePiece: no text is encoded to them, and decoding skips them.
        """
        tags = {}
        for i in range(EOS + 1, self.vocab_size):
            match = TAG.fullmatch(str(self._processor.IdToPiece(i))) if self._processor.IsControl(i) else None
            if match is None:
                break
            tags[match[1]] = i
        return tags

    def encode(self, lines: Sequence[str]) -> list[TokenIds]:
        """Encode each line to token ids, without BOS and EOS."""
        encoded = self._processor.EncodeAsIds(list(lines), num_threads=native_threads())
        return [np.array(ids, dtype=np.int64) for ids in encoded]

    def encode_flat(self, lines: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Encode lines to the ids of all of them, concatenated `[N]`, and the number of ids of each `[lines]`.

        Without BOS and EOS.
        """
        encoded = self._processor.EncodeAsIds(list(lines), num_threads=native_threads())
        lengths = np.fromiter(map(len, encoded), dtype=np.int32, count=len(encoded))
        tokens = np.fromiter(chain.from_iterable(encoded), dtype=np.int32, count=int(lengths.sum()))
        return tokens, lengths

    def sample(self, lines: Sequence[str], alpha: float, seed: int) -> list[TokenIds]:
        """Encode each line to a segmentation that is sampled from its `N_BEST` likeliest ones.

        A segmentation of probability p is drawn in proportion to p ** alpha (Kudo 2018, section 3.3). The result
        is a function of `seed`; SentencePiece's own sampling is not reproducible across processes.

        Raises:
            ConfigError: not a unigram vocabulary, so that each line has one segmentation only.
        """
        p = self._processor
        scores = [p.GetScore(i) for i in range(self.vocab_size)]
        sampled = []
        for line, uniform in zip(lines, np.random.default_rng(seed).random(len(lines)), strict=True):
            try:
                segmentations = p.NBestEncodeAsIds(line, N_BEST)
            except RuntimeError as error:
                raise ConfigError(
                    f"data.subword_sampling: this tokenizer cannot sample segmentations ({str(error).strip()})",
                    hint="use a unigram vocabulary: tokenizer.model_type=unigram",
                ) from None
            log_weights = alpha * np.array([sum(scores[i] for i in ids) for ids in segmentations])
            cumulative = np.exp(log_weights - log_weights.max()).cumsum() if segmentations else np.ones(1)
            index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
            ids = segmentations[min(index, len(segmentations) - 1)] if segmentations else []
            sampled.append(np.array(ids, dtype=np.int64))
        return sampled

    def decode(self, sentences: Sequence[TokenIds]) -> list[str]:
        """Decode token ids to detokenized text; special ids are skipped."""
        return list(self._processor.DecodeIds([[int(i) for i in ids] for ids in sentences]))

    def token_bytes(self) -> list[bytes]:
        """The bytes of each token in a text: `▁` is a space, special tokens are empty."""
        p = self._processor
        return [
            b""
            if p.IsControl(i) or p.IsUnknown(i)
            else bytes([int(token[3:-1], 16)])
            if p.IsByte(i)
            else token.replace("▁", " ").encode()
            for i, token in enumerate(self.vocabulary)
        ]


def train_tokenizer(
    lines: Iterable[str], config: TokenizerConfig, seed: int = 1, languages: Sequence[str] = ()
) -> tuple[Tokenizer, list[str]]:
    """Train a tokenizer on text.

    Args:
        lines: of which at most `config.max_lines` are used, in a random sample that depends on `seed` only.
        languages: target languages that get a tag; see `Tokenizer.tags`.

    Returns:
        The tokenizer, and notes for the user about a reduced vocabulary size.

    Raises:
        DataError: there is no text, or `vocab_size` is too small for the characters of the text.
    """
    text = sample_lines((line for line in lines if line.strip()), config.max_lines, seed)
    if not text:
        raise DataError("the tokenizer has no text to train on: every line is blank")
    requested = config.vocab_size
    try:
        tokenizer = Tokenizer(_train(text, config, requested, seed, languages))
    except RuntimeError as error:
        maximum = re.search(r"value <= (\d+)", str(error))
        if not maximum:
            raise _explain(error, requested) from None
        tokenizer = Tokenizer(_train(text, config, int(maximum[1]), seed, languages))
    size = tokenizer.vocab_size
    if size == requested:
        return tokenizer, []
    return tokenizer, [f"vocabulary lowered from {requested} to {size}: the corpus does not have more subwords"]


def balance_lines(texts: Sequence[Iterable[str]], count: int, seed: int) -> list[str]:
    """Draw lines of several texts, such as languages: the same number of each, in all at most `count`.

    Shorter texts are repeated to the length of the longest sample. Blank lines are left out.
    """
    limit = max(1, count // max(1, len(texts)))
    samples = [sample_lines((line for line in text if line.strip()), limit, seed) for text in texts]
    longest = max(map(len, samples), default=0)
    return [line for sample in samples if sample for line in islice(cycle(sample), longest)]


def sample_lines(lines: Iterable[str], count: int, seed: int) -> list[str]:
    """Draw at most `count` lines of a stream uniformly at random, in their order: those of the smallest random keys.

    All lines if there are no more; never more than three times `count` are in memory.
    """
    stream, rng = iter(lines), np.random.default_rng(seed)
    kept: list[str] = []
    keys = np.empty(0)
    limit = 1.0
    while part := list(islice(stream, SAMPLE_PART)):
        part_keys = rng.random(len(part))
        chosen = np.flatnonzero(part_keys < limit)
        kept += [part[i] for i in chosen.tolist()]
        keys = np.concatenate([keys, part_keys[chosen]])
        if len(kept) > 2 * count:
            kept, keys, limit = _smallest(kept, keys, count)
    return kept if len(kept) <= count else _smallest(kept, keys, count)[0]


def _smallest(lines: list[str], keys: NDArray[np.float64], count: int) -> tuple[list[str], NDArray[np.float64], float]:
    """The `count` lines with the smallest keys, in their order; their keys; and the largest of these."""
    rows = np.sort(np.argpartition(keys, count - 1)[:count])
    return [lines[i] for i in rows.tolist()], keys[rows], float(keys[rows].max())


def _explain(error: RuntimeError, requested: int) -> DataError:
    """The user's error for a failed training of SentencePiece."""
    required = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    if required or "vocab_size" in str(error):
        number = f"{required[1]} " if required else ""
        return DataError(
            f"tokenizer.vocab_size {requested} is too small for the {number}characters and bytes of the corpus",
            hint="raise tokenizer.vocab_size, or set tokenizer.byte_fallback=false (the bytes take 256 tokens)",
        )
    return DataError(f"the tokenizer cannot be trained: {str(error).splitlines()[-1]}")


def _train(text: list[str], config: TokenizerConfig, vocab_size: int, seed: int, languages: Sequence[str]) -> bytes:
    spm.set_random_generator_seed(seed)
    writer = io.BytesIO()
    spm.SentencePieceTrainer.Train(
        sentence_iterator=iter(text),
        model_writer=writer,
        model_type=config.model_type,
        vocab_size=vocab_size,
        character_coverage=config.character_coverage,
        # unigram and char: a smaller vocabulary instead of an error; bpe: an error with the largest possible size.
        hard_vocab_limit=config.model_type == "bpe",
        byte_fallback=config.byte_fallback,
        normalization_rule_name="identity",
        input_sentence_size=max(INPUT_SENTENCE_SIZE, len(text)),
        shuffle_input_sentence=True,
        max_sentence_length=1 << 16,
        pad_id=PAD,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        num_threads=1,
        minloglevel=2,
        control_symbols=[tag_of(language) for language in languages],
    )
    return writer.getvalue()
