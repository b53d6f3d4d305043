"""A log that never stops the server: a thread writes it, and entries that do not fit its queue are dropped."""

from __future__ import annotations

import logging
import os
import threading
from queue import Full, Queue

MAX_ENTRIES = 10_000
CLOSE_SECONDS = 2.0
"""Time for the rest of the log at the end; nobody may be reading it."""


class BackgroundHandler(logging.Handler):
    """Writes entries to a file descriptor. `dropped`: entries that did not fit, which a later entry reports."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._queue: Queue[bytes | None] = Queue(MAX_ENTRIES)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self.dropped:
            record.facts = {**getattr(record, "facts", {}), "dropped": self.dropped}
        try:
            self._queue.put_nowait((self.format(record) + "\n").encode("utf-8", errors="replace"))
            self.dropped = 0
        except Full:
            self.dropped += 1

    def close(self) -> None:
        try:
            self._queue.put_nowait(None)
        except Full:
            return
        self._thread.join(CLOSE_SECONDS)
        super().close()

    def _write(self) -> None:
        while (entry := self._queue.get()) is not None:
            try:
                while entry:
                    entry = entry[os.write(self._descriptor, entry) :]
            except OSError:
                self.dropped += 1  # the reader has gone
