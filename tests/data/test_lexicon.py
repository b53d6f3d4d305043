from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import toy_pairs

from transformer_cli.batch import (Sentences)
from transformer_cli.token_ids import (BOS, EOS, PAD, UNK)
from transformer_cli.data import lexicon as module
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.lexicon import Lexicon, build_lexicon, load_lexicon, save_lexicon
from transformer_cli.data.store import EncodedCorpus, encode_corpus
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.schema.data import DataConfig
from transformer_cli.schema import TokenizerConfig


@pytest.fixture(scope="module")
def corpus() -> tuple[Tokenizer, EncodedCorpus]:
    text = ParallelText(*(list(side) for side in zip(*toy_pairs(300), strict=True)))
    config = TokenizerConfig(vocab_size=120, byte_fallback=False)
    tokenizer, _ = train_tokenizer(text.src + text.tgt, config)
    return tokenizer, encode_corpus(text, tokenizer, tokenizer, DataConfig())


def make_lexicon(corpus: tuple[Tokenizer, EncodedCorpus], size: int) -> Lexicon:
    tokenizer, encoded = corpus
    return build_lexicon(encoded, tokenizer.vocab_size, tokenizer.vocab_size, size, joint=True)


def test_translations_are_learned_independently_of_word_order() -> None:
    rng = np.random.default_rng(0)
    sources = [rng.integers(4, 24, rng.integers(1, 9)) for _ in range(200)]
    targets = [rng.permutation(source) + 20 for source in sources]  # below, each gets a word without a source word
    corpus = EncodedCorpus(
        Sentences.pack(sources), Sentences.pack([np.append(t, 45) for t in targets]), np.arange(200), {}
    )
    lexicon = build_lexicon(corpus, 50, 50, 2, joint=False)
    assert lexicon.table[4:24, 0].tolist() == list(range(24, 44))
    assert (lexicon.table[24:, 0] == -1).all()  # not in any source sentence
    assert lexicon.frequent[0] == 45


def test_shortlist_has_the_tokens_of_the_translation(corpus: tuple[Tokenizer, EncodedCorpus]) -> None:
    tokenizer, encoded = corpus
    lexicon = make_lexicon(corpus, 4)
    shortlist = lexicon.shortlist(encoded.src[0][:-1])
    assert shortlist.tolist() == sorted(set(shortlist.tolist()))
    assert {PAD, UNK, BOS, EOS} <= set(shortlist.tolist())
    assert set(encoded.src[0].tolist()) | set(encoded.tgt[0].tolist()) <= set(shortlist.tolist())
    unseen = int(np.flatnonzero(lexicon.table[:, 0] < 0)[-1])
    assert len(lexicon.shortlist(np.array([unseen]))) == tokenizer.vocab_size


def test_large_corpora_are_subsampled(
    corpus: tuple[Tokenizer, EncodedCorpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = make_lexicon(corpus, 4)
    monkeypatch.setattr(module, "ENTRIES", 5_000)
    subsampled = make_lexicon(corpus, 4)
    assert not np.array_equal(full.table, subsampled.table)
    assert (subsampled.table[:, 0] >= 0).sum() > 20


def test_cache_is_used_only_for_the_same_corpus(corpus: tuple[Tokenizer, EncodedCorpus], tmp_path: Path) -> None:
    lexicon, size = make_lexicon(corpus, 4), corpus[0].vocab_size
    save_lexicon(lexicon, tmp_path, "a")
    cached = load_lexicon(tmp_path, "a", joint=True, tgt_vocab=size)
    assert cached is not None and np.array_equal(cached.table, lexicon.table)
    assert load_lexicon(tmp_path, "b", joint=True, tgt_vocab=size) is None
    assert load_lexicon(tmp_path, "a", joint=True, tgt_vocab=5) is None
    (tmp_path / module.FILE).write_bytes(b"junk")
    assert load_lexicon(tmp_path, "a", joint=True, tgt_vocab=size) is None
