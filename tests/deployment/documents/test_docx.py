"""Word documents: text changes, formats, links, pictures, notes and everything else stay."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import docx
import pytest
from document_helpers import Reversal, reverse_words, sentences, translate
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from docx.shared import RGBColor

from transformer_cli.deployment.documents import docx_package
from transformer_cli.deployment.documents.docx import DocxDocument
from transformer_cli.errors import ConfigError, DataError

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def save(document: Any) -> bytes:
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def append(paragraph: Any, xml: str) -> None:
    """Add elements of WordprocessingML to a paragraph."""
    for element in parse_xml(f"<w:p {nsdecls('w')}>{xml}</w:p>"):
        paragraph._p.append(element)


@pytest.fixture
def document() -> bytes:
    """A document with what people use."""
    word = docx.Document()
    word.add_heading("A title", 1)
    paragraph = word.add_paragraph("The ")
    paragraph.add_run("black").bold = True
    paragraph.add_run(" dog ")
    red = paragraph.add_run("sees the")
    red.font.color.rgb = RGBColor(255, 0, 0)
    append(
        paragraph,
        '<w:r><w:t xml:space="preserve"> </w:t></w:r><w:hyperlink w:anchor="x"><w:r><w:rPr><w:u w:val="single"/></w:rPr><w:t>old house</w:t></w:r></w:hyperlink><w:r><w:t>.</w:t></w:r>',
    )
    paragraph = word.add_paragraph("Name:\tA value\nA line", style="List Bullet")
    paragraph = word.add_paragraph("One")
    append(
        paragraph,
        '<w:r><w:footnoteReference w:id="2"/></w:r><w:bookmarkStart w:id="1" w:name="b"/><w:r><w:t xml:space="preserve"> two three</w:t></w:r><w:bookmarkEnd w:id="1"/>',
    )
    paragraph = word.add_paragraph("Page ")
    append(
        paragraph,
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> PAGE </w:instrText></w:r><w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>7</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r><w:r><w:t xml:space="preserve"> of it</w:t></w:r>',
    )
    paragraph = word.add_paragraph()
    append(
        paragraph,
        '<w:ins w:id="5" w:author="x"><w:r><w:t>New</w:t></w:r></w:ins><w:del w:id="6" w:author="x"><w:r><w:delText>Gone</w:delText></w:r></w:del><w:sdt><w:sdtPr><w:id w:val="7"/></w:sdtPr><w:sdtContent><w:r><w:t xml:space="preserve"> text in a control</w:t></w:r></w:sdtContent></w:sdt>',
    )
    table = word.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "A cell", "12"
    table.cell(0, 0).paragraphs[0].runs[0].italic = True
    word.sections[0].header.paragraphs[0].text = "A header"
    word.sections[0].footer.paragraphs[0].text = "A footer"
    return save(word)


def with_part(data: bytes, change: Callable[[str, bytes], bytes], **added: bytes) -> bytes:
    """The document with changed members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, content in added.items():
            new.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def formats(data: bytes) -> list[list[tuple[str, Any, Any, Any, Any]]]:
    """(character, bold, italic, underlined, colour) of the paragraphs and of the table."""
    word = docx.Document(io.BytesIO(data))
    paragraphs = [*word.paragraphs, *word.tables[0].cell(0, 0).paragraphs]
    result = []
    for paragraph in filter(lambda p: p.text.strip(), paragraphs):  # python-docx does not see insertions
        runs = [run for item in paragraph.iter_inner_content() for run in getattr(item, "runs", [item])]
        result.append(
            [
                (c, r.bold, r.italic, r.underline, r.font.color.rgb if r.font.color else None)
                for r in runs
                for c in r.text
            ]
        )
    return result


def test_what_is_translated(document: bytes) -> None:
    assert sentences(DocxDocument(document)) == [
        "A title", "The black dog sees the old house.", "Name:", "A value", "A line", "One two three", "Page of it",
        "New text in a control", "A cell", "A header", "A footer",
    ]  # fmt: skip


def test_without_changes_the_bytes_are_the_same(document: bytes) -> None:
    assert translate(DocxDocument(document), str) == document


def test_only_text_changes(document: bytes) -> None:
    once = translate(DocxDocument(document), str.swapcase)
    twice = translate(DocxDocument(once), str.swapcase)
    assert formats(twice) == formats(document)
    assert [[(c.swapcase(), *rest) for c, *rest in p] for p in formats(once)] == formats(document)
    before, after = members(document), members(once)
    assert list(before) == list(after)
    assert {name for name in before if before[name] != after[name]} == {
        "word/document.xml",
        "word/header1.xml",
        "word/footer1.xml",
    }
    text = after["word/document.xml"].decode()
    for kept in (
        '<w:footnoteReference w:id="2"/>',
        '<w:bookmarkStart w:id="1" w:name="b"/>',
        "<w:t>7</w:t>",
        "<w:delText>Gone</w:delText>",
        '<w:ins w:id="5"',
        '<w:sdtPr><w:id w:val="7"/></w:sdtPr>',
    ):
        assert kept in text
    assert '<w:t xml:space="preserve">TEXT IN A CONTROL</w:t></w:r></w:sdtContent>' in text
    assert 'nAME:</w:t><w:tab/><w:t xml:space="preserve">a VALUE</w:t><w:br/>' in text


def test_formats_stay_on_their_words(document: bytes) -> None:
    changed = translate(DocxDocument(document), reverse_words, Reversal)
    (paragraph,) = [p for p in docx.Document(io.BytesIO(changed)).paragraphs if "dog" in p.text]
    assert paragraph.text == "house old the sees dog black The."
    found = {
        (run.text.strip(), run.bold, str(run.font.color.rgb) if run.font.color and run.font.color.rgb else "")
        for run in paragraph.runs
    }
    assert {("black", True, ""), ("the sees", None, "FF0000"), ("dog", None, "")} <= found
    (link,) = paragraph.hyperlinks
    assert (link.text, link.fragment, link.runs[0].underline) == ("house old", "x", True)


def test_footnotes_and_text_boxes() -> None:
    word = docx.Document()
    box = '<w:r><w:pict><v:textbox xmlns:v="urn:schemas-microsoft-com:vml"><w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p></w:txbxContent></v:textbox></w:pict></w:r><w:r><w:t>Around it</w:t></w:r>'
    append(word.add_paragraph(), box)
    kind = b'<Override PartName="/word/footnotes.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"/></Types>'
    notes = f'<w:footnotes {W}><w:footnote w:id="2"><w:p><w:r><w:footnoteRef/></w:r><w:r><w:t xml:space="preserve"> A note</w:t></w:r></w:p></w:footnote></w:footnotes>'
    data = with_part(
        save(word),
        lambda name, old: old.replace(b"</Types>", kind) if "Content_Types" in name else old,
        **{"word__footnotes.xml": notes.encode()},
    )
    assert sentences(DocxDocument(data)) == ["Around it", "In a box", "A note"]
    changed = members(translate(DocxDocument(data), str.upper))
    assert (
        b'<w:t xml:space="preserve">IN A BOX</w:t>' in changed["word/document.xml"]
        and b"AROUND IT" in changed["word/document.xml"]
    )
    assert (
        b"<w:footnoteRef/></w:r>" in changed["word/footnotes.xml"] and b"A NOTE" in changed["word/footnotes.xml"]
    )


def test_the_language_of_the_text_is_set(document: bytes) -> None:
    data = with_part(
        document,
        lambda name, old: old.replace(b"<w:t>A title", b'<w:rPr><w:lang w:val="en-GB"/></w:rPr><w:t>A title'),
    )
    changed = members(translate(DocxDocument(data), str.upper, language="de-AT"))["word/document.xml"]
    assert b'<w:lang w:val="de-AT"/>' in changed and b"en-GB" not in changed
    assert DocxDocument(document).language == "en-US"


def bomb(entities: bool) -> bytes:
    text = (
        "<!DOCTYPE w [<!ENTITY a 'ha'>"
        + "".join(f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "]>"
        if entities
        else ""
    )
    return (
        text
        + f"<w:document {W}><w:body><w:p><w:r><w:t>"
        + ("&i;" if entities else "a" * 40_000_000)
        + "</w:t></w:r></w:p></w:body></w:document>"
    ).encode()


def replaced(name: str, content: bytes) -> Callable[[str, bytes], bytes]:
    return lambda n, old: content if n == name else old


def test_hostile_documents_are_refused(document: bytes) -> None:
    main = "word/document.xml"
    for change, message in [
        (replaced(main, bomb(entities=True)), "word/document.xml: .*(entit|Maximum|Detected)"),
        (replaced(main, bomb(entities=False)), "word/document.xml: has more than 32 MiB"),
        (replaced(main, b"<w:document>"), "word/document.xml: line 1: is not well-formed XML"),
        (replaced(main, f"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><w:document {W}><w:body><w:p><w:r><w:t>&a;</w:t></w:r></w:p></w:body></w:document>".encode()), "declares XML entities"),
        (replaced(main, f"<w:document {W}>{'<w:p>' * 5000}".encode()), "word/document.xml: line 1"),
        (replaced("[Content_Types].xml", b"<Types/>"), "is a zip archive, not a Word document"),
        (lambda n, old: old.replace(b"wordprocessingml", b"spreadsheetml"), "is a spreadsheet, not a Word document"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=message):
            DocxDocument(with_part(document, change))


def test_damaged_and_other_files_are_refused(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for data, message in [
        (b"", "is damaged, or not a Word document"),
        (document[: len(document) // 2], "is damaged, or not a Word document"),
        (b"PK\x03\x04" + b"x" * 100, "is damaged, or not a Word document"),
    ]:
        with pytest.raises(DataError, match=message):
            DocxDocument(data)
    at = document.index(b"word/document.xml") + 40
    with pytest.raises(DataError, match=r"word/document\.xml: is damaged"):
        DocxDocument(document[:at] + bytes(50) + document[at + 50 :])
    monkeypatch.setattr(docx_package, "MAX_EXPANDED", 1 << 20)
    with pytest.raises(DataError, match="or 1 MiB of content"):
        DocxDocument(with_part(document, lambda name, old: old, x=bytes(1 << 20)))
    flags = bytearray(document)
    flags[document.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="is encrypted"):
        DocxDocument(bytes(flags))


def test_a_missing_package_is_named(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lxml", None)
    with pytest.raises(ConfigError, match="need the package lxml"):
        DocxDocument(document)
