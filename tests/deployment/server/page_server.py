"""A small server for the tests of the page: the interface of the real one, with a translation that tests can predict.

Every word is written backwards, word order stays, and each sentence has a confidence by its length. `PageServer.plan`
delays or refuses the next requests; `PageServer.requests` has what was received.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[3] / "transformer_cli/deployment/server/page.html"
LANGUAGES = [
    {"code": "ar", "name": "Arabic", "targets": []},
    {"code": "en", "name": "English", "targets": ["de", "ar"]},
    {"code": "de", "name": "German", "targets": ["en"]},
]
MODELS = [
    {"name": "en-de", "source": "en", "target": "de", "architecture": "transformer", "engine": "torch"},
    {"name": "en-de-small", "source": "en", "target": "de", "architecture": "rnn", "engine": "torch"},
    {"name": "de-en", "source": "de", "target": "en", "architecture": "transformer", "engine": "ctranslate2"},
    {"name": "en-ar", "source": "en", "target": "ar", "architecture": "transformer", "engine": "torch"},
]
LAYERS, HEADS = 3, 4


def content_security_policy(page: str) -> str:
    """The header of the real server: one script and one style, allowed by their hashes."""

    def sha256(tag: str) -> str:
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{sha256('script')}'; style-src 'sha256-{sha256('style')}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def reverse(text: str) -> str:
    return re.sub(r"\w+", lambda word: word[0][::-1], text)


def spans(pattern: str, text: str) -> list[dict[str, Any]]:
    return [{"text": m[0], "start": m.start(), "end": m.end()} for m in re.finditer(pattern, text)]


def translate(q: str, glossary: list[dict[str, str]], alternatives: int) -> dict[str, Any]:
    """The answer of `/translate` for one string: sentences end at `.`, `!`, `?` or a line feed."""
    text, sentences, at = "", [], 0
    for match in re.finditer(r"[^.!?\n]*\w[^.!?\n]*[.!?]?", q):
        source = match[0].strip()
        start = match.start() + match[0].index(source)
        translation = reverse(source)
        for term in glossary:
            translation = translation.replace(reverse(term["source"]), term["target"])
        text += q[at:start]
        source_tokens, target_tokens = spans(r"\w+|[^\w\s]+", source), spans(r"\w+|[^\w\s]+", translation)
        pairs = min(len(source_tokens), len(target_tokens))
        sentences.append({
            "source": source, "source_start": start, "source_end": start + len(source),
            "translation": translation, "target_start": len(text), "target_end": len(text) + len(translation),
            "score": -0.25, "confidence": max(0.1, 1 - len(source_tokens) / 20),
            "alternatives": [
                {"text": translation + (f" ({n + 1})" if n else ""), "score": -0.25 - n} for n in range(1 + alternatives)
            ],
            "source_tokens": source_tokens, "target_tokens": target_tokens,
            "alignment": [[i, i] for i in range(pairs)],
        })  # fmt: skip
        text += translation
        at = start + len(source)
    return {"translatedText": text + q[at:], "sentences": [sentences]}


def attention(q: str) -> dict[str, Any]:
    source = ["▁" + word for word in q.split()] + ["</s>"]
    target = ["<s>"] + ["▁" + word for word in reverse(q).split()]

    def matrix(rows: int, columns: int, sharpness: float, shift: int, causal: bool) -> list[list[float]]:
        weights = []
        for i in range(rows):
            centre = min(max(i + shift, 0), columns - 1)
            line = [0.0 if causal and j > i else math.exp(-sharpness * abs(j - centre)) for j in range(columns)]
            weights.append([value / sum(line) for value in line])
        return weights

    def stack(rows: int, columns: int, causal: bool = False) -> list[list[list[list[float]]]]:
        return [
            [matrix(rows, columns, 0.3 + 0.5 * layer, h - 2, causal) for h in range(HEADS)]
            for layer in range(LAYERS)
        ]

    n, m = len(source), len(target)
    kinds = {"encoder": stack(n, n), "decoder": stack(m, m, causal=True), "cross": stack(m, n)}
    return {"source_tokens": source, "target_tokens": target, **kinds}


class PageServer(ThreadingHTTPServer):
    """Serves on a free port of 127.0.0.1 until `shutdown`."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.plan: Callable[[str, dict[str, Any]], tuple[int, Any] | None] = lambda path, body: None
        """Called with path and body of each request; may sleep, and may return a status code and an answer."""
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for received, body in self.requests if received == path]

    def handle_error(self, *_: object) -> None:
        """A page that gives a request up closes the connection: not an error here."""


class Handler(BaseHTTPRequestHandler):
    server: PageServer

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/":
            page = PAGE.read_text(encoding="utf-8")
            self.answer(200, page.encode(), "text/html; charset=utf-8", content_security_policy(page))
        else:
            self.serve({})

    def do_POST(self) -> None:
        self.serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def serve(self, body: dict[str, Any]) -> None:
        self.server.requests.append((self.path, body))
        planned = self.server.plan(self.path, body)
        if planned:
            self.answer(planned[0], json.dumps(planned[1]).encode(), "application/json")
            return
        if self.path == "/translate":
            found: Any = translate(body["q"], body.get("glossary", []), body.get("alternatives", 0))
            if body["source"] == "auto":
                found["detectedLanguage"] = {"language": "de", "confidence": 90.0}
        elif self.path == "/attention":
            found = attention(body["q"])
        else:
            found = {"/languages": LANGUAGES, "/models": MODELS}[self.path]
        self.answer(200, json.dumps(found).encode(), "application/json")

    def answer(self, status: int, content: bytes, kind: str, policy: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(content)


def serving(port: int = 0) -> Iterator[PageServer]:
    """A running server, for `yield from` in a fixture."""
    server = PageServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":  # to look at the page: python tests/deployment/server/page_server.py 8000
    import sys

    for running in serving(int(sys.argv[1])):
        print(running.url)
        while True:
            time.sleep(60)
