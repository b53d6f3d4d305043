"""Hostile and broken clients get a short error; the others are served on."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import RunningServer

GOOD = {"q": "The cat sees the house today.", "source": "en", "target": "de"}
SECRET = "geheim"


def body(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


JSON = {"content_type": "application/json"}
FORM = {"content_type": "application/x-www-form-urlencoded"}
BODIES = {
    "empty": (b"", JSON, 400),
    "not JSON": (b"{", JSON, 400),
    "not UTF-8": (b'{"q": "\xff\xfe", "source": "en", "target": "de"}', JSON, 400),
    "deep": (b'{"q": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, 400),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, JSON, 400),
    "infinity": (b'{"q": "a", "source": "en", "target": "de", "beam": Infinity}', JSON, 400),
    "a number of 5000 digits": (b'{"beam": ' + b"9" * 5000 + b"}", JSON, 400),
    "a list": (b"[1, 2]", JSON, 422),
    "a string": (b'"text"', JSON, 422),
    "null": (b"null", JSON, 422),
    "no target": (b'{"q": "a", "source": "en"}', JSON, 422),
    "a number as text": (body(q=5), JSON, 422),
    "an object as text": (body(q={"a": SECRET}), JSON, 422),
    "nested lists": (body(q=[["a"]]), JSON, 422),
    "null in a list": (body(q=["a", None]), JSON, 422),
    "a text as beam": (body(beam="5"), JSON, 422),
    "beam 0": (body(beam=0), JSON, 422),
    "a huge beam": (body(beam=1000), JSON, 422),
    "true as beam": (body(beam=True), JSON, 422),
    "negative alternatives": (body(alternatives=-1), JSON, 422),
    "many alternatives": (body(alternatives=1000), JSON, 422),
    "more translations than beams": (body(beam=2, n_best=5), JSON, 422),
    "a glossary without beam search": (body(beam=1, glossary=[{"source": "a", "target": "b"}]), JSON, 422),
    "an empty term": (body(glossary=[{"source": "", "target": "b"}]), JSON, 422),
    "a term outside of the vocabulary": (body(glossary=[{"source": "cat", "target": "中"}]), JSON, 422),
    "many terms": (body(glossary=[{"source": "a", "target": "b"}] * 101), JSON, 422),
    "html": (body(format="html"), JSON, 422),
    "an unknown language": (body(source="xx"), JSON, 422),
    "script as language": (body(target="<script>alert(1)</script>"), JSON, 422),
    "a path as model": (body(model="../../etc/passwd"), JSON, 422),
    "too many lines": (body(q="a\n" * 5000), JSON, 413),
    "too many texts": (body(q=["a"] * 5000), JSON, 413),
    "too many bytes": (body(q="a" * 3_000_000), JSON, 413),
    "a form without fields": (b"", FORM, 422),
    "a form with a bad number": (b"q=a&source=en&target=de&beam=x", FORM, 422),
    "a form with a bad glossary": (b"q=a&source=en&target=de&glossary=[", FORM, 400),
    "many fields": (b"&".join(b"a%d=1" % i for i in range(5000)), FORM, 400),
    "a broken multipart form": (b"--x\r\n", {"content_type": "multipart/form-data; boundary=y"}, 400),
    "multipart without boundary": (b"--x\r\n", {"content_type": "multipart/form-data"}, 400),
    "an uploaded file": (
        b'--x\r\nContent-Disposition: form-data; name="q"; filename="a"\r\n\r\na\r\n--x--\r\n',
        {"content_type": "multipart/form-data; boundary=x"},
        400,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_refused(name: str, server: RunningServer) -> None:
    content, headers, expected = BODIES[name]
    start = time.monotonic()
    status, answered, answer = server.request("POST", "/translate", content, **headers)
    error = json.loads(answer)
    assert status == expected, error
    assert set(error) == {"error"} and error["error"] and len(answer) < 500
    assert answered["content-type"] == "application/json" and answered["x-request-id"]
    assert SECRET not in error["error"] and "/" not in error["error"].replace("/docs", "")
    assert time.monotonic() - start < 5
    assert server.translate(GOOD["q"])["translatedText"]


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/etc/passwd", "/page.html", "/translate/", "//", "/%e9", "/%00"]
)
def test_other_paths_do_not_exist(path: str, server: RunningServer) -> None:
    status, _, content = server.request("GET", path)
    assert status == 404 and json.loads(content)["error"]


def test_other_methods_are_refused(server: RunningServer) -> None:
    for method, path, allowed in (
        ("GET", "/translate", "POST"),
        ("POST", "/languages", "GET"),
        ("PUT", "/", "GET"),
    ):
        status, headers, _ = server.request(method, path)
        assert (status, headers["allow"]) == (405, allowed)


TEXTS = [
    "<script>alert(1)</script>",
    "a\x00b",
    "\ud800",
    "\u2028",
    "{}%s${x}",
    "😀" * 50,
    "a" * 20_000,
    "\u202eabc",
    "\ufeffcat",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_is_text(text: str, server: RunningServer) -> None:
    answer = server.translate([text, GOOD["q"]], details=True)
    assert answer["translatedText"][1] == server.translate(GOOD["q"])["translatedText"]
    json.dumps(answer).encode()


def raw(server: RunningServer, content: bytes, timeout: float = 5.0) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        connection.sendall(content)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


HEAD = b"POST /translate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
SMUGGLING = {
    "both lengths": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "an unknown encoding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "no version": b"GET /\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + b"\x00" * 100 + b"\r\n\r\n",
    "a long head": HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(10_000)) + b"\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_ambiguous_requests_are_refused_and_the_connection_closed(name: str, server: RunningServer) -> None:
    smuggled = b"GET /models HTTP/1.1\r\nHost: a\r\n\r\n"
    try:
        answer = raw(server, SMUGGLING[name] + smuggled)
    except ConnectionError:  # closed before everything was sent
        answer = b"HTTP/1.1 400 "
    assert re.match(rb"HTTP/1.1 (400|431) ", answer) and answer.count(b"HTTP/1.1") == 1
    assert server.translate(GOOD["q"])["translatedText"]


def test_broken_connections_harm_nobody(server: RunningServer) -> None:
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body()) + body()
    for end in (10, len(HEAD), len(request) - 5, len(request)):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request[:end])
    assert server.translate(GOOD["q"])["translatedText"]


def test_pipelined_requests_are_answered_in_order(server: RunningServer) -> None:
    last = b"GET /models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = raw(server, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" + last, timeout=20)
    assert answer.count(b"HTTP/1.1 200") == 2 and answer.index(b'"ok"') < answer.index(b'"transformer"')


@pytest.fixture(scope="module")
def strict(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with keys and small limits."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text("# for tests\nfirst key\nschlüssel\n", encoding="utf-8")
    limits = ["--max-lines", 3, "--max-queue", 4, "--max-requests", 2, "--max-bytes", 500, "--timeout", 0.2]
    running = RunningServer(f"en-de={toy_run}", "--api-key-file", keys, *limits)
    yield running
    running.close()


def test_keys(strict: RunningServer) -> None:
    for fields, headers, status in (
        ({}, {}, 401),
        ({"api_key": "wrong"}, {}, 401),
        ({"api_key": ""}, {}, 401),
        ({"api_key": "first key"}, {}, 200),
        ({"api_key": "schlüssel"}, {}, 200),
        ({}, {"authorization": "Bearer first key"}, 200),
        ({}, {"x_api_key": "first key"}, 200),
        ({"api_key": "first key"}, {"authorization": "Bearer wrong"}, 401),
    ):
        assert strict.post("/translate", {**GOOD, "q": "", **fields}, **headers)[0] == status, (fields, headers)
    assert strict.request("GET", "/metrics")[0] == 401
    assert strict.request("GET", "/languages")[0] == strict.request("GET", "/health")[0] == 200


def test_limits(strict: RunningServer) -> None:
    key = {"api_key": "first key"}
    assert strict.post("/translate", {**GOOD, "q": "a\nb\nc\nd", **key})[0] == 413
    assert strict.post("/translate", {**GOOD, "q": "a" * 500, **key})[0] == 413
    status, answer = strict.post("/translate", {**GOOD, "q": "A cat. A dog. A bird. A cat. A dog.", **key})
    assert status == 413 and "sentences" in answer["error"]
    assert b"413" in raw(strict, HEAD + b"Content-Length: 501\r\n\r\n", timeout=20)
    chunks = b"".join(b"64\r\n" + b" " * 100 + b"\r\n" for _ in range(6)) + b"0\r\n\r\n"
    assert b"413" in raw(strict, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)


def test_a_client_with_too_many_requests_is_refused_at_once(strict: RunningServer) -> None:
    head = HEAD + b"Content-Length: 100\r\n\r\n"  # the bodies never come
    slow = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(2)]
    for connection in slow:
        connection.sendall(head)
    time.sleep(0.3)
    start = time.monotonic()
    status, headers, _ = strict.request("POST", "/translate", GOOD)
    assert (status, headers["retry-after"]) == (429, "1") and time.monotonic() - start < 1
    for connection in slow:
        connection.close()
    time.sleep(0.3)
    assert strict.post("/translate", {**GOOD, "q": "", "api_key": "first key"})[0] == 200


def test_the_log_has_no_text(toy_run: Path) -> None:
    running = RunningServer(f"en-de={toy_run}")
    try:
        running.translate(f"The cat {SECRET} sees.")
        running.post("/translate", {**GOOD, "q": SECRET, "beam": SECRET})
        running.request("GET", f"/{SECRET}?q={SECRET}")
        code, log = running.stop()
    finally:
        running.close()
    assert code == 0 and SECRET not in log
    entries = [json.loads(line) for line in log.strip().split("\n")]
    assert [entry.get("status") for entry in entries] == [200, 422, 404, None]
    assert (entries[-1]["event"], entries[-1]["accepted"], entries[-1]["answered"]) == ("stopped", 3, 3)
