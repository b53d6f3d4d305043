"""Reads the bodies of requests: JSON or forms, bounded, and without characters that no text has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from transformer_cli.deployment.server.schemas import DocumentRequest
from transformer_cli.deployment.server.settings import RequestError

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
MAX_FIELDS = 32
Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, schema: type[Body]) -> Body:
    """The body of a request as JSON or, by its media type, a form.

    Raises:
        RequestError: 400: it cannot be parsed; 422: it does not match the schema.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in FORMS:
        fields, strict = await _read_form(request), False
    else:
        fields, strict = _parse_json(await request.body()), True
    if not isinstance(fields, dict):
        raise RequestError(422, "the body must be a JSON object")
    try:
        return schema.model_validate(fields, strict=strict)
    except ValidationError as error:
        raise RequestError(422, describe(error)) from None


async def read_upload(request: Request) -> tuple[str, bytes, DocumentRequest]:
    """The name and the content of an uploaded document, and the other fields. Nothing is written to the disk.

    Raises:
        RequestError: 400: the form cannot be parsed or has no document; 415: it is no such form; 422: its fields.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise RequestError(415, "the body must be multipart/form-data, with the document in the field file")
    body = await request.body()
    name, content, fields = await asyncio.to_thread(_parse_upload, request.headers, body)
    try:
        return name, content, DocumentRequest.model_validate(fields)
    except ValidationError as error:
        raise RequestError(422, describe(error)) from None


def _parse_upload(headers: Headers, body: bytes) -> tuple[str, bytes, dict[str, str]]:
    """The document and the other fields of a form. It never waits, so that it can run on any thread."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(headers, stream(), max_files=1, max_fields=MAX_FIELDS)
    parser.spool_max_size = len(body) + 1  # in memory
    try:
        form = asyncio.run(parser.parse())
    except (MultiPartException, ValueError, KeyError):
        raise RequestError(400, "the form cannot be parsed") from None
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise RequestError(400, "the form has no document in the field file")
    fields = {key: _clean(value) for key, value in form.items() if isinstance(value, str)}
    return _clean(upload.filename or ""), upload.file.read(), fields


def describe(error: ValidationError) -> str:
    """The first thing that is wrong, without the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[str]"))
    return f"{place}: {first['msg'].lower()}"[:200]


async def _read_form(request: Request) -> dict[str, Any]:
    await request.body()  # kept, and read again by `form`
    try:
        form = await request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=1 << 30)
    except (MultiPartException, ValueError):
        raise RequestError(400, "the form cannot be parsed") from None
    fields: dict[str, Any] = {}
    for key, value in form.items():
        text = _clean(str(value))
        fields[key] = _parse_json(text.encode()) if key == "glossary" else text
    texts = [_clean(str(value)) for value in form.getlist("q")]
    return fields | ({"q": texts} if len(texts) > 1 else {})


def _parse_json(content: bytes) -> Any:
    try:
        return _clean_values(json.loads(content.decode("utf-8"), parse_constant=_refuse_constant))
    except UnicodeDecodeError:
        raise RequestError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except ValueError:
        raise RequestError(400, "the body is not JSON") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _clean_values(value: Any) -> Any:
    """The value, with all its texts cleaned."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_clean_values(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean_values(item) for key, item in value.items()}
    return value


def _clean(text: str) -> str:
    """The text without surrogates, which JSON may contain and UTF-8 may not."""
    return text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
