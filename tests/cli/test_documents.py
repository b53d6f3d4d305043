"""`translate` with documents: the commands that users type, and what they are told when a document is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import docx
import polib
import pytest
import srt
from conftest import cli
from lxml import etree

from transformer_cli import Translator, UserError

HTML = (
    '<html lang="en"><head><title>The cat sees the house today.</title></head><body>\n'
    "<p>The cat <b>sees</b> the house <i>today</i>. My aunt loves the child often.\n</body></html>\n"
)
SRT = (
    "1\n00:00:01,000 --> 00:00:02,000\nThe cat sees\nthe house today.\n\n"
    "2\n00:00:03,000 --> 00:00:04,000\n<i>A bird hears the dog now.</i>\n"
)
PO = (
    'msgid ""\nmsgstr ""\n"Language: \\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    'msgid "The cat sees the house today."\nmsgstr ""\n\nmsgid "Done"\nmsgstr "Fertig"\n'
)
XLIFF = (
    '<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file source-language="en" original="x" '
    'datatype="plaintext"><body><trans-unit id="1"><source>The <g id="1">cat</g> sees the house today.</source>'
    "</trans-unit></body></file></xliff>"
)


@pytest.fixture(scope="module")
def expected(toy_run: Path) -> dict[str, str]:
    """The translations that the command gives line by line."""
    lines = ["The cat sees the house today.", "My aunt loves the child often.", "A bird hears the dog now."]
    done = cli("translate", toy_run, stdin="\n".join(lines).encode())
    return dict(zip(lines, done.stdout.decode().splitlines(), strict=True))


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", text).split())


def word_document() -> bytes:
    document = docx.Document()
    paragraph = document.add_paragraph("The ")
    paragraph.add_run("cat").bold = True
    paragraph.add_run(" sees the house today.")
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def test_each_format(toy_run: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    cat, aunt, bird = expected.values()
    for name, content in [("a.html", HTML), ("a.srt", SRT), ("a.po", PO), ("a.xlf", XLIFF)]:
        (tmp_path / name).write_text(content)
    (tmp_path / "a.docx").write_bytes(word_document())
    for path in sorted(tmp_path.glob("a.*")):
        source = path.read_bytes()
        done = cli("translate", toy_run, path, "-o", tmp_path / f"new-{path.name}", "--target-lang", "de")
        assert done.returncode == 0, done.stderr.decode()
        assert path.read_bytes() == source and not list(tmp_path.glob("*.part"))
    html = (tmp_path / "new-a.html").read_text()
    assert plain(html) == f"{cat} {cat} {aunt}" and html.startswith('<html lang="de"><head><title>')
    assert html.count("<b>") == html.count("</b>") == html.count("<i>") == html.count("</i>") == 1
    first, second = srt.parse((tmp_path / "new-a.srt").read_text())
    assert plain(first.content) == cat and second.content == f"<i>{bird}</i>"
    assert first.content.count("\n") == 1 and first.start.seconds == 1
    catalogue = polib.pofile(str(tmp_path / "new-a.po"))
    assert (catalogue[0].msgstr, catalogue[0].flags, catalogue[1].msgstr) == (cat, ["fuzzy"], "Fertig")
    assert catalogue.metadata["Language"] == "de"
    (target,) = etree.parse(tmp_path / "new-a.xlf").iter("{*}target")
    assert "".join(target.itertext()) == cat and target[0].get("id") == "1" and target[0].text
    (paragraph,) = docx.Document(str(tmp_path / "new-a.docx")).paragraphs
    assert paragraph.text == cat and [len(run.text.split()) for run in paragraph.runs if run.bold] == [1]


def test_content_decides_and_the_option_overrules(toy_run: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    (tmp_path / "subtitles").write_text(SRT)
    done = cli("translate", toy_run, tmp_path / "subtitles")
    assert done.stdout.decode().startswith("1\n00:00:01,000 --> ") and len(done.stdout.splitlines()) == 8
    assert b"is translated as a document" in done.stderr
    lines = cli("translate", toy_run, tmp_path / "subtitles", "--document-format", "text")
    assert lines.stdout == cli("translate", toy_run, stdin=SRT.encode()).stdout != done.stdout
    piped = cli("translate", toy_run, "--document-format", "html", stdin=b"<p>A bird hears the dog now.")
    assert piped.stdout.decode() == f"<p>{expected['A bird hears the dog now.']}"
    named = cli("translate", toy_run, tmp_path / "subtitles", "--document-format", "po")
    assert named.returncode == 3 and b"subtitles: " in named.stderr and b"is not a PO catalogue" in named.stderr


def test_other_engines_and_options(toy_run_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(HTML.replace("today", "today https://x.org"))
    (tmp_path / "terms").write_text("house\tPferd\n")
    usual = cli("translate", toy_run_copy, tmp_path / "a.html", "--beam", 1)
    fast = cli("translate", toy_run_copy, tmp_path / "a.html", "--beam", 1, "--engine", "ctranslate2")
    assert usual.stdout == fast.stdout and b"still says that its language is en" in usual.stderr
    kept = cli(
        "translate", toy_run_copy, tmp_path / "a.html", "--protect", "--terms", tmp_path / "terms"
    ).stdout.decode()
    assert kept.count("https://x.org") == 2 and kept.count("Pferd") == 2


@pytest.mark.parametrize(
    ("name", "content", "options", "code", "message"),
    [
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", [], 3, "a.doc: is an old Word file\n  open it in a word processor and save it as .docx"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), [], 3, "a.docx: is encrypted\n  save it without a password"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", [], 3, "a.docx: is an old Word file"),
        ("a.pdf", b"%PDF-1.7", [], 3, "a.pdf: is a PDF"),
        ("a.docx", b"%PDF-1.7", [], 3, "a.docx: is a PDF"),
        ("a.docx", b"no zip", [], 3, "a.docx: is damaged, or not a Word document"),
        ("a.html", b"<p>caf\xe9", [], 3, "a.html: line 1: is not valid UTF-8"),
        ("a.html", b"<p>" + b"a" * (33 << 20), [], 3, "a.html: has more than 32 MiB"),
        ("a.srt", b"no subtitles", [], 3, "a.srt: has no subtitles"),
        ("a.xlf", b"<!DOCTYPE x [<!ENTITY a 'b'>]><xliff>&a;</xliff>", [], 3, "a.xlf: declares XML entities"),
        ("a.html", b"<p>a", ["--n-best", 2, "--format", "jsonl"], 2, "a.html: is a document (HTML), which does not support --format, --n-best"),
        ("a.html", b"<p>a", ["--shard", "1/2"], 2, "does not support --shard"),
        ("a.html", b"<p>a", ["--document-format", "word"], 2, "--document-format word: unknown format\n  choose one of text, srt, po, html, docx, xliff"),
        ("a.txt", b"a", ["--target-lang", "de"], 2, "--target-lang only makes sense for documents"),
        ("a.html", b"<p>a", ["-o", "{0}"], 2, "is also read or written by this command"),
        ("b.html/a.html", b"<p>a", ["-o", "{0}/x"], 5, "no such directory"),
    ],
)  # fmt: skip
def test_refused(
    toy_run: Path, tmp_path: Path, name: str, content: bytes, options: list[object], code: int, message: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    done = cli("translate", toy_run, path, *(str(option).format(path) for option in options))
    assert (done.returncode, done.stdout) == (code, b""), done.stderr.decode()
    assert message in done.stderr.decode() and "Traceback" not in done.stderr.decode()
    assert path.read_bytes() == content and len(list(tmp_path.rglob("*"))) == 1 + (path.parent != tmp_path)


def test_a_program(toy_run: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    (tmp_path / "a.html").write_text(HTML)
    translator, finished = Translator.load(toy_run), []
    translator.translate_document(
        tmp_path / "a.html",
        tmp_path / "b.html",
        target_language="de",
        progress=lambda done, total: finished.append((done, total)),
    )
    cat, aunt, _ = expected.values()
    assert plain((tmp_path / "b.html").read_text()) == f"{cat} {cat} {aunt}"
    assert sum(done for done, _ in finished) == 2 == finished[0][1]
    (tmp_path / "a.txt").write_text("A line")
    for path, output, message in [
        ("a.html", "a.html", "also read"),
        ("a.txt", "c", "no document that is supported"),
        ("none.html", "c", "no such file"),
    ]:
        with pytest.raises(UserError, match=message):
            translator.translate_document(tmp_path / path, tmp_path / output)
    assert not (tmp_path / "c").exists()
