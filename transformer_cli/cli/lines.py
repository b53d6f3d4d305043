"""Lines on their way through `translate`: gathered into chunks, written as text or JSON."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from transformer_cli.data.text import encode_lines, one_line

if TYPE_CHECKING:
    from transformer_cli.decoding.translator import Translation


def chunks(lines: Iterator[str], size: int, *, eager: bool) -> Iterator[list[str]]:
    """Lists of at most `size` lines. `eager` gives what has come so far instead of waiting for more."""
    if not eager:
        while chunk := list(islice(lines, size)):
            yield chunk
        return
    waiting: queue.Queue[str | BaseException | None] = queue.Queue(maxsize=4 * size)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except BaseException as error:  # raised again where the lines are used
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    ended = False
    while not ended:
        chunk = []
        item = waiting.get()
        while isinstance(item, str):
            chunk.append(item)
            if len(chunk) == size:
                break
            try:
                # A moment's grace lets a fast writer fill a batch.
                item = waiting.get(timeout=0.05)
            except queue.Empty:
                break
        if chunk:
            yield chunk
        if isinstance(item, BaseException):
            raise item
        ended = item is None


def render(sources: list[str], translations: list[Translation], form: str) -> bytes:
    """One line for each source line, as text or as JSON."""
    if form == "text":
        return encode_lines(t.text for t in translations)
    objects = (
        {"source": source, "translation": one_line(t.text), "score": t.score, "status": t.status}
        for source, t in zip(sources, translations, strict=True)
    )
    return encode_lines(json.dumps(value, ensure_ascii=False) for value in objects)
