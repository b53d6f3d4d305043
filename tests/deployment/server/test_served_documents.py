"""Uploaded documents are translated as by the command; hostile ones harm nobody."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import tempfile
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import cli
from docx import Document
from libretranslate_aio import LibreTranslate
from running_server import RunningServer
from starlette.datastructures import Headers

from transformer_cli.deployment.documents.formats import FORMATS
from transformer_cli.deployment.server import bodies, documents
from transformer_cli.deployment.server.documents import ResultStore, TranslatedDocument, translated_name
from transformer_cli.deployment.server.isolation import read_in_process
from transformer_cli.deployment.server.settings import RequestError

SECRET = "geheim"
FIELDS = {"source": "en", "target": "de"}
TEXTS = {
    "page.html": '<html lang="en"><p>The <b>cat</b> sees the house.</p><script>x</script>\n',
    "film.srt": "1\n00:00:01,000 --> 00:00:02,000\nThe cat sees the house today.\n\n",
    "film.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nThe cat sees the house today.\n",
    "app.po": 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "The cat."\nmsgstr ""\n',
    "app.xlf": '<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file source-language="en" '
    'target-language="de" original="a" datatype="plaintext"><body><trans-unit id="1"><source>The cat.</source>'
    "</trans-unit></body></file></xliff>",
}
HTML = TEXTS["page.html"].encode()


def word_document(text: str = "The cat sees the house today.") -> bytes:
    document, output = Document(), io.BytesIO()
    document.add_paragraph(text)
    document.save(output)
    return output.getvalue()


def package(kind: str = "wordprocessingml.", **parts: bytes) -> bytes:
    """A Word document with these contents of parts `word/NAME.xml`, of which the first is the main one."""
    kind = f"application/vnd.openxmlformats-officedocument.{kind}"
    kinds = dict.fromkeys(parts, "header+xml") | {next(iter(parts)): "document.main+xml"}
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        overrides = "".join(
            f'<Override PartName="/word/{name}.xml" ContentType="{kind}{of}"/>' for name, of in kinds.items()
        )
        archive.writestr("[Content_Types].xml", f"<Types>{overrides}</Types>")
        for name, content in parts.items():
            archive.writestr(f"word/{name}.xml", content)
    return output.getvalue()


def upload(server: RunningServer, name: str, content: bytes, **fields: Any) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}/translate_file"
    return httpx.post(url, files={"file": (name, content)}, data={**FIELDS, **fields}, timeout=60)


def children(server: RunningServer) -> list[str]:
    """Processes of documents."""
    pid = str(server.process.pid)
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            stats.append(path.read_text())
    return [stat for stat in stats if stat.rpartition(")")[2].split()[1] == pid]


@pytest.mark.parametrize("name", [*TEXTS, "letter.docx"])
def test_a_client_of_libretranslate_gets_what_the_command_gives(
    name: str, server: RunningServer, toy_run: Path, tmp_path: Path
) -> None:
    source, expected = tmp_path / name, tmp_path / f"expected-{name}"
    source.write_bytes(TEXTS[name].encode() if name in TEXTS else word_document())
    done = cli("translate", toy_run, source, "-o", expected, "--target-lang", "de")
    assert done.returncode == 0, done.stderr
    with LibreTranslate(f"http://127.0.0.1:{server.port}") as client:
        url = client.translate_file(source, **FIELDS).translated_file_url
    assert url.startswith(f"http://127.0.0.1:{server.port}/download_file/")
    for answer in (httpx.get(url), upload(server, name, source.read_bytes(), source="auto", direct="true")):
        assert answer.status_code == 200, answer.text
        assert answer.content == expected.read_bytes() != source.read_bytes()
        stem, suffix = source.stem, source.suffix
        place = f"attachment; filename=\"document{suffix}\"; filename*=UTF-8''{stem}.de{suffix}"
        assert answer.headers["content-disposition"] == place
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "charset" not in answer.headers["content-type"]


DEEP = b"<p>" * 100_000
NESTED = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
ENTITIES = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><xliff>&b;</xliff>'
REFUSED = {
    "a PDF": ("a.pdf", b"%PDF-1.7", 415),
    "a PDF with another name": ("a.html", b"%PDF-1.7", 415),
    "an old Word file": ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 415),
    "an image": ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(100), 415),
    "no format": ("a", b"The cat.", 415),
    "a long name": ("x" * 5000, b"The cat.", 400),
    "an empty Word document": ("a.docx", b"", 422),
    "a cut Word document": ("a.docx", word_document()[:-500], 422),
    "text as Word document": ("a.docx", b"The cat.", 422),
    "a spreadsheet": ("a.docx", package(kind="spreadsheetml.sheet", document=b"<a/>"), 415),
    "broken XML": ("a.xlf", b"<xliff><a>", 422),
    "entities": ("a.xlf", ENTITIES, 422),
    "deep XML": ("a.xlf", DEEP, 422),
    "deep XML in Word": ("a.docx", package(document=NESTED + b"<w:p>" * 100_000), 422),
    "not UTF-8": ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\n\xff\n", 422),
    "NUL": ("a.html", b"<p>a\0b", 422),
    "a part of 100 MB": ("a.docx", package(document=NESTED + b" " * (100 << 20)), 413),
    "1,800 MB of parts": ("a.docx", package(**{f"p{i}": b" " * (30 << 20) for i in range(20)}), 413),
    "20 parts with 20 MB of elements": (
        "a.docx",
        package(**{f"p{i}": NESTED + b"<w:p/>" * (10 << 17) + b"</w:document>" for i in range(20)}),
        413,
    ),
    "too many sentences": (
        "a.html",
        b"<p>A cat sees 1.</p>" + b"".join(b"<p>Cat %d." % i for i in range(5000)),
        413,
    ),
    "too many bytes": ("a.html", b" " * (10 << 20), 413),
}


@pytest.mark.parametrize("name", REFUSED)
def test_documents_that_are_refused(name: str, server: RunningServer) -> None:
    file, content, expected = REFUSED[name]
    start = time.monotonic()
    answer = upload(server, file, content)
    assert answer.status_code == expected, answer.text
    assert set(answer.json()) == {"error"} and len(answer.text) < 500
    assert time.monotonic() - start < 20
    memory = Path(f"/proc/{server.process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    assert int(memory) < 1_000_000, "kB: the server itself reads no document"
    assert upload(server, "a.html", HTML).status_code == 200
    assert not children(server)


def test_forms_that_are_refused(server: RunningServer) -> None:
    url = f"http://127.0.0.1:{server.port}/translate_file"
    file = {"file": ("a.html", HTML)}
    for arguments, status in (
        ({"json": FIELDS}, 415),
        ({"data": FIELDS}, 415),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=y"}}, 400),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}}, 400),
        ({"files": {"other": ("a.html", HTML)}, "data": FIELDS}, 400),
        ({"files": {"file": (None, "text")}, "data": FIELDS}, 400),
        ({"files": [("file", ("a.html", HTML))] * 2, "data": FIELDS}, 400),
        ({"files": file, "data": {f"f{i}": "1" for i in range(100)}}, 400),
        ({"files": file, "data": {"source": "en"}}, 422),
        ({"files": file, "data": {"source": "xx", "target": "de"}}, 422),
        ({"files": file, "data": {**FIELDS, "model": "../../etc/passwd"}}, 422),
        ({"files": file, "data": {**FIELDS, "direct": "maybe"}}, 422),
    ):
        answer = httpx.post(url, **arguments)  # type: ignore[arg-type]
        assert answer.status_code == status, (arguments, answer.text)
        assert answer.json()["error"]
    for path in ("", "../..", "x.html", "%00"):
        assert server.request("GET", f"/download_file/{path}")[0] == 404
    assert server.request("POST", "/download_file/x")[0] == 405


def test_documents_and_short_requests_take_turns(server: RunningServer) -> None:
    """More documents than are accepted: some are refused at once, the others translated; requests go on."""
    page = b"".join(b"<p>The cat %d sees the <b>house</b> today.</p>" % i for i in range(60))
    statuses: Counter[int] = Counter()
    waited: list[float] = []

    def send(_: int) -> None:
        answer = upload(server, "a.html", page)
        statuses[answer.status_code] += 1
        assert answer.status_code == 200 or answer.headers["retry-after"] == "5"

    with ThreadPoolExecutor(20) as pool:
        sending = [pool.submit(send, i) for i in range(20)]
        while not all(future.done() for future in sending):
            start = time.monotonic()
            server.translate("The cat sees the house.")
            waited.append(time.monotonic() - start)
            time.sleep(0.05)
        for future in sending:
            future.result()
    accepted = documents.MAX_DOCUMENTS + documents.MAX_WAITING
    assert statuses[200] >= accepted and statuses[503] and sum(statuses.values()) == 20, statuses
    assert max(waited) < 5 and len(waited) > 1, waited
    assert 'documents_total{format="html"}' in server.request("GET", "/metrics")[2].decode()


def test_a_client_that_goes_leaves_nothing(server: RunningServer) -> None:
    page = b"".join(b"<p>The cat %d sees the <b>house</b> today.</p>" % i for i in range(2000))
    with pytest.raises(httpx.ReadTimeout):
        url = f"http://127.0.0.1:{server.port}/translate_file"
        httpx.post(url, files={"file": ("a.html", page)}, data=FIELDS, timeout=httpx.Timeout(30, read=0.7))
    deadline = time.monotonic() + 5
    while (
        children(server)
        or 'queue_sentences{model="en-de"} 0.0' not in server.request("GET", "/metrics")[2].decode()
    ):
        assert time.monotonic() < deadline
    assert upload(server, "a.html", HTML).status_code == 200


def test_the_log_has_neither_text_nor_names(toy_run: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("key\n")
    running = RunningServer(f"en-de={toy_run}", "--api-key-file", keys, "--max-document-bytes", 2000)
    try:
        page = f"<p>The cat {SECRET} sees.".encode()
        assert upload(running, f"{SECRET}.html", page).status_code == 401
        answer = upload(running, f"{SECRET}.html", page, api_key="key")
        assert answer.status_code == 200 and SECRET not in answer.text
        assert httpx.get(answer.json()["translatedFileUrl"]).status_code == 200
        assert upload(running, f"{SECRET}.docx", page, api_key="key").status_code == 422
        assert upload(running, f"{SECRET}.html", page * 100, api_key="key").status_code == 413
        code, log = running.stop()
    finally:
        running.close()
    assert code == 0 and SECRET not in log and "Traceback" not in log
    assert [json.loads(line).get("path") for line in log.strip().split("\n")].count("/download_file/...") == 1


def test_uploads_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.html"\r\n\r\n' + b" " * (3 << 20)
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    headers = Headers({"content-type": "multipart/form-data; boundary=x"})
    name, content, fields = bodies._parse_upload(headers, body + b"\r\n--x--\r\n")
    assert (name, len(content), fields) == ("a.html", 3 << 20, {})


def test_a_process_that_takes_too_long_is_ended() -> None:
    html = next(form for form in FORMATS if form.name == "html")

    async def read() -> None:
        async with read_in_process(b"<p>" + b"<b>a</b>" * 1_000_000, html, 0.5):
            pass

    with pytest.raises(RequestError) as caught:
        asyncio.run(read())
    assert caught.value.status == 413 and threading.active_count() < 50


def test_results_are_kept_for_a_time_and_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_STORED_BYTES", 100)
    now = 0.0
    store = ResultStore(lambda: now)
    document = TranslatedDocument(b"x" * 40, "a.html", "text/html")
    names = [store.add(document) for _ in range(3)]
    assert len(set(names)) == 3 and all(name.endswith(".html") and len(name) > 25 for name in names)
    assert store.size == 80 and store.get(names[2]) is document
    with pytest.raises(RequestError, match="no such document"):
        store.get(names[0])
    now = documents.STORED_SECONDS + 1
    with pytest.raises(RequestError, match="no such document"):
        store.get(names[2])
    assert store.size == 0


def test_names_of_results() -> None:
    html, docx = (next(form for form in FORMATS if form.name == name) for name in ("html", "docx"))
    for name, form, expected in (
        ("page.HTML", html, "page.de.HTML"),
        ("../../etc/passwd.html", html, "passwd.de.html"),
        ("C:\\Brief\r\nX: y.docx", docx, "BriefX: y.de.docx"),
        ("", html, "document.de.html"),
        ("a.txt", html, "a.de.html"),
        ("größe.docx", docx, "größe.de.docx"),
    ):
        assert translated_name(name, form, "de") == expected
