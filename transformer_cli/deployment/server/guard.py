"""ASGI middleware around all requests: limits, keys, errors as JSON, request ids, metrics and the log."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from transformer_cli import durable
from transformer_cli.deployment.server.service import Service
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import ConfigError
from transformer_cli.untrusted import read_bounded

MAX_KEYS_BYTES = 1 << 20
MAX_HEAD, MAX_HEADERS = 32 << 10, 100
"""Bytes and number of the headers of a request."""
MAX_DISCARDED, DISCARD_SECONDS = 16 << 20, 5.0
"""Bytes of a refused body that are read, and for how long."""
MAX_BODIES_BYTES = 64 << 20
"""Bytes of the bodies of all requests that are being answered."""
BODY_SECONDS = 10.0
"""Time that a client may take to send a part of a body."""
SEND_SECONDS = 20.0
"""Time that a client may take to receive a part of an answer."""
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)


class ApiKeys:
    """The keys that give access, as hashes; none: everybody has access."""

    def __init__(self, path: Path | None) -> None:
        """Raises: ConfigError: no such file, or one without keys."""
        self.path = path
        self._hashes = self._read(path) if path else []

    @staticmethod
    def _read(path: Path) -> list[str]:
        try:
            text = read_bounded(path.resolve(), MAX_KEYS_BYTES).decode("utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is not UTF-8") from None
        keys = [line.strip() for line in text.split("\n") if line.strip() and not line.startswith("#")]
        if not keys:
            raise ConfigError(f"{path}: has no keys", hint="write one key per line")
        return [durable.sha256(key.encode()) for key in keys]

    @property
    def are_required(self) -> bool:
        return self.path is not None

    def check(self, key: str | None) -> None:
        """Raises: RequestError if the key gives no access."""
        if not self.are_required:
            return
        digest = durable.sha256((key or "").encode())
        matches = [hmac.compare_digest(digest, known) for known in self._hashes]  # all of them, in constant time
        if not any(matches):
            raise RequestError(
                401,
                "an API key is needed, in the field api_key or as a bearer token",
                headers={"www-authenticate": "Bearer"},
            )


class Guard:
    """Wraps an ASGI application."""

    def __init__(self, app: App, service: Service, label: Callable[[str], str], uploads: str) -> None:
        """
        Args:
            label: what a path is called in the metrics and the log.
            uploads: the path that receives documents.
        """
        self.app, self.service, self.label, self.uploads = app, service, label, uploads
        self._active: Counter[str] = Counter()
        self._bodies = 0
        self.accepted = self.answered = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Exchange(self, scope, receive, send).run()

    def enter(self, client: str) -> None:
        """Count a request. Raises: RequestError if the client has too many."""
        if self._active[client] >= self.service.settings.max_requests:
            raise RequestError(429, "too many requests at the same time", retry_after=1)
        self._active[client] += 1

    def leave(self, client: str) -> None:
        self._active[client] -= 1
        if not self._active[client]:
            del self._active[client]

    def max_bytes(self, path: str) -> int:
        """Bytes of the body of a request for a path."""
        settings = self.service.settings
        return settings.max_document_bytes if path == self.uploads else settings.max_bytes

    def add_bytes(self, count: int) -> None:
        """Count bytes of bodies. Raises: RequestError if there are too many in all."""
        if self._bodies + count > MAX_BODIES_BYTES:
            raise RequestError(503, "the server is busy", retry_after=1)
        self._bodies += count

    def remove_bytes(self, count: int) -> None:
        self._bodies -= count


class _Exchange:
    """One request and its answer."""

    def __init__(self, guard: Guard, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.id = uuid.uuid4().hex[:16]
        self.start = time.perf_counter()
        self.status = 0
        self.bytes = 0
        self.received = False  # the whole body
        self.streams = False

    async def run(self) -> None:
        client = (self.scope.get("client") or ("", 0))[0]
        guard, metrics = self.guard, self.guard.service.metrics
        guard.accepted += 1
        metrics.active.inc()
        entered = False
        try:
            self._check_head()
            guard.enter(client)
            entered = True
            await self.guard.app(self.scope, self.receive, self.send)
        except RequestError as error:
            await self._send_error(error)
        except ConnectionError:
            pass  # the client has gone
        except Exception as error:
            # Neither the message nor the traceback, which may quote the text.
            place = _place(error)
            logger.error(
                "unexpected error", extra={"facts": {"id": self.id, "error": type(error).__name__, **place}}
            )
            await self._send_error(RequestError(500, "internal error"))
        finally:
            if entered:
                guard.leave(client)
            guard.remove_bytes(self.bytes)
            metrics.active.dec()
            self._report()

    def _check_head(self) -> None:
        """Raises: RequestError: the head of the request tells that it is refused."""
        names = [name for name, _ in self.scope["headers"]]
        if b"transfer-encoding" in names and b"content-length" in names:
            raise RequestError(
                400, "Content-Length and Transfer-Encoding exclude each other", headers={"connection": "close"}
            )
        if (
            len(names) > MAX_HEADERS
            or sum(len(name) + len(value) for name, value in self.scope["headers"]) > MAX_HEAD
        ):
            raise RequestError(431, "the head of the request is too large", headers={"connection": "close"})
        length = self.headers.get("content-length", "0")
        if length.isdecimal() and int(length[:18]) > self.guard.max_bytes(self.scope["path"]):
            raise self._too_large()

    def _too_large(self) -> RequestError:
        return RequestError(413, f"the body has more than {self.guard.max_bytes(self.scope['path']):,} bytes")

    async def receive(self) -> Message:
        """The next part of the body. Raises: RequestError: it is too large or too slow."""
        if self.received or not self._has_body():
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), BODY_SECONDS)
        except TimeoutError:
            raise RequestError(408, "the body was not sent in time") from None
        if message["type"] == "http.request":
            self.received = not message.get("more_body", False)
            size = len(message.get("body", b""))
            if self.bytes + size > self.guard.max_bytes(self.scope["path"]):
                raise self._too_large()
            self.guard.add_bytes(size)
            self.bytes += size
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer. Raises: ConnectionError: the client does not receive it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self.id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
                (b"referrer-policy", b"no-referrer"),
            ]
        self.streams |= message.get("more_body", False)
        if not self.streams:  # it does not wait for the client
            await self._send(message)
            return
        try:
            await asyncio.wait_for(self._send(message), SEND_SECONDS)
        except TimeoutError:
            raise ConnectionError("the client does not receive its answer") from None

    async def _send_error(self, error: RequestError) -> None:
        if self.status:  # the answer has begun
            return
        body = json.dumps({"error": error.message}, ensure_ascii=False).encode("utf-8", errors="replace")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
        if error.status != 408:
            await self._discard_body()
        if not self.received and self._has_body():
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _discard_body(self) -> None:
        """Read the rest of the body: a client that is still sending would not see the answer."""
        left = MAX_DISCARDED
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while self._has_body() and not self.received and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self.received = not message.get("more_body", False)

    def _has_body(self) -> bool:
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    def _report(self) -> None:
        seconds = time.perf_counter() - self.start
        path = self.guard.label(self.scope["path"])
        self.guard.answered += bool(self.status)
        self.guard.service.metrics.add_request(path, self.status, seconds)
        facts = {"id": self.id, "method": self.scope["method"][:10], "path": path, "status": self.status}
        logger.info("request", extra={"facts": {**facts, "ms": round(1000 * seconds, 1), "bytes": self.bytes}})


def _place(error: BaseException) -> dict[str, Any]:
    """File and line of an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return {"file": Path(trace.tb_frame.f_code.co_filename).name, "line": trace.tb_lineno} if trace else {}
