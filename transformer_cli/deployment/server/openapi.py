"""The description of the API: as OpenAPI, and as a page that needs no script and no network."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from transformer_cli import __version__
from transformer_cli.deployment.server import schemas

REF = "#/components/schemas/{model}"
STATUS = {
    400: "The request cannot be parsed.",
    401: "An API key is needed.",
    404: "There is nothing at this path.",
    405: "The path has another method.",
    408: "The body was not sent in time.",
    413: "The request is too large.",
    415: "The document has a format that is not translated.",
    422: "The request has values that cannot be used.",
    429: "The client has too many requests at the same time.",
    431: "The head of the request is too large.",
    500: "An error of the server.",
    501: "The engine of the model cannot do this.",
    503: "The server is busy or stopping, or the time is over.",
}
PATHS: list[tuple[str, str, str, type[BaseModel] | None, type[BaseModel] | None, bool]] = [
    ("post", "/translate", "Translate text.", schemas.TranslateRequest, schemas.TranslateAnswer, False),
    ("post", "/detect", "Identify the language of a text.", schemas.DetectRequest, schemas.DetectedLanguage, True),
    (
        "post",
        "/attention",
        "The attention weights of a sentence.",
        schemas.AttentionRequest,
        schemas.AttentionAnswer,
        False,
    ),
    (
        "post",
        "/translate_file",
        "Translate a document that keeps its structure.",
        schemas.DocumentForm,
        schemas.DocumentAnswer,
        False,
    ),
    ("get", "/download_file/{name}", "A translated document.", None, None, False),
    ("get", "/languages", "The languages, and what they are translated to.", None, schemas.Language, True),
    ("get", "/models", "The models.", None, schemas.ModelFacts, True),
    ("get", "/health", "Whether the process is alive.", None, None, False),
    ("get", "/ready", "Whether requests are accepted: 200 or 503.", None, None, False),
    ("get", "/metrics", "Metrics in the format of Prometheus.", None, None, False),
]
"""Method, path, summary, body, answer, and whether the answer is a list of these."""
BODY_TYPES = ("application/json", "application/x-www-form-urlencoded")
UPLOAD_TYPES = ("multipart/form-data",)
STYLE = """body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}
td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left;vertical-align:top}"""


@cache
def describe_api() -> dict[str, Any]:
    """The OpenAPI document."""
    models = {model for _, _, _, body, answer, _ in PATHS for model in (body, answer) if model}
    models |= {schemas.ErrorAnswer}
    _, definitions = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda m: m.__name__)], ref_template=REF
    )
    paths: dict[str, Any] = {}
    for method, path, summary, body, answer, is_list in PATHS:
        operation: dict[str, Any] = {"summary": summary, "responses": _responses(answer, is_list, bool(body))}
        if body:
            schema = {"schema": _ref(body)}
            types = UPLOAD_TYPES if body is schemas.DocumentForm else BODY_TYPES
            operation["requestBody"] = {"required": True, "content": dict.fromkeys(types, schema)}
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "transformer-cli", "version": __version__},
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def render_docs(document: dict[str, Any]) -> str:
    """A page with the paths and the fields of the document."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>API</title><style>{STYLE}</style>"]
    parts.append("<h1>API</h1><p>As OpenAPI: <a href=/openapi.json>/openapi.json</a></p>")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
            )
            if "requestBody" in operation:
                types = operation["requestBody"]["content"]
                title = f"<h3>Body: <code>{'</code> or <code>'.join(map(escape, types))}</code></h3>"
                parts += [title, _table(document, next(iter(types.values()))["schema"])]
            content = operation["responses"]["200"].get("content")
            if content:
                parts += ["<h3>Answer</h3>", _table(document, content["application/json"]["schema"])]
    parts.append("<h2>Errors</h2><table>")
    parts += [f"<tr><td>{status}<td>{escape(text)}" for status, text in STATUS.items()]
    return "".join([*parts, "</table></html>"])


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _responses(answer: type[BaseModel] | None, is_list: bool, has_body: bool) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": "OK"}
    if answer:
        schema = {"type": "array", "items": _ref(answer)} if is_list else _ref(answer)
        ok["content"] = {"application/json": {"schema": schema}}
    error = {"application/json": {"schema": _ref(schemas.ErrorAnswer)}}
    codes = STATUS if has_body else {503: STATUS[503]}
    return {"200": ok, **{str(code): {"description": text, "content": error} for code, text in codes.items()}}


def _table(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """The fields of an object, with its nested objects below."""
    schema = schema.get("items", schema)
    name = schema["$ref"].rpartition("/")[2]
    definition = document["components"]["schemas"][name]
    rows, nested = [], []
    for field, facts in definition["properties"].items():
        text = escape(facts.get("description", ""))
        default = f" Default: <code>{escape(str(facts['default']))}</code>." if facts.get("default") else ""
        rows.append(f"<tr><td><code>{escape(field)}</code><td>{escape(_type(facts))}<td>{text}{default}")
        nested += [ref for ref in _refs(facts) if ref != name]
    table = f"<table><tr><th>field<th>type<th>meaning{''.join(rows)}</table>"
    more = [f"<h4>{escape(ref)}</h4>{_table(document, {'$ref': ref})}" for ref in dict.fromkeys(nested)]
    return table + "".join(more)


def _type(facts: dict[str, Any]) -> str:
    if "$ref" in facts:
        return str(facts["$ref"].rpartition("/")[2])
    if "anyOf" in facts:
        return " or ".join(
            dict.fromkeys(_type(option) for option in facts["anyOf"] if option.get("type") != "null")
        )
    if facts.get("type") == "array":
        return f"list of {_type(facts.get('items', {}))}"
    return str(facts.get("type", "any"))


def _refs(facts: Any) -> list[str]:
    """Names of the objects that a field refers to."""
    if isinstance(facts, dict):
        own = [facts["$ref"].rpartition("/")[2]] if "$ref" in facts else []
        return own + [ref for value in facts.values() for ref in _refs(value)]
    if isinstance(facts, list):
        return [ref for value in facts for ref in _refs(value)]
    return []
