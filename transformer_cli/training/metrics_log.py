"""Training metrics: the log file `metrics.jsonl`, and averages between two log lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from transformer_cli import durable
from transformer_cli.errors import CheckpointError, DiskError
from transformer_cli.untrusted import require_regular

if TYPE_CHECKING:  # reading the file needs no torch
    from torch import Tensor


class MetricsLog:
    """The file `metrics.jsonl`, one JSON object per line.

    Opening it drops the lines after the checkpoint that a run resumes from.
    """

    def __init__(self, path: Path | None, step: int, validated_step: int) -> None:
        """Open the log for appending.

        Args:
            path: the file; None on ranks that write no log.
            step: the step of the checkpoint to resume from.
            validated_step: the last step whose validation is in that checkpoint.
        """
        self._stream: TextIO | None = None
        if path is None:
            return
        # A crash between the log and the checkpoint leaves a validation that the checkpoint does not know.
        last_steps = {"validation": min(step, validated_step)}
        records = (r for r in read_metrics(path) if r["step"] <= last_steps.get(str(r.get("kind")), step))
        durable.write_text(path, "".join(json.dumps(record) + "\n" for record in records))
        self._stream = path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        """Append one line. Raises: DiskError."""
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps({"kind": kind, **values}) + "\n")
            self._stream.flush()
        except OSError as error:
            raise DiskError(f"{self._stream.name}: cannot be written: {error.strerror}") from None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The valid lines of a metrics file; a line truncated by a crash is skipped. Raises: CheckpointError."""
    if path.exists() or path.is_symlink():
        try:
            require_regular(path)
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror}") from None
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "step" in value:
                yield value


class RunningAverage:
    """Averages since the last log line; values are copied from the device only by `pop`."""

    def __init__(self) -> None:
        self.nll: Tensor | float = 0.0
        self.norm: Tensor | float = 0.0
        self.tokens = 0
        self.steps = 0
        self.start = time.monotonic()

    def add(self, nll: Tensor, tokens: int, norm: Tensor) -> None:
        self.nll, self.norm = self.nll + nll, self.norm + norm
        self.tokens += tokens
        self.steps += 1

    def pop(self) -> tuple[float, float, float]:
        """Return (NLL per token in nats, mean gradient norm, target tokens per second) and reset."""
        loss, norm = float(self.nll) / max(self.tokens, 1), float(self.norm) / max(self.steps, 1)
        speed = self.tokens / max(time.monotonic() - self.start, 1e-9)
        self.__init__()  # type: ignore[misc]
        return loss, norm, speed
