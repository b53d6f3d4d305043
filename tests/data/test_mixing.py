"""Each file has its share of every epoch, and the pairs of an epoch depend on nothing but seed and epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import toy_pairs

from transformer_cli.data.corpus import ParallelText, TextFile
from transformer_cli.data.mixing import MixedCorpora, files_of_pairs, pairs_per_file
from transformer_cli.data.store import EncodedCorpus, encode_corpus
from transformer_cli.data.tokenizer import train_tokenizer
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.schema import TokenizerConfig
from transformer_cli.schema.data import DataConfig, MixingConfig

SIZES = (10, 40, 150)


def text_of(sizes: tuple[int, ...] = SIZES) -> ParallelText:
    pairs = toy_pairs(sum(sizes))
    files = [TextFile(Path(f"{i}.en"), size, range(1, size + 1)) for i, size in enumerate(sizes)]
    return ParallelText([s for s, _ in pairs], [t for _, t in pairs], files=files)


def encoded(text: ParallelText) -> EncodedCorpus:
    tokenizer, _ = train_tokenizer(text.src + text.tgt, TokenizerConfig(vocab_size=350))
    return encode_corpus(text, tokenizer, tokenizer, DataConfig())


def mixed(seed: int = 1, **options: Any) -> tuple[MixedCorpora, EncodedCorpus]:
    text = text_of()
    plain = encoded(text)
    files = files_of_pairs(text, plain.lines)
    return MixedCorpora(lambda epoch: plain, files, pairs_per_file(MixingConfig(**options), text, files), seed), plain


def counts(corpus: EncodedCorpus) -> list[int]:
    return np.bincount(np.searchsorted(np.cumsum(SIZES), corpus.lines, side="right"), minlength=3).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [10, 40, 150]),
        ({"weights": [1, 1, 2]}, [50, 50, 100]),
        ({"weights": [0, 1, 1]}, [0, 100, 100]),
        ({"weights": [0, 0, 3]}, [0, 0, 200]),
        ({"temperature": 100.0}, [66, 67, 67]),
        ({"temperature": 2.0}, [29, 57, 114]),
    ],
)
def test_shares_of_an_epoch(options: dict[str, Any], expected: list[int]) -> None:
    corpora, plain = mixed(**options)
    corpus = corpora(3)
    assert len(corpus) == len(plain) == 200
    assert np.allclose(counts(corpus), expected, atol=1) and sum(counts(corpus)) == 200


def test_a_small_file_is_repeated_evenly_and_a_large_one_is_sampled_without_repetition() -> None:
    corpora, _ = mixed(weights=[1, 1, 2])
    lines = corpora(0).lines.tolist()
    times = [lines.count(i) for i in range(200)]
    assert set(times[:10]) == {5} and set(times[10:50]) == {1, 2} and set(times[50:]) == {0, 1}


def test_an_epoch_depends_only_on_seed_and_number() -> None:
    first, second = (mixed(weights=[1, 1, 2])[0](0).lines.tolist() for _ in range(2))
    corpora, plain = mixed(weights=[1, 1, 2])
    assert first == second == corpora(0).lines.tolist() != corpora(1).lines.tolist()
    assert first != mixed(2, weights=[1, 1, 2])[0](0).lines.tolist()
    corpus = corpora(1)
    for i in (0, 77, 199):
        row = int(np.flatnonzero(plain.lines == corpus.lines[i])[0])
        assert np.array_equal(corpus.src[i], plain.src[row]) and np.array_equal(corpus.tgt[i], plain.tgt[row])


def test_held_out_pairs_do_not_shift_the_files() -> None:
    text = text_of()
    rest = text.select([i for i in range(200) if i not in (3, 12, 13, 199)])
    files = files_of_pairs(rest, np.arange(len(rest)))
    assert np.bincount(files).tolist() == [9, 38, 149]


def test_impossible_shares_are_refused() -> None:
    text = text_of()
    files = files_of_pairs(text, np.arange(200))
    with pytest.raises(ConfigError, match="has 2 numbers, the corpus has 3 files"):
        pairs_per_file(MixingConfig(weights=(1, 2)), text, files)
    with pytest.raises(DataError, match=r"1\.en: no pair is left"):
        pairs_per_file(MixingConfig(weights=(1, 2, 1)), text, files[files != 1])
    with pytest.raises(ValueError, match="above 0"):
        MixingConfig(weights=(0, 0))
    with pytest.raises(ValueError, match="cannot be combined"):
        MixingConfig(weights=(1, 1), temperature=5.0)
