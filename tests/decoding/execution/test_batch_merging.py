"""The last sentences of a batch go on with a later one, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Toy

from transformer_cli.decoding.constraints.rules import NoRepeatNgram
from transformer_cli.decoding.execution.batch_merging import ActiveBatch, MemoryBoundSearch, search_batches
from transformer_cli.decoding.search.base import Hypothesis, Search
from transformer_cli.decoding.search.beam import BeamSearch, beam_search
from transformer_cli.decoding.search.greedy import GreedySearch, greedy_search
from transformer_cli.decoding.search.sampling import Sampler, SampleSearch, sample_search, uniforms
from transformer_cli.errors import UserError

COUNT, LIMIT = 96, 14
BATCHES = [range(30), range(30, 31), range(31, 64), range(64, 96)]


class Counting(Toy):
    """Notes how many sentences each step computes."""

    def __init__(self) -> None:
        super().__init__(COUNT)
        self.table[:, 3] += 0.5  # most sentences end soon, some go on for long
        self.rows: list[int] = []

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.rows.append(len(tokens))
        return super().decode_step(tokens, state)


def limits(batch: Sequence[int]) -> Tensor:
    return torch.tensor([LIMIT - i % 5 for i in batch])


def greedy(model: Toy, batch: Sequence[int], **more: Any) -> Search:
    return GreedySearch(model, list(batch), limits(batch), **more)


def beam(model: Toy, batch: Sequence[int], **more: Any) -> Search:
    return BeamSearch(model, list(batch), limits(batch), beam=3, n_best=3, **more)


def sample(model: Toy, batch: Sequence[int]) -> Search:
    return SampleSearch(model, list(batch), limits(batch), uniforms(1, list(batch), 2, LIMIT), sampler=Sampler())


def alone(model: Toy) -> dict[Callable[..., Search], list[list[Hypothesis]]]:
    everything = list(range(COUNT))
    return {
        greedy: greedy_search(model, everything, limits(everything)),
        beam: beam_search(model, everything, limits(everything), beam=3, n_best=3),
        sample: sample_search(
            model, everything, limits(everything), uniforms(1, everything, 2, LIMIT), sampler=Sampler()
        ),
    }


@pytest.mark.parametrize("start", [greedy, beam, sample])
def test_the_same_hypotheses_as_in_one_batch(start: Callable[..., Search]) -> None:
    model, told = Counting(), []
    expected = alone(model)[start]
    found = search_batches(BATCHES, lambda batch: ActiveBatch(start(model, batch), batch), told.append)
    assert [found[i] for i in range(COUNT)] == expected
    assert sum(told) == COUNT and min(told) >= 0


@pytest.mark.parametrize(("start", "fewer"), [(greedy, True), (beam, True), (sample, False)])
def test_waiting_spares_steps_where_searches_may_join(start: Callable[..., Search], fewer: bool) -> None:
    together, apart = Counting(), Counting()
    search_batches(BATCHES, lambda batch: ActiveBatch(start(together, batch), batch))
    for batch in BATCHES:
        search_batches([batch], lambda batch: ActiveBatch(start(apart, batch), batch))
    assert sum(together.rows) <= sum(apart.rows) + len(together.rows), "no sentence is computed twice"
    assert (len(together.rows) < len(apart.rows)) == fewer


@pytest.mark.parametrize("start", [greedy, beam])
def test_who_cannot_join_does_not(start: Callable[..., Search]) -> None:
    """Rules know the sentences of their batch, and a batch may have token ids of its own."""
    model = Counting()

    def ruled(batch: Sequence[int]) -> ActiveBatch:
        rules = [NoRepeatNgram(2)] if batch == BATCHES[2] else []
        return ActiveBatch(start(model, batch, rules=rules), batch)

    def map_ids(batch: Sequence[int]) -> ActiveBatch:
        return ActiveBatch(
            start(model, batch),
            batch,
            lambda found: [Hypothesis([len(batch)], h.log_prob, h.score) for h in found],
        )

    found, plain = search_batches(BATCHES, ruled), alone(model)[start]
    for batch in BATCHES:
        own = [found[i] for i in batch]
        if batch != BATCHES[2]:
            assert own == [plain[i] for i in batch]
        assert all(len(set(pairs)) == len(pairs) for h in own for x in h if batch == BATCHES[2]
                   for pairs in [list(zip(x.tokens, x.tokens[1:], strict=False))])  # fmt: skip
    renamed = search_batches(BATCHES, map_ids)
    assert all(h.tokens == [len(batch)] for batch in BATCHES for i in batch for h in renamed[i])


def test_a_batch_grows_by_a_quarter_at_most() -> None:
    """Whoever asks for small batches, to spare memory or to prove that they change nothing, gets them."""
    model = Counting()
    began: list[int] = []

    def start(batch: Sequence[int]) -> ActiveBatch:
        began.append(len(model.rows))
        return ActiveBatch(greedy(model, batch), batch)

    batches = [range(30), range(30, 60), range(60, 90), range(90, 94), range(94, 95), range(95, 96)]
    found = search_batches(batches, start)
    assert [found[i] for i in range(COUNT)] == alone(Counting())[greedy]
    for batch, first, end in zip(batches, began, [*began[1:], None], strict=True):
        assert max(model.rows[first:end]) <= max(len(batch) * 5 // 4, 37 if end is None else 0)
    assert 1 in model.rows


@pytest.mark.parametrize("most", [32, 10, 1])
@pytest.mark.parametrize("kind", [greedy, beam, sample])
def test_what_does_not_fit_is_searched_in_parts(
    kind: Callable[..., Search], most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model, sizes, done, released = Counting(), [], [], []

    def start(batch: Sequence[int]) -> ActiveBatch:
        sizes.append(len(batch))
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return ActiveBatch(kind(model, batch), batch)

    search = MemoryBoundSearch(lambda: released.append(1))
    found = search(BATCHES, start, done.append)
    assert [found[i] for i in range(COUNT)] == alone(model)[kind]
    assert sum(done) == COUNT and released
    tried = len(sizes)
    search(BATCHES, start, done.append)
    assert max(sizes[tried:]) <= most  # what has not fitted is not tried again
    assert capsys.readouterr().err.count("out of memory") == len(released)


def test_a_sentence_that_does_not_fit_is_said() -> None:
    def start(batch: Sequence[int]) -> ActiveBatch:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="single sentence"):
        MemoryBoundSearch(lambda: None)(BATCHES, start, lambda done: None)


def test_other_errors_of_a_search_are_not_swallowed() -> None:
    def start(batch: Sequence[int]) -> ActiveBatch:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        MemoryBoundSearch(lambda: None)(BATCHES, start, lambda done: None)
