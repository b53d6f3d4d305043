from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transformer_cli.batch import (DataPosition, Sentences, TokenBudget, split_by_budget)
from transformer_cli.token_ids import (EOS)
from transformer_cli.data.batching import BatchStream, plan_epoch, plan_packed_epoch, sorted_batches
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.store import EncodedCorpus, encode_corpus, load_corpus, save_corpus
from transformer_cli.errors import CheckpointError
from transformer_cli.schema.data import DataConfig, FiltersConfig


def random_corpus(pairs: int, seed: int = 0) -> EncodedCorpus:
    rng = np.random.default_rng(seed)
    sides = ([rng.integers(4, 99, rng.integers(1, 30)) for _ in range(pairs)] for _ in range(2))
    src, tgt = (Sentences.pack(side) for side in sides)
    return EncodedCorpus(src, tgt, np.arange(pairs), {})


class CharacterTokenizer:
    """A tokenizer with one token per character."""

    hash = "characters"

    def encode(self, lines: list[str]) -> list[np.ndarray]:  # type: ignore[type-arg]
        return [np.array([ord(c) for c in line], dtype=np.int64) for line in lines]


def test_packed_sentences_end_with_eos() -> None:
    sentences = Sentences.pack([np.array([5, 6]), np.array([7])])
    assert [s.tolist() for s in (sentences[0], sentences[1])] == [[5, 6, EOS], [7, EOS]]


def test_select_sentences() -> None:
    corpus = random_corpus(50)
    rows = np.array([7, 3, 49, 3])
    selected = corpus.src.select(rows)
    assert [selected[i].tolist() for i in range(4)] == [corpus.src[i].tolist() for i in rows]
    assert len(corpus.src.select(rows[:0])) == 0


def test_budget_limits_tokens_sentences_and_length() -> None:
    corpus = random_corpus(9)
    pairs, tokens = (
        corpus.batch_plan(np.arange(4)),
        int(corpus.src.lengths[:4].sum() + corpus.tgt.lengths[:4].sum()),
    )
    assert TokenBudget(tokens, 4, 40).fits(pairs)
    assert not TokenBudget(10, 4, 40).fits(pairs)
    assert not TokenBudget(tokens, 3, 40).fits(pairs)
    assert not TokenBudget(tokens, 4, 2).fits(pairs)


@pytest.mark.parametrize("budget", [30, 100, 1000])
def test_epoch_has_every_pair_once_within_the_budget(budget: int) -> None:
    corpus = random_corpus(200)
    plan = plan_epoch(corpus, budget, seed=1, epoch=0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(200))
    longest = np.maximum(corpus.src.lengths, corpus.tgt.lengths)
    for rows in plan:
        assert len(rows) == 1 or longest[rows].max() * len(rows) <= budget


@pytest.mark.parametrize("pairs", [1, 2, 300])
@pytest.mark.parametrize("budget", [1, 30, 100, 5000])
def test_plans_equal_those_of_plain_loops(pairs: int, budget: int) -> None:
    """The order and the borders of batches are part of what a run is; a resumed one must find the same."""
    corpus = random_corpus(pairs, seed=budget)
    lengths = corpus.src.lengths, corpus.tgt.lengths
    rng = np.random.default_rng([5, 2])
    order = rng.permutation(pairs)
    src, tgt = (side[order] for side in lengths)
    order = order[np.lexsort((np.where(tgt % 2, src, -src), tgt))]
    plan = [order[start:end] for start, end in split_by_budget(np.maximum(*lengths)[order].tolist(), budget)]
    plan = [plan[i] for i in rng.permutation(len(plan))]
    found = plan_epoch(corpus, budget, seed=5, epoch=2)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in plan]
    packed, sums = [[]], np.zeros(2)
    for row in np.random.default_rng([5, 2]).permutation(pairs).tolist():
        sums += [side[row] for side in lengths]
        if packed[-1] and (sums.max() > budget or len(packed[-1]) >= 7):
            packed.append([])
            sums = np.array([side[row] for side in lengths], dtype=float)
        packed[-1].append(row)
    found = plan_packed_epoch(corpus, TokenBudget(budget, 7, 100), seed=5, epoch=2)
    assert [rows.tolist() for rows in found] == packed


@pytest.mark.parametrize("tokens", [60, 200, 1000])
def test_packed_batches_have_every_pair_once_and_fit_the_budget(tokens: int) -> None:
    corpus = random_corpus(300)
    budget = TokenBudget(tokens, max(2, tokens // 12), 40)
    plan = plan_packed_epoch(corpus, budget, seed=1, epoch=0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(300))
    batch_plans = [corpus.batch_plan(rows, packed=True) for rows in plan]
    assert all(map(budget.fits, batch_plans))
    batches = [pairs.collate() for pairs in batch_plans]
    for batch in batches:  # every batch fits the static shape
        budget.static_layout(batch.src_layout.lengths)
        budget.static_layout(batch.tgt_layout.lengths)
    filled = [max(b.src_layout.tokens, b.tokens) / tokens for b in batches[:-1]]
    assert min(filled) > 1 - 30 / tokens or max(b.src_layout.sentences for b in batches) == budget.sentences


def test_position_beyond_the_plan_continues_with_the_next_epoch() -> None:
    corpus = random_corpus(100)
    packed = BatchStream(lambda e: corpus, 400, 1, DataPosition(2, 90), packed=TokenBudget(400, 50, 40))
    assert packed.position == DataPosition(3, 0)
    assert next(packed).collate().src_layout.is_packed and packed.position == DataPosition(3, 1)


def test_plan_depends_only_on_seed_and_epoch() -> None:
    corpus = random_corpus(100)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in plan_epoch(corpus, 100, seed, epoch)]

    assert plan(1, 3) == plan(1, 3)
    assert plan(1, 3) != plan(1, 4) and plan(1, 3) != plan(2, 3)


def test_split_by_budget() -> None:
    assert split_by_budget([3, 3, 3, 9, 50], 9) == [(0, 3), (3, 4), (4, 5)]
    assert split_by_budget([], 9) == []


def test_stream_resumes_at_any_position() -> None:
    corpus = random_corpus(60)
    stream = BatchStream(lambda epoch: corpus, 100, seed=1)
    positions, batches = [], []
    for _ in range(2 * stream.batches_per_epoch + 3):
        positions.append(stream.position)
        batches.append(next(stream))
    assert positions[-1].epoch == 2
    for i in (0, 5, stream.batches_per_epoch, len(batches) - 1):
        resumed = next(BatchStream(lambda epoch: corpus, 100, seed=1, position=positions[i]))
        assert resumed.rows.tolist() == batches[i].rows.tolist()
    assert DataPosition(0, 0) == positions[0]


def test_stream_uses_the_corpus_of_each_epoch() -> None:
    corpora = [random_corpus(10, seed) for seed in range(3)]
    stream = BatchStream(lambda epoch: corpora[epoch], 50, seed=1)
    for epoch, corpus in enumerate(corpora[:2]):
        seen = 0
        while stream.position.epoch == epoch:
            seen += next(stream).tokens
        assert seen == int(corpus.tgt.offsets[-1])


def test_sorted_batches_have_each_token_once() -> None:
    corpus = random_corpus(50)
    assert sum(b.tokens for b in sorted_batches(corpus, 64)) == int(corpus.tgt.offsets[-1])


def test_filters_count_pairs_by_reason() -> None:
    text = ParallelText(["ab", "", "x" * 40, "a" * 20, "ab", "q"], ["cd", "e", "y" * 40, "b", "cd", ""])
    config = DataConfig(max_length=30, filters=FiltersConfig(length_ratio=9.0))
    reasons = ["", "", "", "", "repeated pairs", ""]
    tokenizer = CharacterTokenizer()
    corpus = encode_corpus(text, tokenizer, tokenizer, config, reasons)  # type: ignore[arg-type]
    assert corpus.left_out == {"blank": 2, "too long": 1, "length ratio": 1, "repeated pairs": 1}
    assert len(corpus) + sum(corpus.left_out.values()) == len(text)


def test_store_is_loaded_only_for_the_same_inputs(tmp_path: Path) -> None:
    corpus = random_corpus(20)
    save_corpus(corpus, tmp_path, "train", {"text": "1"})
    loaded = load_corpus(tmp_path, "train", {"text": "1"})
    assert loaded is not None and len(loaded) == 20
    assert all(np.array_equal(loaded.src[i], corpus.src[i]) for i in range(20))
    assert isinstance(loaded.src.tokens, np.memmap)
    assert load_corpus(tmp_path, "train", {"text": "2"}) is None
    assert load_corpus(tmp_path, "valid", {"text": "1"}) is None
    assert loaded.src.lengths.tolist() == np.diff(corpus.src.offsets).tolist()
    (tmp_path / "train.src.tokens.npy").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="damaged"):
        load_corpus(tmp_path, "train", {"text": "1"})
