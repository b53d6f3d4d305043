"""The ASGI application: its paths, and how requests become answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from transformer_cli.deployment.server.bodies import read_body, read_upload
from transformer_cli.deployment.server.documents import DocumentService, TranslatedDocument
from transformer_cli.deployment.server.guard import ApiKeys, Guard
from transformer_cli.deployment.server.openapi import describe_api, render_docs
from transformer_cli.deployment.server.page import read_page
from transformer_cli.deployment.server.schemas import AttentionRequest, DetectRequest, TranslateRequest
from transformer_cli.deployment.server.service import Service, Translating
from transformer_cli.deployment.server.settings import RequestError

UPLOAD, DOWNLOAD = "/translate_file", "/download_file"
HOST = re.compile(r"[\w.-]+(:\d+)?|\[[\da-fA-F:]+\](:\d+)?")
"""Values of the header Host that are repeated in an address."""
Result = TypeVar("Result")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Application:
    """The paths of the server. `guard` is the ASGI application."""

    def __init__(self, service: Service, keys: ApiKeys) -> None:
        self.service = service
        self.documents = DocumentService(service)
        self.keys = keys
        self.page, self.page_headers = read_page()
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/", self.get_page),
            ("GET", "/languages", self.get_languages),
            ("GET", "/models", self.get_models),
            ("GET", "/health", self.get_health),
            ("GET", "/ready", self.get_ready),
            ("GET", "/metrics", self.get_metrics),
            ("GET", "/openapi.json", self.get_schema),
            ("GET", "/docs", self.get_docs),
            ("POST", "/translate", self.translate),
            ("POST", "/detect", self.detect),
            ("POST", "/attention", self.attention),
            ("POST", UPLOAD, self.translate_file),
        ]
        self.handlers: dict[str, dict[str, Handler]] = {}
        for method, path, handler in routes:
            self.handlers.setdefault(path, {})[method] = handler
        self.guard = Guard(self.answer, service, self._label, UPLOAD)

    def _label(self, path: str) -> str:
        """What the metrics call a path."""
        is_download = path.startswith(f"{DOWNLOAD}/")
        return path if path in self.handlers else f"{DOWNLOAD}/..." if is_download else "other"

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application without its guard. Raises: RequestError."""
        is_download = scope["path"].startswith(f"{DOWNLOAD}/")
        methods = {"GET": self.download_file} if is_download else self.handlers.get(scope["path"])
        if methods is None:
            raise RequestError(404, "there is nothing at this path; see /docs")
        handler = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if handler is None:
            raise RequestError(
                405, "this path has another method; see /docs", headers={"allow": ", ".join(methods)}
            )
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    async def get_page(self, request: Request) -> Response:
        return Response(self.page, media_type="text/html", headers=self.page_headers)

    async def get_languages(self, request: Request) -> Response:
        return json_response(self.service.languages())

    async def get_models(self, request: Request) -> Response:
        return json_response(self.service.describe_models())

    async def get_health(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    async def get_ready(self, request: Request) -> Response:
        if not self.service.is_ready:
            raise RequestError(503, "the server is stopping")
        return json_response({"status": "ready"})

    async def get_metrics(self, request: Request) -> Response:
        self.keys.check(_key(request, None))
        content, media_type = self.service.metrics.render()
        return Response(content, media_type=media_type)

    async def get_schema(self, request: Request) -> Response:
        return json_response(describe_api())

    async def get_docs(self, request: Request) -> Response:
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(render_docs(describe_api()), media_type="text/html", headers=headers)

    async def detect(self, request: Request) -> Response:
        body = await self._read(request, DetectRequest)
        return json_response(self.service.detect(body.q))

    async def attention(self, request: Request) -> Response:
        body = await self._read(request, AttentionRequest)
        return json_response(await self.service.attention(body))

    async def translate(self, request: Request) -> Response:
        body = await self._read(request, TranslateRequest)
        translating = await self.service.translate(body)
        if body.stream:
            return StreamingResponse(_json_lines(translating), media_type="application/x-ndjson")
        try:
            return json_response(await _while_connected(request, translating.answer()))
        except ConnectionError:
            translating.cancel()
            raise

    async def translate_file(self, request: Request) -> Response:
        self._check_early(request)
        name, content, body = await read_upload(request)
        self.keys.check(_key(request, body))
        document = await _while_connected(request, self.documents.translate(name, content, body))
        if body.direct:
            return file_response(document)
        host, scheme = request.headers.get("host", ""), request.headers.get("x-forwarded-proto", "http")
        base = f"{'https' if scheme == 'https' else 'http'}://{host}" if HOST.fullmatch(host) else ""
        return json_response({"translatedFileUrl": f"{base}{DOWNLOAD}/{self.documents.results.add(document)}"})

    async def download_file(self, request: Request) -> Response:
        return file_response(self.documents.results.get(request.url.path.rpartition("/")[2]))

    async def _read(self, request: Request, schema: type[Any]) -> Any:
        """The body of a request, if its key gives access. Raises: RequestError."""
        self._check_early(request)
        body = await read_body(request, schema)
        self.keys.check(_key(request, body))
        return body

    def _check_early(self, request: Request) -> None:
        """Check a key in the head, before the body is read. Raises: RequestError."""
        if self.keys.are_required and (key := _key(request, None)) is not None:
            self.keys.check(key)


def file_response(document: TranslatedDocument) -> Response:
    """A response with a document, which a browser saves."""
    return Response(document.content, headers=document.headers)


def json_response(value: Any) -> Response:
    """A response with a value as JSON."""
    return Response(encode_json(value), media_type="application/json")


def encode_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


def _key(request: Request, body: BaseModel | None) -> str | None:
    """The API key of a request: in the head or in the body."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    key: str | None = getattr(body, "api_key", None)
    return request.headers.get("x-api-key", key)


async def _while_connected(request: Request, answer: Awaitable[Result]) -> Result:
    """The answer. Raises: ConnectionError if the client disconnects before."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answering, watching = asyncio.ensure_future(answer), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()
        raise ConnectionError("the client has gone")
    finally:
        answering.cancel()
        watching.cancel()


async def _json_lines(translating: Translating) -> AsyncIterator[bytes]:
    """One JSON object per line; an error after the first line is the last one."""
    try:
        async for answer in translating.stream():
            yield encode_json(answer) + b"\n"
    except RequestError as error:
        yield encode_json({"error": error.message}) + b"\n"
    finally:
        translating.cancel()
