"""The training loop with random batches and fake validation scores."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transformer_cli.batch import BatchPlan, DataPosition, Sentences
from transformer_cli.config import load_config
from transformer_cli.errors import UserError
from transformer_cli.manifest import read_state
from transformer_cli.models.registry import build_model
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore, load_training
from transformer_cli.training.loop import StopRequest, Trainer, Validation
from transformer_cli.training.metrics_log import MetricsLog
from transformer_cli.training.state import TrainState
from transformer_cli.training.update import EagerUpdate

SMALL = [
    "model.d_model=16",
    "model.num_heads=2",
    "model.d_ff=16",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
]
VOCAB = 15
START = DataPosition()


class RandomBatches:
    """An infinite stream of random batches; each depends only on its position."""

    def __init__(self, position: DataPosition = START, pairs: int = 6) -> None:
        self.position = position
        self.pairs = pairs

    def __next__(self) -> BatchPlan:
        pairs = self.make(self.position.batch)
        self.position = DataPosition(0, self.position.batch + 1)
        return pairs

    def make(self, index: int) -> BatchPlan:
        rng = np.random.default_rng(index)
        return pairs_of(*([rng.integers(4, VOCAB, rng.integers(1, 9)) for _ in range(self.pairs)] for _ in "st"))


def pairs_of(src: Sequence[Any], tgt: Sequence[Any], *, packed: bool = False) -> BatchPlan:
    """All pairs of a new corpus; the ids have no EOS."""
    return BatchPlan(Sentences.pack(src), Sentences.pack(tgt), np.arange(len(src)), packed)


def make_trainer(
    tmp_path: Path, *settings: str, scores: Any = None, stream: Any = None, resume: bool = False
) -> Trainer:
    config: Config = load_config(None, [*SMALL, *settings])
    torch.manual_seed(1)
    state = TrainState(build_model(config.model, VOCAB, VOCAB), config.optim, config.training)
    store = CheckpointStore(tmp_path / "checkpoints", {})
    store.directory.mkdir(parents=True, exist_ok=True)
    if resume:
        newest, _ = store.newest_intact()
        assert newest is not None
        load_training(newest, state)
    stream = stream or RandomBatches(state.progress.position)
    log = MetricsLog(tmp_path / "metrics.jsonl", state.progress.step, state.progress.validated_step)
    scores = scores or (lambda step: Validation(1.0, float(step), 0.0))
    return Trainer(
        state, config, stream, EagerUpdate(state, config, silent), scores, store, log, StopRequest(), silent
    )


def last_state(t: Trainer) -> dict[str, Any]:
    path = t.store.resolve_link("last")
    assert path is not None
    return read_state(path)


def silent(message: str) -> None:
    """Ignores a message."""


def eager(t: Trainer) -> EagerUpdate:
    assert isinstance(t.update, EagerUpdate)
    return t.update


def weights(t: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in t.state.model.parameters()]


def all_equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dropout", ["0.0", "0.3"])
def test_accumulation_equals_the_large_batch(tmp_path: Path, dropout: str) -> None:
    """With dropout the masks differ, so the gradients are equal only without it."""
    t = make_trainer(tmp_path / "a", f"model.dropout={dropout}", "training.accumulate=3")
    batches = [RandomBatches().make(i) for i in range(3)]
    tokens = sum(b.tokens for b in batches)
    eager(t).gradient(batches, tokens)
    accumulated = [p.grad.clone() for p in t.state.model.parameters() if p.grad is not None]

    src, tgt = ([side(b)[i][:-1] for b in batches for i in b.rows] for side in (lambda b: b.src, lambda b: b.tgt))
    t.state.model.zero_grad()
    eager(t).gradient([pairs_of(src, tgt)], tokens)
    expected = [p.grad for p in t.state.model.parameters() if p.grad is not None]
    close = all(torch.allclose(a, b, atol=1e-6) for a, b in zip(accumulated, expected, strict=True))
    assert close == (dropout == "0.0")


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["training.accumulate=2", "training.ema=0.9"],
        ["optim.algorithm=muon"],
        ["training.precision=bf16"],
    ],
)
@pytest.mark.parametrize("stop_at", [1, 4, 7, 10, 12])
def test_resume_is_exact_from_any_step(tmp_path: Path, settings: list[str], stop_at: int) -> None:
    common = [
        "training.max_steps=12",
        "training.validate_every=5",
        "training.save_every=3",
        "model.dropout=0.3",
        *settings,
    ]
    whole = make_trainer(tmp_path / "whole", *common)
    whole.run()

    stopped = make_trainer(tmp_path / "resumed", *common)
    step = stopped._step

    def step_and_stop() -> bool:
        updated = step()
        if stopped.state.progress.step == stop_at:
            stopped.stop.signal = 15
        return updated

    stopped._step = step_and_stop  # type: ignore[method-assign]
    assert stopped.run() == "signal 15"
    torch.manual_seed(999)  # the result must not depend on the random state of the process
    resumed = make_trainer(tmp_path / "resumed", *common, resume=True)
    assert resumed.state.progress.step == stop_at
    resumed.run()

    assert all_equal(weights(resumed), weights(whole))
    actual, expected = resumed.state.optimizer_tensors(), whole.state.optimizer_tensors()
    assert actual.keys() == expected.keys() and all(torch.equal(actual[k], expected[k]) for k in actual)
    actual, expected = resumed.state.model_tensors(), whole.state.model_tensors()
    assert all(torch.equal(actual[k], expected[k]) for k in actual)
    clock_keys = {"seconds", "reserve"}
    states = [t.state.progress.to_json() for t in (resumed, whole)] + [last_state(t) for t in (resumed, whole)]
    states = [{k: v for k, v in state.items() if k not in clock_keys} for state in states]
    assert states[0] == states[1] == states[2] == states[3]
    assert resumed.store.resolve_link("best").name == whole.store.resolve_link("best").name  # type: ignore[union-attr]
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if "second" not in k}
            for line in (tmp_path / name / "metrics.jsonl").open()
        ]
        for name in ("resumed", "whole")
    ]
    assert logs[0] == logs[1]


def test_early_stopping_and_best(tmp_path: Path) -> None:
    bleu = {2: 5.0, 4: 9.0, 6: 7.0, 8: 8.0, 10: 99.0}
    t = make_trainer(
        tmp_path,
        "training.validate_every=2",
        "training.patience=2",
        scores=lambda s: Validation(1.0, bleu[s], 0.0),
    )
    assert t.run() == "no better bleu in 2 validations"
    assert (t.state.progress.step, t.state.progress.best_step, t.state.progress.best_score) == (8, 4, 9.0)
    best = t.store.resolve_link("best")
    assert best is not None and best.name == "step_000000004"


def test_the_later_of_equal_scores_is_the_best(tmp_path: Path) -> None:
    """BLEU is 0 early in training. An equal score still counts towards early stopping."""
    t = make_trainer(
        tmp_path, "training.validate_every=1", "training.patience=3", scores=lambda s: Validation(1.0, 0.0, 0.0)
    )
    assert t.run() == "no better bleu in 3 validations"
    assert (t.state.progress.step, t.state.progress.best_step) == (4, 4)


def test_loss_as_metric_and_nan_is_never_best(tmp_path: Path) -> None:
    loss = {1: math.nan, 2: 3.0, 3: math.nan, 4: 2.0, 5: 2.5}
    t = make_trainer(
        tmp_path, "training.validate_every=1", "training.metric=loss", "training.max_steps=5",
        scores=lambda s: Validation(loss[s], 0.0, 0.0),
    )  # fmt: skip
    t.run()
    assert (t.state.progress.best_step, t.state.progress.best_score) == (4, -2.0)


def test_an_update_with_a_non_finite_gradient_is_skipped(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, "training.max_steps=3", "model.dropout=0.0")
    t._start_time, t._skipped = 0.0, 0
    before = weights(t)
    gradient = eager(t).gradient

    def non_finite(batches: Sequence[BatchPlan], tokens: int) -> torch.Tensor:
        nll = gradient(batches, tokens)
        next(t.state.model.parameters()).grad.fill_(math.nan)  # type: ignore[union-attr]
        return nll

    eager(t).gradient = non_finite  # type: ignore[method-assign]
    assert t._step() is False
    assert all_equal(before, weights(t)) and t.state.progress.step == 0
    assert not any(t.state.optimizer.state_of(p) for p in t.state.model.parameters())
    with pytest.raises(UserError, match="diverged"):
        t.run()


def test_a_time_limit_stops_the_run_and_shortens_the_schedule(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, "training.max_minutes=0.03", "training.log_every=1", "optim.warmup_steps=1")
    assert t.run() == "max_minutes 0.03"
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    rates = [line["lr"] for line in lines if line["kind"] == "train"]
    assert rates[-1] < 0.5 * max(rates)  # without the time limit it would be almost constant
    assert t.state.progress.seconds < 5


def test_metrics_have_one_line_per_logged_step(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, "training.max_steps=4", "training.log_every=2", "training.validate_every=4")
    t.run()
    kinds = [(line["kind"], line["step"]) for line in map(json.loads, (tmp_path / "metrics.jsonl").open())]
    assert kinds == [("train", 2), ("train", 4), ("validation", 4)]


@pytest.mark.parametrize("settings", [[], ["training.ema=0.9"]])
def test_a_failed_validation_loses_no_update(tmp_path: Path, settings: list[str]) -> None:
    def failing(step: int) -> Validation:
        if step == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Validation(1.0, float(step), 0.0)

    common = ["training.max_steps=6", "training.validate_every=2", "model.dropout=0.3", *settings]
    t = make_trainer(tmp_path / "resumed", *common, scores=failing)
    with pytest.raises(torch.OutOfMemoryError):
        t.run()
    whole = make_trainer(tmp_path / "whole", *common)
    whole.run()
    resumed = make_trainer(tmp_path / "resumed", *common, resume=True)
    assert resumed.state.progress.step == 4
    resumed.run()
    assert all_equal(weights(resumed), weights(whole))
    actual, expected = resumed.state.model_tensors(), whole.state.model_tensors()
    assert all(torch.equal(actual[k], expected[k]) for k in actual)
