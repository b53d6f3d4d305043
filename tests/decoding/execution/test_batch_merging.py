"""Merging the last sentences of a batch into a later one does not change the hypotheses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_model import ToyModel

from transformer_cli.decoding.constraints.rules import NoRepeatNgram
from transformer_cli.decoding.execution.batch_merging import ActiveBatch, OutOfMemorySafeSearch, search_batches
from transformer_cli.decoding.search.base import Search
from transformer_cli.decoding.search.beam import BeamSearch, beam_search
from transformer_cli.decoding.search.greedy import GreedySearch, greedy_search
from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.decoding.search.sampling import Sampler, SampleSearch, sample_search, uniforms
from transformer_cli.errors import UserError

COUNT, LIMIT = 96, 14
BATCHES = [range(30), range(30, 31), range(31, 64), range(64, 96)]


class CountingModel(ToyModel):
    """Records the number of sentences of each step."""

    def __init__(self) -> None:
        super().__init__(COUNT)
        self.table[:, 3] += 0.5  # most sentences are short, some are long
        self.rows: list[int] = []

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.rows.append(len(tokens))
        return super().decode_step(tokens, state)


def limits(batch: Sequence[int]) -> Tensor:
    return torch.tensor([LIMIT - i % 5 for i in batch])


def greedy(model: ToyModel, batch: Sequence[int], **options: Any) -> Search:
    return GreedySearch(model, list(batch), limits(batch), **options)


def beam(model: ToyModel, batch: Sequence[int], **options: Any) -> Search:
    return BeamSearch(model, list(batch), limits(batch), beam=3, n_best=3, **options)


def sample(model: ToyModel, batch: Sequence[int]) -> Search:
    return SampleSearch(model, list(batch), limits(batch), uniforms(1, list(batch), 2, LIMIT), sampler=Sampler())


def search_single_batch(model: ToyModel) -> dict[Callable[..., Search], list[list[Hypothesis]]]:
    sentences = list(range(COUNT))
    return {
        greedy: greedy_search(model, sentences, limits(sentences)),
        beam: beam_search(model, sentences, limits(sentences), beam=3, n_best=3),
        sample: sample_search(
            model, sentences, limits(sentences), uniforms(1, sentences, 2, LIMIT), sampler=Sampler()
        ),
    }


@pytest.mark.parametrize("start", [greedy, beam, sample])
def test_hypotheses_equal_those_of_a_single_batch(start: Callable[..., Search]) -> None:
    model, reported = CountingModel(), []
    expected = search_single_batch(model)[start]
    results = search_batches(BATCHES, lambda batch: ActiveBatch(start(model, batch), batch), reported.append)
    assert [results[i] for i in range(COUNT)] == expected
    assert sum(reported) == COUNT and min(reported) >= 0


@pytest.mark.parametrize(("start", "fewer"), [(greedy, True), (beam, True), (sample, False)])
def test_merging_saves_steps_of_searches_that_support_it(start: Callable[..., Search], fewer: bool) -> None:
    merged, separate = CountingModel(), CountingModel()
    search_batches(BATCHES, lambda batch: ActiveBatch(start(merged, batch), batch))
    for batch in BATCHES:
        search_batches([batch], lambda batch: ActiveBatch(start(separate, batch), batch))
    assert sum(merged.rows) <= sum(separate.rows) + len(merged.rows), "no sentence is computed twice"
    assert (len(merged.rows) < len(separate.rows)) == fewer


@pytest.mark.parametrize("start", [greedy, beam])
def test_batches_with_rules_or_own_ids_are_not_merged(start: Callable[..., Search]) -> None:
    """Rules refer to the sentences of their batch, and token ids may be valid only in their batch."""
    model = CountingModel()

    def with_rules(batch: Sequence[int]) -> ActiveBatch:
        rules = [NoRepeatNgram(2)] if batch == BATCHES[2] else []
        return ActiveBatch(start(model, batch, rules=rules), batch)

    def with_id_map(batch: Sequence[int]) -> ActiveBatch:
        return ActiveBatch(
            start(model, batch),
            batch,
            lambda hypotheses: [Hypothesis([len(batch)], h.log_prob, h.score) for h in hypotheses],
        )

    results, expected = search_batches(BATCHES, with_rules), search_single_batch(model)[start]
    for batch in BATCHES:
        if batch != BATCHES[2]:
            assert [results[i] for i in batch] == [expected[i] for i in batch]
    for hypothesis in (h for i in BATCHES[2] for h in results[i]):
        bigrams = list(itertools.pairwise(hypothesis.tokens))
        assert len(set(bigrams)) == len(bigrams)
    mapped = search_batches(BATCHES, with_id_map)
    assert all(h.tokens == [len(batch)] for batch in BATCHES for i in batch for h in mapped[i])


def test_a_batch_grows_by_a_quarter_at_most() -> None:
    """Small batches stay small: they may be configured to save memory or to test invariance."""
    model = CountingModel()
    first_steps: list[int] = []

    def start(batch: Sequence[int]) -> ActiveBatch:
        first_steps.append(len(model.rows))
        return ActiveBatch(greedy(model, batch), batch)

    batches = [range(30), range(30, 60), range(60, 90), range(90, 94), range(94, 95), range(95, 96)]
    results = search_batches(batches, start)
    assert [results[i] for i in range(COUNT)] == search_single_batch(CountingModel())[greedy]
    for batch, first, end in zip(batches, first_steps, [*first_steps[1:], None], strict=True):
        assert max(model.rows[first:end]) <= max(len(batch) * 5 // 4, 37 if end is None else 0)
    assert 1 in model.rows


@pytest.mark.parametrize("max_sentences", [32, 10, 1])
@pytest.mark.parametrize("kind", [greedy, beam, sample])
def test_batches_that_do_not_fit_are_split(
    kind: Callable[..., Search], max_sentences: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model, sizes, done, released = CountingModel(), [], [], []

    def start(batch: Sequence[int]) -> ActiveBatch:
        sizes.append(len(batch))
        if len(batch) > max_sentences:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ActiveBatch(kind(model, batch), batch)

    search = OutOfMemorySafeSearch(lambda: released.append(1))
    results = search(BATCHES, start, done.append)
    assert [results[i] for i in range(COUNT)] == search_single_batch(model)[kind]
    assert sum(done) == COUNT and released
    attempts = len(sizes)
    search(BATCHES, start, done.append)
    assert max(sizes[attempts:]) <= max_sentences  # sizes that failed are not tried again
    assert capsys.readouterr().err.count("out of memory") == len(released)


def test_a_single_sentence_that_does_not_fit_is_an_error() -> None:
    def start(batch: Sequence[int]) -> ActiveBatch:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="single sentence"):
        OutOfMemorySafeSearch(lambda: None)(BATCHES, start, lambda done: None)


def test_other_errors_of_a_search_propagate() -> None:
    def start(batch: Sequence[int]) -> ActiveBatch:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        OutOfMemorySafeSearch(lambda: None)(BATCHES, start, lambda done: None)
