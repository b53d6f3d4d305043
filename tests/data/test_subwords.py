from __future__ import annotations

import numpy as np
import pytest
from conftest import toy_pairs

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.subwords import SampledCorpus
from transformer_cli.data.store import EncodedCorpus, encode_corpus
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.errors import ConfigError
from transformer_cli.schema import DataConfig, TokenizerConfig

PAIRS = toy_pairs(60)
TEXT = ParallelText([s for s, _ in PAIRS] + [""], [t for _, t in PAIRS] + ["x"])


def sampled(model_type: str, alpha: float, max_length: int = 100) -> tuple[SampledCorpus, Tokenizer]:
    config = TokenizerConfig(vocab_size=350, model_type=model_type)  # type: ignore[arg-type]
    tokenizer, _ = train_tokenizer(TEXT.src + TEXT.tgt, config)
    plain = encode_corpus(TEXT, tokenizer, tokenizer, DataConfig(max_length=max_length))
    return SampledCorpus(TEXT, plain, (tokenizer, tokenizer), alpha, max_length, seed=1), tokenizer


def ids(corpus: EncodedCorpus) -> list[list[int]]:
    return [side[i].tolist() for side in (corpus.src, corpus.tgt) for i in range(len(corpus))]


@pytest.mark.parametrize(("model_type", "alpha"), [("unigram", 0.2), ("bpe", 0.3)])
def test_other_pieces_each_epoch_and_the_same_text(model_type: str, alpha: float) -> None:
    corpora, tokenizer = sampled(model_type, alpha)
    first, second = corpora(0), corpora(1)
    for corpus in (first, second):
        said = tokenizer.decode([corpus.src[i][:-1] for i in range(len(corpus))])
        assert said == [s for s, _ in PAIRS]
        assert np.array_equal(corpus.lines, np.arange(60))
    assert ids(first) != ids(second) and ids(first) != ids(corpora.plain)
    # A function of the epoch alone, whatever was drawn in between.
    assert ids(corpora(0)) == ids(first) and ids(sampled(model_type, alpha)[0](1)) == ids(second)


def test_an_overlong_draw_becomes_the_likeliest_segmentation() -> None:
    corpora, _ = sampled("unigram", 0.01)
    longest = int(corpora.plain.src.lengths.max())
    bounded, _ = sampled("unigram", 0.01, max_length=longest)
    drawn = bounded(0)
    assert corpora(0).src.lengths.max() > longest >= drawn.src.lengths.max()
    assert any(np.array_equal(drawn.src[i], bounded.plain.src[i]) for i in range(len(drawn)))


def test_a_vocabulary_of_letters_draws_nothing() -> None:
    with pytest.raises(ConfigError, match="subword_sampling"):
        sampled("char", 0.2)[0](0)


def test_smaller_alpha_is_wilder() -> None:
    lengths = [int(sampled("unigram", alpha)[0](0).src.lengths.sum()) for alpha in (0.05, 0.5)]
    plain = int(sampled("unigram", 0.5)[0].plain.src.lengths.sum())
    assert lengths[0] > 1.1 * lengths[1] and lengths[1] >= plain
