"""The progress of a training: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from tqdm import tqdm

from transformer_cli.schema import TrainingConfig
from transformer_cli.training.state import Progress

INTERVAL = 10.0
"""Minimum seconds between lines where there is no terminal for a bar."""
BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps {postfix}"


class ProgressDisplay:
    """Shows step, loss, speed, last and best validation score, and the time left to the limit."""

    def __init__(
        self, limits: TrainingConfig, progress: Progress, notify: Callable[[str], None], *, enabled: bool
    ) -> None:
        """`enabled`: False on all ranks but the main one."""
        self.limits, self.progress, self.notify, self.enabled = limits, progress, notify, enabled
        self.last_score: float | None = None
        self._last_line = -INTERVAL
        self._bar = tqdm(
            total=limits.max_steps,
            initial=progress.step,
            dynamic_ncols=True,
            desc="train",
            bar_format=BAR_FORMAT,
            disable=None if enabled else True,  # None: only on a terminal
        )

    def step(self) -> None:
        """One update more."""
        self._bar.update(1)

    def report(self, summary: str, total_steps: int) -> None:
        """Show a summary of the last updates, such as loss and speed.

        Args:
            total_steps: the expected last step; an estimate if there is a time limit.
        """
        parts = [summary, *self._scores(), f"{_duration(self.seconds_left(total_steps))} left"]
        text = ", ".join(parts)
        self._bar.total = total_steps
        self._bar.set_postfix_str(text)
        if self.enabled and self._bar.disable and time.monotonic() - self._last_line >= INTERVAL:
            self.notify(f"step {self.progress.step} of {total_steps}: {text}")
            self._last_line = time.monotonic()

    def validated(self, score: float) -> None:
        """The score of a validation, in the metric that selects the best checkpoint."""
        self.last_score = score

    def seconds_left(self, total_steps: int) -> float:
        """Seconds to the expected end, validations included."""
        progress = self.progress
        by_steps = progress.seconds / max(progress.step, 1) * (total_steps - progress.step)
        if self.limits.max_minutes is None:
            return max(by_steps, 0.0)
        return max(min(60 * self.limits.max_minutes - progress.seconds, by_steps), 0.0)

    def close(self) -> None:
        self._bar.close()

    def _scores(self) -> list[str]:
        """`BLEU 34.1 (best 35.2)`; scores of losses are negative inside and positive for the reader."""
        best, name = self.progress.best_score, {"bleu": "BLEU", "chrf": "chrF", "loss": "validation loss"}
        if best is None:
            return []
        metric, digits = name[self.limits.metric], 3 if self.limits.metric == "loss" else 1
        if self.last_score is None:  # resumed, and not validated since
            return [f"best {metric} {abs(best):.{digits}f}"]
        return [f"{metric} {abs(self.last_score):.{digits}f} (best {abs(best):.{digits}f})"]


def _duration(seconds: float) -> str:
    """`0:42`, `12:30`, `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
