"""Settings and limits of the server, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens, and what it accepts.

    Attributes:
        host, port: address; port 0 selects a free one.
        api_key_file: file with one key per line; None: no key is needed.
        max_bytes: bytes of the body of a request.
        max_document_bytes: bytes of the body of a request with a document, and characters of its text.
        max_lines: lines of the text of a request.
        max_queue: sentences that wait for translation, over all requests for a model.
        max_requests: concurrent requests of one client (API key, or address without keys).
        max_connections: open connections.
        timeout: seconds that a request may take.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    api_key_file: Path | None = None
    max_bytes: int = 2 << 20
    max_lines: int = 2000
    max_queue: int = 4000
    max_requests: int = 128
    max_connections: int = 512
    timeout: float = 60.0
    max_document_bytes: int = 10 << 20


class RequestError(Exception):
    """A request that is refused.

    Attributes:
        status: HTTP status code.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, message: str, *, retry_after: int = 0, headers: Mapping[str, str] | None = None
    ) -> None:
        """`retry_after`: seconds after which the client may try again; 0: not worth it."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {**(headers or {}), **({"retry-after": str(retry_after)} if retry_after else {})}
