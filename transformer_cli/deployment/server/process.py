"""The server process: the port, slow clients, signals, and the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from transformer_cli.deployment.server.app import Application, encode_json
from transformer_cli.deployment.server.guard import MAX_HEAD, ApiKeys
from transformer_cli.deployment.server.log import BackgroundHandler
from transformer_cli.deployment.server.models import ModelFile
from transformer_cli.deployment.server.service import Service
from transformer_cli.deployment.server.settings import ServerSettings
from transformer_cli.errors import ConfigError, UserError

HEAD_SECONDS = 5.0
"""Time that a client may take to send the head of a request."""
KEEP_ALIVE_SECONDS = 15
LINGER_SECONDS = 0.5
"""At a stop, time for a request that is on its way on an open connection."""
SWITCH_SECONDS = 0.0005
"""Python's default of 5 ms is what the event loop would wait for each of its calls during a search."""
FLUSH_SECONDS = 20.0
"""Time that a client may take to receive the end of an answer."""

logger = logging.getLogger(__name__)


class JsonLog(logging.Formatter):
    """One JSON object per message, with the facts of `extra={"facts": {...}}`. The users' text is never logged."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        facts = getattr(record, "facts", {})
        entry = {"time": f"{when}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
        return json.dumps({**entry, "event": record.getMessage(), **facts}, ensure_ascii=False)


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with limits on time: uvicorn has none for the head of a request, nor for an answer's end."""

    max_connections = 0
    is_stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._start_deadline(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_request:
            self._stop_deadline()
        elif self._deadline is None:
            self._start_deadline(HEAD_SECONDS)

    def handle_events(self) -> None:
        super().handle_events()
        if self.is_stopping and self._in_request:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """Answer the request that is being read or on its way, then close."""
        self.is_stopping = True
        if self._in_request:
            self.cycle.keep_alive = False
        else:
            self._unset_keepalive_if_required()
            self.loop.call_later(LINGER_SECONDS, self._close_idle)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP/1.1, as JSON."""
        body = encode_json({"error": "the request is not valid HTTP"})
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):  # an answer has begun
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def _in_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_idle(self) -> None:
        if not self._in_request and not self.transport.is_closing():
            self.transport.close()

    def _start_deadline(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._in_request and self.timeout_keep_alive_task is None:
            self.transport.abort()


class TranslationServer(Server):
    """uvicorn's server, with reload at SIGHUP, and exit code 0 after a graceful stop."""

    def __init__(self, config: Config, application: Application, on_start: Callable[[str], object]) -> None:
        super().__init__(config)
        self.application = application
        self.service = application.service
        self._on_start = on_start
        self._reloading: asyncio.Task[None] | None = None
        self._reload_requested = False

    async def startup(self, sockets: Any = None) -> None:
        """Raises: ConfigError: the port cannot be opened."""
        self.service.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._start_reload)
        address = f"{self.config.host}:{self.config.port}"
        try:
            await super().startup(sockets)
        except SystemExit:
            raise ConfigError(
                f"{address}: cannot be opened: in use, or not permitted", hint="choose another --host or --port"
            ) from None
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._on_start(f"http://{host}:{self.servers[0].sockets[0].getsockname()[1]}")

    async def shutdown(self, sockets: Any = None) -> None:
        self.service.is_ready = False
        await super().shutdown(sockets)
        await self.service.close()
        guard = self.application.guard
        logger.info("stopped", extra={"facts": {"accepted": guard.accepted, "answered": guard.answered}})

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    def _start_reload(self) -> None:
        self._reload_requested = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload_until_current())

    async def _reload_until_current(self) -> None:
        """Reload again after a signal that came during a reload, which may have read the files before it."""
        while self._reload_requested:
            self._reload_requested = False
            await self._reload()

    async def _reload(self) -> None:
        try:
            keys = ApiKeys(self.service.settings.api_key_file)
            await self.service.reload()
            self.application.keys = keys
        except UserError as error:
            self.service.metrics.reloads.labels("refused").inc()
            logger.error("reload refused; the old models remain", extra={"facts": {"reason": error.what}})
        else:
            self.service.metrics.reloads.labels("done").inc()
            logger.info("reloaded")


def run_server(
    files: Sequence[ModelFile],
    overrides: Mapping[str, Any],
    device: str,
    settings: ServerSettings,
    on_start: Callable[[str], object],
) -> None:
    """Open the models, then the port, and answer requests until SIGTERM or SIGINT.

    Args:
        on_start: called with the server's address when it accepts requests.

    Raises:
        UserError: a model, an option or the address cannot be used.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    handler = BackgroundHandler(sys.stderr.fileno())
    handler.setFormatter(JsonLog())
    logging.getLogger("transformer_cli").addHandler(handler)
    logging.getLogger("transformer_cli").setLevel(logging.INFO)
    keys = ApiKeys(settings.api_key_file)
    service = Service(files, overrides, device, settings)
    application = Application(service, keys)
    protocol = type("Protocol", (BoundedProtocol,), {"max_connections": settings.max_connections})
    config = Config(
        application.guard,
        host=settings.host,
        port=settings.port,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.timeout) + 5,
        h11_max_incomplete_event_size=MAX_HEAD,
        backlog=1024,
    )
    try:
        TranslationServer(config, application, on_start).run()
    finally:
        handler.close()
