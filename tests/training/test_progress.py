"""The progress display: what it shows, and when."""

from __future__ import annotations

import io
from typing import Any

import pytest
from tqdm import tqdm

from transformer_cli.schema import TrainingConfig
from transformer_cli.training import progress as module
from transformer_cli.training.progress import ProgressDisplay
from transformer_cli.training.state import Progress


def display(*, enabled: bool = True, seconds: float = 100.0, **limits: Any) -> tuple[ProgressDisplay, list[str]]:
    """A display without a terminal, at step 50 after `seconds`, and its messages."""
    messages: list[str] = []
    progress = Progress(step=50, seconds=seconds)
    return ProgressDisplay(TrainingConfig(**limits), progress, messages.append, enabled=enabled), messages


def test_a_line_has_loss_speed_scores_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    shown, messages = display(max_steps=200)
    shown.report("loss 2.000, 900 tok/s", 200)
    assert messages == ["step 50 of 200: loss 2.000, 900 tok/s, 5:00 left"]
    shown.validated(21.04)
    shown.progress.best_score = 22.0
    shown.report("loss 1.000", 200)
    assert messages[1] == "step 50 of 200: loss 1.000, BLEU 21.0 (best 22.0), 5:00 left"


@pytest.mark.parametrize(("metric", "text"), [("bleu", "best BLEU 30.0"), ("chrf", "best chrF 30.0")])
def test_a_resumed_run_shows_the_best_score(metric: str, text: str) -> None:
    shown, messages = display(metric=metric)
    shown.progress.best_score = 30.0
    shown.report("loss 1.000", 100)
    assert text in messages[0] and "(" not in messages[0]


def test_losses_are_positive_for_the_reader() -> None:
    shown, messages = display(metric="loss")
    shown.progress.best_score = -1.5
    shown.validated(-1.625)
    shown.report("loss 1.000", 100)
    assert "validation loss 1.625 (best 1.500)" in messages[0]


def test_time_left_is_that_of_the_limit_that_comes_first() -> None:
    assert display()[0].seconds_left(150) == 200.0
    assert display(max_minutes=2.0)[0].seconds_left(150) == 20.0
    assert display(max_minutes=60.0)[0].seconds_left(150) == 200.0
    assert display(max_minutes=1.0)[0].seconds_left(150) == 0.0
    assert [module._duration(s) for s in (0, 42.4, 750, 11_100)] == ["0:00", "0:42", "12:30", "3:05:00"]


def test_lines_are_seconds_apart_and_of_one_rank() -> None:
    shown, messages = display()
    for _ in range(5):
        shown.report("loss 1.000", 100)
    assert len(messages) == 1
    silent, messages = display(enabled=False)
    silent.report("loss 1.000", 100)
    assert messages == []


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(module, "tqdm", lambda **options: tqdm(**options, file=terminal, mininterval=0))
    shown, messages = display(max_steps=200)
    shown.step()
    shown.report("loss 2.000", 200)
    shown.close()
    assert messages == [] and "51/200 steps" in terminal.getvalue() and "left" in terminal.getvalue()
