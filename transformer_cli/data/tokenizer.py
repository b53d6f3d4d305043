"""SentencePiece (Kudo and Richardson 2018): raw text to ids and back, trained on the corpus itself.

Ids 0 to 3 are `pad unk bos eos` (see `batch`). The text is not normalised, so what the model says is
what the reader gets; with byte fallback every character can be said.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece as spm

from transformer_cli.batch import BOS, EOS, PAD, UNK, TokenIds
from transformer_cli.schema import TokenizerConfig
from transformer_cli.durable import sha256
from transformer_cli.errors import CheckpointError, ConfigError, DataError

TRAINING_LINES = 2_000_000
"""SentencePiece samples this many lines at most; more change the pieces little and cost memory."""
MAX_MODEL_BYTES = 64 << 20
SEGMENTATIONS = 16
"""Of a line, among which `sample` draws."""


class Tokenizer:
    """One vocabulary. Text in, ids out, and back."""

    def __init__(self, model: bytes, origin: str = "tokenizer") -> None:
        self.model = model
        self._processor = spm.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, UnicodeDecodeError):  # the second where its message quotes what it read
            raise CheckpointError(f"{origin}: not a SentencePiece model") from None
        p = self._processor
        if (p.pad_id(), p.unk_id(), p.bos_id(), p.eos_id()) != (PAD, UNK, BOS, EOS):
            raise CheckpointError(
                f"{origin}: its special ids are not pad 0, unk 1, bos 2, eos 3",
                hint="train one with: transformer-cli tokenizer train",
            )

    @staticmethod
    def load(path: Path) -> Tokenizer:
        """Raises: CheckpointError if the file is missing or no SentencePiece model of ours."""
        try:
            if path.stat().st_size > MAX_MODEL_BYTES:
                raise CheckpointError(f"{path}: larger than {MAX_MODEL_BYTES} bytes; this is no tokenizer")
            return Tokenizer(path.read_bytes(), str(path))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None

    @property
    def vocab_size(self) -> int:
        return int(self._processor.GetPieceSize())

    @property
    def hash(self) -> str:
        """SHA-256 of the model: the name of this vocabulary."""
        return sha256(self.model)

    @property
    def vocabulary(self) -> list[str]:
        """What each id stands for, as other programs want it written down."""
        return [str(self._processor.IdToPiece(i)) for i in range(self.vocab_size)]

    def encode(self, lines: Sequence[str]) -> list[TokenIds]:
        """Each line -> ids, without BOS and EOS."""
        encoded = self._processor.EncodeAsIds(list(lines), num_threads=os.cpu_count() or 1)
        return [np.array(ids, dtype=np.int64) for ids in encoded]

    def sample(self, lines: Sequence[str], alpha: float, seed: int) -> list[TokenIds]:
        """Each line -> ids of one of its likeliest segmentations, drawn at random; the same seed draws the same.

        A segmentation of probability p is drawn in proportion to p ** alpha (Kudo 2018, section 3.3). SentencePiece
        draws too, but not the same in another process.

        Raises:
            ConfigError: a vocabulary that has one segmentation only.
        """
        p = self._processor
        scores = [p.GetScore(i) for i in range(self.vocab_size)]
        drawn = []
        for line, draw in zip(lines, np.random.default_rng(seed).random(len(lines)), strict=True):
            try:
                found = p.NBestEncodeAsIds(line, SEGMENTATIONS)
            except RuntimeError as error:
                raise ConfigError(
                    f"data.subword_sampling: this tokenizer has no other segmentations ({str(error).strip()})",
                    hint="it takes a unigram vocabulary (tokenizer.model_type)",
                ) from None
            chances = alpha * np.array([sum(scores[i] for i in ids) for ids in found])
            weights = np.exp(chances - chances.max()).cumsum() if found else np.ones(1)
            chosen = int(np.searchsorted(weights, draw * weights[-1], side="right"))
            drawn.append(np.array(found[min(chosen, len(found) - 1)] if found else [], dtype=np.int64))
        return drawn

    def decode(self, sentences: Sequence[TokenIds]) -> list[str]:
        """Ids -> detokenised text; special ids say nothing."""
        return list(self._processor.DecodeIds([[int(i) for i in ids] for ids in sentences]))

    def token_bytes(self) -> list[bytes]:
        """The bytes that each id stands for in a text; a space where a word begins; nothing for special ids."""
        p = self._processor
        return [
            b""
            if p.IsControl(i) or p.IsUnknown(i)
            else bytes([int(piece[3:-1], 16)])
            if p.IsByte(i)
            else piece.replace("▁", " ").encode()
            for i, piece in enumerate(self.vocabulary)
        ]


def train_tokenizer(
    lines: Iterable[str], config: TokenizerConfig, seed: int = 1
) -> tuple[Tokenizer, list[str]]:
    """Learn a vocabulary from text.

    Returns:
        The tokenizer, and what had to be changed to make it possible, in sentences for the user.

    Raises:
        DataError: there is no text, or a vocabulary of that size cannot even hold the characters.
    """
    text = [line for line in lines if line.strip()]
    if not text:
        raise DataError("the tokenizer has no text to learn from: every line is blank")
    wanted = config.vocab_size
    try:
        tokenizer = Tokenizer(_train(text, config, wanted, seed))
    except RuntimeError as error:
        possible = re.search(r"value <= (\d+)", str(error))
        if not possible:
            raise _explain(error, wanted) from None
        tokenizer = Tokenizer(_train(text, config, int(possible[1]), seed))
    size = tokenizer.vocab_size
    if size == wanted:
        return tokenizer, []
    return tokenizer, [f"vocabulary lowered from {wanted} to {size}: the corpus has no more pieces"]


def _explain(error: RuntimeError, wanted: int) -> DataError:
    needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    if needed or "vocab_size" in str(error):
        number = f"{needed[1]} " if needed else ""
        return DataError(
            f"tokenizer.vocab_size {wanted} cannot hold the {number}characters and bytes of the corpus",
            hint="raise tokenizer.vocab_size, or turn tokenizer.byte_fallback off (it takes 256 pieces)",
        )
    return DataError(f"the tokenizer cannot be trained: {str(error).splitlines()[-1]}")


def _train(text: list[str], config: TokenizerConfig, vocab_size: int, seed: int) -> bytes:
    spm.set_random_generator_seed(seed)
    writer = io.BytesIO()
    spm.SentencePieceTrainer.Train(
        sentence_iterator=iter(text),
        model_writer=writer,
        model_type=config.model_type,
        vocab_size=vocab_size,
        character_coverage=config.character_coverage,
        # A vocabulary that cannot be filled ends smaller instead of failing (bpe says how large it can be).
        hard_vocab_limit=config.model_type == "bpe",
        byte_fallback=config.byte_fallback,
        normalization_rule_name="identity",
        input_sentence_size=TRAINING_LINES,
        shuffle_input_sentence=True,
        max_sentence_length=1 << 16,
        pad_id=PAD,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        num_threads=1,
        minloglevel=2,
    )
    return writer.getvalue()
