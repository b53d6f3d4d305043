"""What a run writes down while it trains: `metrics.jsonl`, and the sums between two of its lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from torch import Tensor

from transformer_cli import durable
from transformer_cli.errors import DiskError


class MetricsLog:
    """`metrics.jsonl`: one object a line. Lines beyond what a run resumes from are dropped."""

    def __init__(self, path: Path | None, step: int, validated_step: int) -> None:
        """Without a path nothing is written: of several ranks one keeps the log."""
        self._stream: TextIO | None = None
        if path is None:
            return
        last = {"validation": min(step, validated_step)}  # a crash may have come between this line and its save
        kept = [line for line in _lines(path) if line["step"] <= last.get(str(line.get("kind")), step)]
        durable.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._stream = path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        """Raises: DiskError."""
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


class RunningAverage:
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

    def pop(self) -> tuple[float, float, float]:
        """(NLL a token in nats, mean gradient norm, target tokens a second), and begin anew."""
        loss, norm = float(self.nll) / max(self.tokens, 1), float(self.norm) / max(self.steps, 1)
        speed = self.tokens / max(time.monotonic() - self.since, 1e-9)
        self.__init__()  # type: ignore[misc]
        return loss, norm, speed
