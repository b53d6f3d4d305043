"""Reads and writes one document of a stranger in a process of its own: `python -m` this module.

The process has little memory and time, so that whatever is in the document harms nobody else. On stdin it
receives a frame with a JSON object (`name` of the format, `memory` in bytes, `seconds`), one with the document,
and one with the translations. On stdout it answers with the segments, and then with the translated document. A
frame is its length as eight bytes, then its content.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from transformer_cli.deployment.documents.formats import FORMATS, parse_document
from transformer_cli.errors import UserError

LENGTH = struct.Struct(">Q")
DONE, REFUSED = "document", "refused"
"""Kinds of answers: a document, or a reason why there is none."""


def serve_document(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Answer on `stdout`: the segments, then the translated document; or one refusal."""
    request = json.loads(_read(stdin))
    _limit(int(request["memory"]), int(request["seconds"]))
    form = next(form for form in FORMATS if form.name == request["name"])
    try:
        document = parse_document(_read(stdin), form)
        segments = [[segment.text, segment.flows] for segment in document.segments]
        _write(stdout, {"kind": DONE, "segments": segments, "language": document.language})
        answer = json.loads(_read(stdin))
        content = document.render(answer["texts"], answer["language"])
    except UserError as error:
        name = type(error).__name__
        if _peak_memory() > 0.9 * request["memory"]:  # lxml takes a lack of memory for a mistake in the document
            name, error = MemoryError.__name__, UserError("")
        _write(stdout, {"kind": REFUSED, "error": name, "what": error.what, "hint": error.hint})
    except (MemoryError, RecursionError) as error:
        _write(stdout, {"kind": REFUSED, "error": type(error).__name__, "what": "", "hint": ""})
    else:
        _write(stdout, {"kind": DONE})
        _write_bytes(stdout, content)


def _limit(memory: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _peak_memory() -> int:
    """Largest address space so far, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmPeak:")[2].split()[0])


def _read(stream: BinaryIO) -> bytes:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        sys.exit(1)  # the server has given the document up
    (length,) = LENGTH.unpack(head)
    return stream.read(length)


def _write(stream: BinaryIO, value: Any) -> None:
    _write_bytes(stream, json.dumps(value).encode())


def _write_bytes(stream: BinaryIO, content: bytes) -> None:
    stream.write(LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


if __name__ == "__main__":
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no frame
    serve_document(sys.stdin.buffer, output)
