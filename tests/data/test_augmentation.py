from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, toy_pairs

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.noise import SourceNoise
from transformer_cli.data.store import EncodedCorpus, encode_corpus
from transformer_cli.data.augmentation import AugmentedCorpus
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.errors import ConfigError
from transformer_cli.schema.data import DataConfig
from transformer_cli.schema import TokenizerConfig

PAIRS = toy_pairs(60)
TEXT = ParallelText([s for s, _ in PAIRS] + [""], [t for _, t in PAIRS] + ["x"])


def sampled(model_type: str, alpha: float, max_length: int = 100) -> tuple[AugmentedCorpus, Tokenizer]:
    config = TokenizerConfig(vocab_size=350, model_type=model_type)  # type: ignore[arg-type]
    tokenizer, _ = train_tokenizer(TEXT.src + TEXT.tgt, config)
    plain = encode_corpus(TEXT, tokenizer, tokenizer, DataConfig(max_length=max_length))
    return AugmentedCorpus(TEXT, plain, (tokenizer, tokenizer), alpha, max_length, seed=1), tokenizer


def ids(corpus: EncodedCorpus) -> list[list[int]]:
    return [side[i].tolist() for side in (corpus.src, corpus.tgt) for i in range(len(corpus))]


def test_each_epoch_has_new_segmentations_of_the_same_text() -> None:
    corpora, tokenizer = sampled("unigram", 0.2)
    first, second = corpora(0), corpora(1)
    for corpus in (first, second):
        decoded = tokenizer.decode([corpus.src[i][:-1] for i in range(len(corpus))])
        assert decoded == [s for s, _ in PAIRS]
        assert np.array_equal(corpus.lines, np.arange(60))
    assert ids(first) != ids(second) and ids(first) != ids(corpora.plain)
    # The corpus depends only on the epoch, not on earlier draws.
    assert ids(corpora(0)) == ids(first) and ids(sampled("unigram", 0.2)[0](1)) == ids(second)


def test_overlong_samples_are_replaced_by_the_best_segmentation() -> None:
    corpora, _ = sampled("unigram", 0.01)
    longest = int(corpora.plain.src.lengths.max())
    bounded, _ = sampled("unigram", 0.01, max_length=longest)
    corpus = bounded(0)
    assert corpora(0).src.lengths.max() > longest >= corpus.src.lengths.max()
    assert any(np.array_equal(corpus.src[i], bounded.plain.src[i]) for i in range(len(corpus)))


@pytest.mark.parametrize("model_type", ["char", "bpe"])
def test_sampling_needs_a_unigram_vocabulary(model_type: str) -> None:
    with pytest.raises(ConfigError, match="subword_sampling"):
        sampled(model_type, 0.2)[0](0)


def test_segmentations_are_sampled_by_probability() -> None:
    """alpha 0 samples the 16 best segmentations uniformly, a large alpha only the best one."""
    _, tokenizer = sampled("unigram", 0.2)
    line = PAIRS[0][0]
    samples = [tokenizer.sample([line] * 400, alpha, seed=1) for alpha in (0.0, 100.0)]
    distinct = [{tuple(s.tolist()) for s in sentences} for sentences in samples]
    assert len(distinct[0]) == 16
    assert distinct[1] == {tuple(tokenizer.encode([line])[0].tolist())}
    assert [len(s) for s in tokenizer.sample(["", " "], 0.2, 1)] == [0, 0]


CODE = """
import sys
sys.path[:0] = ["tests", "tests/data"]
from test_augmentation import digest
print(digest())
"""


def digest() -> str:
    return hashlib.sha256(repr(ids(sampled("unigram", 0.2)[0](3))).encode()).hexdigest()


def test_samples_are_the_same_in_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode().strip() == digest()


def test_noise_changes_only_the_source_and_depends_only_on_the_epoch() -> None:
    corpora, tokenizer = sampled("bpe", 0.0)
    noisy = replace(corpora, noise=SourceNoise(0.5, ["typing"]))
    first, second = noisy(0), noisy(1)
    sources = [tokenizer.decode([c.src[i][:-1] for i in range(len(c))]) for c in (first, second)]
    for changed in sources:
        assert 10 < sum(a != b for a, (b, _) in zip(changed, PAIRS, strict=True)) < 50
    assert sources[0] != sources[1] and ids(noisy(0)) == ids(first)
    assert all(np.array_equal(first.tgt[i], corpora.plain.tgt[i]) for i in range(len(first)))
    both = replace(sampled("unigram", 0.2)[0], noise=SourceNoise(0.5, ["case"]))(0)
    assert ids(both) != ids(sampled("unigram", 0.2)[0](0))
