"""The training loop: batches in, updates, validations and checkpoints out.

It receives an iterable of batches and a `validate` callable as values and knows neither text nor search.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from torch import Tensor
from tqdm import tqdm

from transformer_cli import durable
from transformer_cli.batch import Batch, Position
from transformer_cli.errors import UserError
from transformer_cli.runtime import pick_precision, products_in
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore
from transformer_cli.training.objective import smoothed_loss
from transformer_cli.training.optimizer import clip_gradient, set_learning_rate
from transformer_cli.training.schedule import learning_rate
from transformer_cli.training.state import TrainState

MAX_SKIPPED = 20
"""Steps in a row without a finite gradient before training gives up."""


class Stream(Protocol):
    """Endless batches; `position` is that of the next one."""

    position: Position

    def __next__(self) -> Batch: ...


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


class MetricsLog:
    """`metrics.jsonl`: one object a line. Lines beyond the step that a run resumes from are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [line for line in _lines(path) if line["step"] <= step]
        durable.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._stream: TextIO = path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        self._stream.write(json.dumps({"kind": kind, **values}) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a metrics file; a line cut off by a crash is passed over."""
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "step" in value:
                yield value


@dataclass
class Trainer:
    """One run, from wherever its state stands to a limit, a stop request or early stopping."""

    state: TrainState
    config: Config
    stream: Stream
    validate: Callable[[int], Validation]
    store: CheckpointStore
    log: MetricsLog
    stop: StopRequest
    say: Callable[[str], None] = tqdm.write

    def run(self) -> str:
        """Train; returns why it ended. On return the newest state is saved."""
        c, progress = self.config.training, self.state.progress
        self._started = time.monotonic() - progress.seconds
        self._skipped = 0
        self._recent = Recent()
        self.state.model.train()
        reason = self._reason_to_end()
        bar = tqdm(total=c.max_steps, initial=progress.step, unit="step", dynamic_ncols=True, desc="train")
        try:
            if reason and not self.stop.signal and 0 < progress.step != progress.validated_step:
                self._validate()  # stopped by a signal before, and now at its limit
            while not reason:
                updated = self._step()
                reason = self._reason_to_end()
                step = progress.step
                if updated:
                    bar.update(1)
                    if step % c.log_every == 0:
                        bar.total = self._horizon()  # moves when the limit is a time
                        bar.set_postfix_str(self._log_step())
                # One save a step at most: what is saved then knows the validation of that step.
                if (updated and step % c.validate_every == 0) or (reason and not self.stop.signal):
                    self._validate()
                    reason = reason or self._reason_to_end()
                elif (updated and step % c.save_every == 0) or reason:
                    self._save(best=False)
        finally:
            bar.close()
            self.log.close()
        return reason

    def _reason_to_end(self) -> str:
        c, progress = self.config.training, self.state.progress
        progress.seconds = time.monotonic() - self._started
        if self.stop.signal:
            return f"signal {self.stop.signal}"
        if progress.step >= c.max_steps:
            return f"max_steps {c.max_steps}"
        if c.max_minutes and progress.seconds + progress.reserve >= 60 * c.max_minutes:
            return f"max_minutes {c.max_minutes:g}"
        if c.patience and progress.bad_validations >= c.patience:
            return f"no better {c.metric} in {c.patience} validations"
        return ""

    def _step(self) -> bool:
        """One update from `accumulate` batches; False if it had no finite gradient and changed nothing."""
        progress, model = self.state.progress, self.state.model
        batches = [next(self.stream) for _ in range(self.config.training.accumulate)]
        tokens = sum(batch.tokens for batch in batches)
        model.zero_grad(set_to_none=True)
        nll = self._gradient(batches, tokens)
        norm = clip_gradient(model, self.config.optim.clip_norm)
        progress.position = self.stream.position
        if not torch.isfinite(norm):
            self._skip(float(norm))
            return False
        self._skipped = 0
        progress.step += 1
        progress.tokens += tokens
        c = self.config
        self._rate = learning_rate(c.optim, c.model.d_model, progress.step, self._horizon())
        set_learning_rate(self.state.optimizer, self._rate)
        self.state.optimizer.step()
        if self.state.average is not None:
            self.state.average.update(model, progress.step)
        self._recent.add(nll, tokens, norm)
        return True

    def _gradient(self, batches: list[Batch], tokens: int) -> Tensor:
        """Gradient of the mean loss over all tokens of these batches; returns their summed NLL."""
        c, model = self.config.training, self.state.model
        device = next(model.parameters()).device
        precision = pick_precision(device, c.precision)
        total = torch.zeros((), device=device)
        for batch in batches:
            on_device = batch.to(device)
            with products_in(device, precision):
                states = model(on_device)
                loss, nll = smoothed_loss(states, model.output_weight, on_device.tgt_out, c.label_smoothing)
            torch.autograd.backward(loss / tokens)
            total += nll.detach()
        return total

    def _horizon(self) -> int:
        """The step at which training will end: the step limit, or sooner if the time will be up before."""
        c, progress = self.config.training, self.state.progress
        if not c.max_minutes:
            return c.max_steps
        share = progress.seconds / max(60 * c.max_minutes - progress.reserve, 1e-9)
        return min(c.max_steps, max(progress.step, round(progress.step / max(share, 1e-9))))

    def _skip(self, norm: float) -> None:
        self._skipped += 1
        self.state.model.zero_grad(set_to_none=True)
        self.say(f"step {self.state.progress.step + 1}: gradient norm is {norm}; this update is left out")
        if self._skipped >= MAX_SKIPPED:
            raise UserError(
                f"{MAX_SKIPPED} updates in a row had no finite gradient; training has diverged",
                hint="lower optim.lr, or use training.precision: fp32; the last good checkpoint is kept",
            )

    def _log_step(self) -> str:
        progress = self.state.progress
        loss, norm, speed = self._recent.take()
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
        progress.validated_step = progress.step
        if self.state.average is not None:
            self.state.average.swap(self.state.model)
        self.state.model.eval()
        scores = self.validate(progress.step)
        self.state.model.train()
        if self.state.average is not None:
            self.state.average.swap(self.state.model)
        metric = scores.metric(self.config.training.metric)
        best = math.isfinite(metric) and (progress.best_score is None or metric > progress.best_score)
        if best:
            progress.best_score, progress.best_step, progress.bad_validations = (
                metric,
                progress.step,
                0,
            )
        else:
            progress.bad_validations += 1
        progress.seconds = time.monotonic() - self._started
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
        progress.reserve = max(progress.reserve, time.monotonic() - began)
        self._recent = Recent()

    def _save(self, *, best: bool) -> None:
        self.state.progress.seconds = time.monotonic() - self._started
        self.store.save(self.state, best=best, keep_last=self.config.training.keep_last)


class Recent:
    """Running sums since the last line of the log; read from the device only when asked."""

    def __init__(self) -> None:
        self.nll: Tensor | float = 0.0
        self.norm: Tensor | float = 0.0
        self.tokens = 0
        self.steps = 0
        self.since = time.monotonic()

    def add(self, nll: Tensor, tokens: int, norm: Tensor) -> None:
        self.nll, self.norm = self.nll + nll, self.norm + norm
        self.tokens += tokens
        self.steps += 1

    def take(self) -> tuple[float, float, float]:
        """(NLL a token in nats, mean gradient norm, target tokens a second), and begin anew."""
        loss, norm = float(self.nll) / max(self.tokens, 1), float(self.norm) / max(self.steps, 1)
        speed = self.tokens / max(time.monotonic() - self.since, 1e-9)
        self.__init__()  # type: ignore[misc]
        return loss, norm, speed
