"""The process that reads and writes an uploaded document (`documents.child`), as seen by the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_cli.deployment.documents import child
from transformer_cli.deployment.documents.base import Segment
from transformer_cli.deployment.documents.formats import DocumentFormat
from transformer_cli.deployment.server.settings import RequestError

MAX_MEMORY = 1 << 30
"""Address space of the process in bytes; about a quarter of it is Python and its libraries."""
MAX_ANSWER = 64 << 20
"""Bytes of the segments, and of the translated document."""
STATUS = {"UnsupportedDocumentError": 415, "DocumentTooLargeError": 413, "MemoryError": 413, "ConfigError": 501}
"""Status codes by names of errors; 422 for others."""
TOO_EXPENSIVE = "the document needs too much memory or time to be read"
VARIABLES = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Each thread of the libraries of numpy would reserve memory."""

logger = logging.getLogger(__name__)


@dataclass
class DocumentProcess:
    """A document that was read, in its process.

    Attributes:
        segments: its text.
        language: what it says its language is; empty if it does not.
    """

    _process: asyncio.subprocess.Process
    segments: list[Segment]
    language: str

    async def write(self, texts: Sequence[str], language: str) -> bytes:
        """The document with these texts. Raises: RequestError."""
        answer = await asyncio.to_thread(lambda: json.dumps({"texts": texts, "language": language}).encode())
        await _send(self._process, answer)
        await _receive_answer(self._process)
        return await _receive(self._process)


@contextlib.asynccontextmanager
async def read_in_process(data: bytes, form: DocumentFormat, seconds: float) -> AsyncIterator[DocumentProcess]:
    """Read a document in a process of its own, which ends with the context.

    Args:
        seconds: CPU time that the process may take. The caller limits the time of the context.

    Raises:
        RequestError: a document that cannot be translated, or is too expensive to read.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", child.__name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **VARIABLES},
        start_new_session=True,  # Ctrl-C stops the server, which still answers what it has accepted
    )
    try:
        limits = {"name": form.name, "memory": MAX_MEMORY, "seconds": math.ceil(seconds)}
        await _send(process, json.dumps(limits).encode())
        await _send(process, data)
        answer = await _receive_answer(process)
        segments = [Segment(text, "", flows) for text, flows in answer["segments"]]
        yield DocumentProcess(process, segments, answer["language"])
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _send(process: asyncio.subprocess.Process, content: bytes) -> None:
    assert process.stdin
    process.stdin.write(child.LENGTH.pack(len(content)))
    process.stdin.write(content)
    with contextlib.suppress(ConnectionError):  # it has ended, and its answer says why
        await process.stdin.drain()


async def _receive(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout
    try:
        (length,) = child.LENGTH.unpack(await process.stdout.readexactly(child.LENGTH.size))
        if length > MAX_ANSWER:
            raise RequestError(413, f"the document has more than {MAX_ANSWER >> 20} MiB of text")
        return await process.stdout.readexactly(length)
    except asyncio.IncompleteReadError:
        code = await process.wait()
        logger.warning("a document ended its process", extra={"facts": {"code": code}})
        raise RequestError(413, TOO_EXPENSIVE) from None


async def _receive_answer(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Raises: RequestError: a refusal."""
    answer: dict[str, Any] = await asyncio.to_thread(json.loads, await _receive(process))
    if answer["kind"] == child.REFUSED:
        status = STATUS.get(answer["error"], 422)
        reason = answer["what"] or (TOO_EXPENSIVE if status == 413 else "is nested too deeply")
        message = reason if reason == TOO_EXPENSIVE else f"the document: {reason}"
        raise RequestError(status, f"{message}; {answer['hint']}" if answer["hint"] else message)
    return answer
