from __future__ import annotations

from pathlib import Path

import pytest
from conftest import toy_pairs

from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.errors import CheckpointError, DataError
from transformer_cli.schema import TokenizerConfig

TEXT = [line for pair in toy_pairs(200) for line in pair]


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_decoding_restores_the_text(model_type: str, byte_fallback: bool) -> None:
    config = TokenizerConfig(vocab_size=400, model_type=model_type, byte_fallback=byte_fallback)  # type: ignore[arg-type]
    tokenizer, _ = train_tokenizer(TEXT, config)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.decode(tokenizer.encode([""])) == [""]
    unseen = "Ω 漢字 😀"
    assert (tokenizer.decode(tokenizer.encode([unseen])) == [unseen]) == byte_fallback


def test_text_never_encodes_to_special_ids() -> None:
    tokenizer, _ = train_tokenizer(TEXT, TokenizerConfig(vocab_size=400))
    ids = {int(i) for s in tokenizer.encode([*TEXT, "<s> </s> <pad> 漢"]) for i in s}
    assert not ids & {0, 1, 2, 3}


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char"])
def test_too_large_a_vocabulary_is_lowered_with_a_note(model_type: str) -> None:
    config = TokenizerConfig(vocab_size=50_000, model_type=model_type)  # type: ignore[arg-type]
    tokenizer, notes = train_tokenizer(TEXT, config)
    assert tokenizer.vocab_size < 2000
    assert len(notes) == 1 and "50000" in notes[0] and str(tokenizer.vocab_size) in notes[0]


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char"])
def test_too_small_a_vocabulary_is_rejected(model_type: str) -> None:
    with pytest.raises(DataError, match="vocab_size 10"):
        train_tokenizer(TEXT, TokenizerConfig(vocab_size=10, model_type=model_type))  # type: ignore[arg-type]


def test_training_is_deterministic() -> None:
    first, second = (train_tokenizer(TEXT, TokenizerConfig(vocab_size=350))[0] for _ in range(2))
    assert first.hash == second.hash


def test_other_files_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Tokenizer.load(tmp_path / "none")
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        Tokenizer.load(tmp_path / "junk")
    with pytest.raises(DataError, match="blank"):
        train_tokenizer(["", " "], TokenizerConfig())
