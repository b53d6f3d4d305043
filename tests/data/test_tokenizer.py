from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import toy_pairs

from transformer_cli.data import tokenizer as module
from transformer_cli.data.tokenizer import Tokenizer, sample_lines, train_tokenizer
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


@pytest.mark.parametrize("count", [0, 1, 5, 1000])
def test_a_sample_has_all_lines_of_a_small_text_and_a_fixed_part_of_a_large_one(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLE_PART", 7)
    lines = [str(i) for i in range(count)]
    assert sample_lines(iter(lines), 1000, seed=1) == lines
    sample = sample_lines(iter(lines), 5, seed=1)
    assert len(sample) == min(5, count) and sample == sorted(set(sample), key=int)
    assert sample == sample_lines(iter(lines), 5, seed=1)
    assert count < 1000 or sample != sample_lines(iter(lines), 5, seed=2)


def test_every_line_is_as_likely_in_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_PART", 3)
    lines = [str(i) for i in range(40)]
    drawn = Counter(line for seed in range(1000) for line in sample_lines(lines, 10, seed))
    assert drawn.total() == 10_000 and 200 < min(drawn.values()) and max(drawn.values()) < 300


def test_the_flat_encoding_is_the_plain_one() -> None:
    model, _ = train_tokenizer(TEXT, TokenizerConfig(vocab_size=350))
    lines = [*TEXT[:9], "", "\u3000 x"]
    tokens, lengths = model.encode_flat(lines)
    plain = model.encode(lines)
    assert lengths.tolist() == list(map(len, plain)) and tokens.tolist() == [i for ids in plain for i in ids]


def test_a_vocabulary_of_a_large_text_is_learned_from_its_sample() -> None:
    config = TokenizerConfig(vocab_size=350, max_lines=1000)
    text = [f"{line} {i}" for i, line in enumerate(TEXT * 40)]
    assert len(text) > 1000
    sample = sample_lines(text, 1000, seed=3)
    assert train_tokenizer(iter(text), config, seed=3)[0].hash == train_tokenizer(sample, config, seed=3)[0].hash
