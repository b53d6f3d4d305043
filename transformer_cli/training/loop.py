"""The training loop: updates, logging, validation, checkpoints and early stopping.

The loop receives a stream of batches and a `validate` callable; it is independent of text data and search.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from transformer_cli.batch import BatchPlan, DataPosition
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore
from transformer_cli.training.metrics_log import MetricsLog, RunningAverage
from transformer_cli.training.progress import ProgressDisplay
from transformer_cli.training.schedule import learning_rate
from transformer_cli.training.state import TrainState
from transformer_cli.training.update import MAX_SKIPPED, Update, divergence_error


class Stream(Protocol):
    """An infinite iterator of batches; `position` is the position of the next one."""

    position: DataPosition

    def __next__(self) -> BatchPlan: ...


@dataclass(frozen=True)
class Validation:
    """Scores on the validation set: loss in nats per token; BLEU and chrF of greedy translations, 0..100.

    `directions`: with several directions, the scores of each by its name; the others are then their means.
    """

    loss: float
    bleu: float
    chrf: float
    directions: Mapping[str, Validation] = field(default_factory=dict)

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    @staticmethod
    def mean(directions: Mapping[str, Validation]) -> Validation:
        """The scores of several directions."""
        loss, bleu, chrf = (
            fmean(getattr(v, name) for v in directions.values()) for name in ("loss", "bleu", "chrf")
        )
        return Validation(loss, bleu, chrf, directions)

    def to_json(self) -> dict[str, Any]:
        """The scores as they are logged."""
        values: dict[str, Any] = {"loss": self.loss, "bleu": self.bleu, "chrf": self.chrf}
        if self.directions:
            values["directions"] = {name: scores.to_json() for name, scores in self.directions.items()}
        return values

    def metric(self, name: str) -> float:
        """The score that selects the best checkpoint; higher is better."""
        return {"bleu": self.bleu, "chrf": self.chrf, "loss": -self.loss}[name]


@dataclass
class StopRequest:
    """Set by a signal handler; the loop checks it after every step."""

    signal: int = 0


@dataclass
class Trainer:
    """Trains from the current state until a limit, a stop request or early stopping.

    All ranks run the same steps on different batches. Only rank 0 validates, writes files and reads the clock.
    """

    state: TrainState
    config: Config
    stream: Stream
    update: Update
    validate: Callable[[int], Validation]
    store: CheckpointStore
    log: MetricsLog
    stop: StopRequest
    notify: Callable[[str], None] = tqdm.write

    def run(self, *, validate_first: bool = False) -> str:
        """Train, and return the reason for stopping. The final state is saved before this method returns.

        Args:
            validate_first: validate and save before the first update; for a model that is trained already.
        """
        c, progress = self.config.training, self.state.progress
        self._start_time = time.monotonic() - progress.seconds
        self._shared_seconds, self._shared_signal = progress.seconds, 0  # equal on all ranks
        self._skipped = 0
        self._running_average = RunningAverage()
        self.state.model.train()
        reason = self._stop_reason()
        self._display = ProgressDisplay(c, progress, self.notify, enabled=self.state.ranks.is_main)
        try:
            if reason and not self._signal and 0 < progress.step != progress.validated_step:
                self._validate()  # an earlier run stopped on a signal at this step, before validation
            if validate_first and not reason and progress.step == 0:
                self._validate()
                reason = self._stop_reason()
            while not reason:
                updated = self._step()
                reason = self._stop_reason()
                step = progress.step
                if updated:
                    self._display.step()
                    if step % c.log_every == 0:
                        self._display.report(self._log_step(), self._total_steps(step))
                # At most one save per step, so that the checkpoint contains the validation of its step.
                final = bool(reason) and not self._signal and step != progress.validated_step
                if (updated and step % c.validate_every == 0) or final:
                    self._validate()
                    reason = reason or self._stop_reason()
                elif (updated and step % c.save_every == 0) or reason:
                    self._save(best=False)
        finally:
            self._display.close()
            self.log.close()
        return reason

    def _stop_reason(self) -> str:
        """Why training stops now; empty if it continues."""
        c, progress = self.config.training, self.state.progress
        progress.seconds = self._clock()
        if self._signal:
            return f"signal {self._signal}"
        if progress.step >= c.max_steps:
            return f"max_steps {c.max_steps}"
        if c.max_minutes and progress.seconds + progress.reserve >= 60 * c.max_minutes:
            return f"max_minutes {c.max_minutes:g}"
        if c.patience and progress.bad_validations >= c.patience:
            return f"no better {c.metric} in {c.patience} validations"
        return ""

    def _step(self) -> bool:
        """Run one update on `accumulate` batches; False if it was skipped for a non-finite gradient."""
        c, progress = self.config, self.state.progress
        batches, tokens = self._next_batches()
        lr = learning_rate(c.optim, c.model.d_model, progress.step + 1, self._total_steps(progress.step + 1))
        result = self.update(batches, tokens, lr, self._all_reduce)
        progress.position = self.stream.position
        if not result.applied:
            self._count_skipped(float(result.norm))
            return False
        self._skipped, self._lr = 0, lr
        progress.step += 1
        progress.tokens += tokens
        self._running_average.add(result.nll, tokens, result.norm)
        return True

    def _next_batches(self) -> tuple[list[BatchPlan], int]:
        """The batches of this rank for one update, and the number of target tokens on all ranks."""
        ranks = self.state.ranks
        batches = [next(self.stream) for _ in range(self.config.training.accumulate * ranks.size)]
        return batches[ranks.rank :: ranks.size], sum(pairs.tokens for pairs in batches)

    def _all_reduce(self, nll: Tensor) -> None:
        """Sum gradients and `nll` over all ranks; share the clock of rank 0 and stop requests of any rank."""
        ranks = self.state.ranks
        if ranks.size == 1:
            return
        seconds = time.monotonic() - self._start_time if ranks.is_main else 0.0
        shared = torch.tensor([seconds, float(self.stop.signal > 0)], device=nll.device)
        ranks.all_reduce([*(p.grad for p in self.state.model.parameters() if p.grad is not None), nll, shared])
        self._shared_seconds, stop_requests = shared.tolist()
        if stop_requests:
            self._shared_signal = self.stop.signal = self.stop.signal or signal.SIGTERM

    @property
    def _signal(self) -> int:
        """The signal that stops the run, 0 if none; with several ranks, after all of them received it."""
        return self.stop.signal if self.state.ranks.size == 1 else self._shared_signal

    def _clock(self) -> float:
        """Seconds in training; with several ranks those of rank 0 at the last exchange."""
        return time.monotonic() - self._start_time if self.state.ranks.size == 1 else self._shared_seconds

    def _total_steps(self, step: int) -> int:
        """The expected last step, estimated at `step`: `max_steps`, or less if the time limit comes first."""
        c, progress = self.config.training, self.state.progress
        if not c.max_minutes:
            return c.max_steps
        fraction = progress.seconds / max(60 * c.max_minutes - progress.reserve, 1e-9)
        return min(c.max_steps, max(step, round(step / max(fraction, 1e-9))))

    def _count_skipped(self, norm: float) -> None:
        self._skipped += 1
        self.notify(f"step {self.state.progress.step + 1}: gradient norm is {norm}; update skipped")
        if self._skipped >= MAX_SKIPPED:
            raise divergence_error()

    def _log_step(self) -> str:
        """Write a line to the log; returns a summary for the progress display."""
        progress = self.state.progress
        loss, norm, speed = self._running_average.pop()
        self.log.write(
            "train",
            step=progress.step,
            epoch=progress.position.epoch,
            loss=loss,
            lr=self._lr,
            grad_norm=norm,
            tokens=progress.tokens,
            tokens_per_second=speed,
            seconds=progress.seconds,
        )
        return f"loss {loss:.3f}, lr {self._lr:.2e}, {speed:,.0f} tok/s"

    def _validate(self) -> None:
        """Validate, compare with the best score, log, and save a checkpoint."""
        progress, start = self.state.progress, time.monotonic()
        try:
            with self._evaluation_mode():
                scores = self._scores()
        except Exception:
            # Keep the updates if validation fails, for example out of memory. With several ranks a save is a
            # collective operation, which cannot complete after one rank has failed.
            if self.state.ranks.size == 1:
                self._save(best=False)
            raise
        progress.validated_step = progress.step
        metric = scores.metric(self.config.training.metric)
        self._display.validated(metric)
        # The later of equal scores is better: BLEU is 0 early in training, and the first checkpoint is the worst.
        best = math.isfinite(metric) and (progress.best_score is None or metric >= progress.best_score)
        improved = best and metric != progress.best_score
        if best:
            progress.best_score, progress.best_step = metric, progress.step
        progress.bad_validations = 0 if improved else progress.bad_validations + 1
        progress.seconds = self._clock()
        # Log before saving: after a crash in between, resuming drops the extra line.
        self.log.write(
            "validation",
            step=progress.step,
            **scores.to_json(),
            perplexity=scores.perplexity,
            best=best,
            seconds=progress.seconds,
        )
        self._save(best=best)
        (duration,) = self.state.ranks.broadcast([time.monotonic() - start])
        progress.reserve = max(progress.reserve, duration)
        self._running_average = RunningAverage()

    @contextlib.contextmanager
    def _evaluation_mode(self) -> Iterator[None]:
        """Context manager: the model as deployed, with averaged weights if there are any and without dropout."""
        average, model = self.state.average, self.state.model
        if average is not None:
            average.swap(model)
        model.eval()
        try:
            yield
        finally:
            model.train()
            if average is not None:
                average.swap(model)

    def _scores(self) -> Validation:
        """Validate on rank 0 and broadcast the scores, the clock and a stop request to every rank."""
        values = [0.0] * 5
        directions: Mapping[str, Validation] = {}
        if self.state.ranks.is_main:
            scores = self.validate(self.state.progress.step)
            seconds = time.monotonic() - self._start_time
            directions = scores.directions
            values = [scores.loss, scores.bleu, scores.chrf, seconds, float(self.stop.signal)]
        loss, bleu, chrf, self._shared_seconds, stop_signal = self.state.ranks.broadcast(values)
        if stop_signal and self.state.ranks.size > 1:
            self._shared_signal = self.stop.signal = int(stop_signal)
        return Validation(loss, bleu, chrf, directions)

    def _save(self, *, best: bool) -> None:
        self.update.report_skipped()
        self.state.progress.seconds = self._clock()
        self.state.gather_random_states()
        if self.state.ranks.is_main:
            self.store.save(self.state, best=best, keep_last=self.config.training.keep_last)
        self.state.ranks.barrier()  # torchrun kills rank 0 during the save if another rank exits first
