"""The training loop: batches in, updates, validations and checkpoints out.

It receives an iterable of batches and a `validate` callable as values and knows neither text nor search.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from transformer_cli.batch import BatchPlan, DataPosition
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore
from transformer_cli.training.metrics_log import MetricsLog, RunningAverage
from transformer_cli.training.schedule import learning_rate
from transformer_cli.training.state import TrainState
from transformer_cli.training.update import MAX_SKIPPED, Update, divergence_error

BETWEEN_LINES = 10.0
"""Seconds between two lines about progress where there is no terminal to show a bar on."""


class Stream(Protocol):
    """Endless batches, each as its pairs; `position` is that of the next."""

    position: DataPosition

    def __next__(self) -> BatchPlan: ...


@dataclass(frozen=True)
class Validation:
    """Scores on the validation set: loss in nats a token; BLEU and chrF of greedy translations, 0..100."""

    loss: float
    bleu: float
    chrf: float

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss, 700.0))

    def metric(self, name: str) -> float:
        """The score that decides what is best; higher is better."""
        return {"bleu": self.bleu, "chrf": self.chrf, "loss": -self.loss}[name]


@dataclass
class StopRequest:
    """Set by a signal handler; the loop looks at it after every step."""

    signal: int = 0


@dataclass
class Trainer:
    """One run, from wherever its state stands to a limit, a stop request or early stopping.

    Of several ranks each does the same steps with other batches; rank 0 alone validates, writes, reads the clock.
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

    def run(self) -> str:
        """Train; returns why it ended. On return the newest state is saved."""
        c, progress = self.config.training, self.state.progress
        self._started = time.monotonic() - progress.seconds
        self._agreed, self._stopping = progress.seconds, 0
        is_main = self.state.ranks.is_main
        self._skipped = 0
        self._told = -BETWEEN_LINES
        self._recent = RunningAverage()
        self.state.model.train()
        reason = self._reason_to_end()
        bar = tqdm(
            total=c.max_steps,
            initial=progress.step,
            unit="step",
            dynamic_ncols=True,
            desc="train",
            disable=None if is_main else True,  # None: shown on a terminal only
        )
        try:
            if reason and not self._signal and 0 < progress.step != progress.validated_step:
                self._validate()  # stopped by a signal before, and now at its limit
            while not reason:
                updated = self._step()
                reason = self._reason_to_end()
                step = progress.step
                if updated:
                    bar.update(1)
                    if step % c.log_every == 0:
                        bar.total = self._total_steps(step)  # moves when the limit is a time
                        news = self._log_step()
                        bar.set_postfix_str(news)
                        if is_main and bar.disable:
                            self._tell(f"step {step} of {bar.total}: {news}")
                # One save a step at most: what is saved then knows the validation of that step.
                ends = bool(reason) and not self._signal and step != progress.validated_step
                if (updated and step % c.validate_every == 0) or ends:
                    self._validate()
                    reason = reason or self._reason_to_end()
                elif (updated and step % c.save_every == 0) or reason:
                    self._save(best=False)
        finally:
            bar.close()
            self.log.close()
        return reason

    def _tell(self, news: str) -> None:
        """For a log file, where a bar would leave a line each time it moves."""
        if time.monotonic() - self._told >= BETWEEN_LINES:
            self.notify(news)
            self._told = time.monotonic()

    def _reason_to_end(self) -> str:
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
        """One update from `accumulate` batches; False if it had no finite gradient and changed nothing."""
        c, progress = self.config, self.state.progress
        batches, tokens = self._draw()
        rate = learning_rate(c.optim, c.model.d_model, progress.step + 1, self._total_steps(progress.step + 1))
        updated = self.update(batches, tokens, rate, self._all_reduce)
        progress.position = self.stream.position
        if not updated.done:
            self._skip(float(updated.norm))
            return False
        self._skipped, self._rate = 0, rate
        progress.step += 1
        progress.tokens += tokens
        self._recent.add(updated.nll, tokens, updated.norm)
        return True

    def _draw(self) -> tuple[list[BatchPlan], int]:
        """This rank's batches of an update, and the target tokens of all ranks together."""
        ranks = self.state.ranks
        drawn = [next(self.stream) for _ in range(self.config.training.accumulate * ranks.size)]
        return drawn[ranks.rank :: ranks.size], sum(pairs.tokens for pairs in drawn)

    def _all_reduce(self, nll: Tensor) -> None:
        """Sum gradients and `nll` over all ranks; learn the leader's clock, and whether anybody is to stop."""
        ranks = self.state.ranks
        if ranks.size == 1:
            return
        own = time.monotonic() - self._started if ranks.is_main else 0.0
        news = torch.tensor([own, float(self.stop.signal > 0)], device=nll.device)
        ranks.all_reduce([*(p.grad for p in self.state.model.parameters() if p.grad is not None), nll, news])
        self._agreed, asked = news.tolist()
        if asked:
            self._stopping = self.stop.signal = self.stop.signal or signal.SIGTERM

    @property
    def _signal(self) -> int:
        """The signal that ends the run; of several ranks, once all know of it."""
        return self.stop.signal if self.state.ranks.size == 1 else self._stopping

    def _clock(self) -> float:
        """Seconds in training; where there are several ranks the leader's, at the last exchange."""
        return time.monotonic() - self._started if self.state.ranks.size == 1 else self._agreed

    def _total_steps(self, step: int) -> int:
        """The step at which training will end, seen from `step`: the limit, or sooner if time is up before."""
        c, progress = self.config.training, self.state.progress
        if not c.max_minutes:
            return c.max_steps
        share = progress.seconds / max(60 * c.max_minutes - progress.reserve, 1e-9)
        return min(c.max_steps, max(step, round(step / max(share, 1e-9))))

    def _skip(self, norm: float) -> None:
        self._skipped += 1
        self.notify(f"step {self.state.progress.step + 1}: gradient norm is {norm}; this update is left out")
        if self._skipped >= MAX_SKIPPED:
            raise divergence_error()

    def _log_step(self) -> str:
        progress = self.state.progress
        loss, norm, speed = self._recent.pop()
        self.log.write(
            "train",
            step=progress.step,
            epoch=progress.position.epoch,
            loss=loss,
            lr=self._rate,
            grad_norm=norm,
            tokens=progress.tokens,
            tokens_per_second=speed,
            seconds=progress.seconds,
        )
        return f"loss {loss:.3f}, lr {self._rate:.2e}, {speed:,.0f} tok/s"

    def _validate(self) -> None:
        """Measure, compare with the best, save."""
        progress, began = self.state.progress, time.monotonic()
        try:
            with self._evaluation_mode():
                scores = self._scores()
        except Exception:
            if self.state.ranks.size == 1:  # several cannot save together once one has gone
                self._save(best=False)  # a validation that fails, for want of memory say, loses no update
            raise
        progress.validated_step = progress.step
        metric = scores.metric(self.config.training.metric)
        # Of equals the later: early in training BLEU is 0 for long, and the first checkpoint the worst of them.
        best = math.isfinite(metric) and (progress.best_score is None or metric >= progress.best_score)
        improved = best and metric != progress.best_score
        if best:
            progress.best_score, progress.best_step = metric, progress.step
        progress.bad_validations = 0 if improved else progress.bad_validations + 1
        progress.seconds = self._clock()
        # Before the save: a crash between the two leaves a line too many, which resuming drops.
        self.log.write(
            "validation",
            step=progress.step,
            **asdict(scores),
            perplexity=scores.perplexity,
            best=best,
            seconds=progress.seconds,
        )
        self._save(best=best)
        (took,) = self.state.ranks.broadcast([time.monotonic() - began])
        progress.reserve = max(progress.reserve, took)
        self._recent = RunningAverage()

    @contextlib.contextmanager
    def _evaluation_mode(self) -> Iterator[None]:
        """Within, the model is what will translate: the average if there is one, without dropout."""
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
        """What the leader measures, on every rank."""
        numbers = [0.0] * 5
        if self.state.ranks.is_main:
            found = self.validate(self.state.progress.step)
            seconds = time.monotonic() - self._started
            numbers = [found.loss, found.bleu, found.chrf, seconds, float(self.stop.signal)]
        loss, bleu, chrf, self._agreed, told = self.state.ranks.broadcast(numbers)
        if told and self.state.ranks.size > 1:
            self._stopping = self.stop.signal = int(told)
        return Validation(loss, bleu, chrf)

    def _save(self, *, best: bool) -> None:
        self.update.report_skipped()
        self.state.progress.seconds = self._clock()
        self.state.gather_random_states()
        if self.state.ranks.is_main:
            self.store.save(self.state, best=best, keep_last=self.config.training.keep_last)
        self.state.ranks.barrier()  # a rank that ended sooner would have the leader killed in the middle of it
