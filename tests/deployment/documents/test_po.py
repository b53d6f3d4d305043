"""PO catalogues: open entries are filled and marked as fuzzy; all other lines stay, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from document_helpers import Reversal, Unaligned, reverse_words, sentences, translate
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_cli.deployment.documents.po import PoDocument, looks_like_po
from transformer_cli.errors import ConfigError, DataError

HEADER = """# A catalogue
msgid ""
msgstr ""
"Project-Id-Version: x\\n"
"Language: \\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n<5 ? 1 : 2);\\n"
"""
BODY = """
# A comment
#. extracted
#: src/a.c:1
#, c-format
msgctxt "menu"
msgid "Delete the %s in <b>%d files</b> now"
msgstr ""

#: src/a.c:2
msgid "A dog."
msgstr   "Ein Hund."

#, fuzzy
#| msgid "An old cat."
msgid "A cat."
msgstr ""
"Ein alter "
"Kater."

#, python-brace-format
msgid "One line\\n"
"of {name}\\n"
msgid_plural "Many lines of {count}\\n"
msgstr[0] ""
msgstr[1] ""
msgstr[2] "Schon da\\n"

#~ msgid "Old"
#~ msgstr ""

#, c-format, no-wrap
msgid "100%% of \\"%1$s\\"\\tand C:\\\\temp/%2$s."
msgstr ""
"""
CATALOGUE = HEADER + BODY


def test_what_is_translated() -> None:
    assert sentences(PoDocument(CATALOGUE.encode())) == [
        "Delete the in files now",
        "A cat.",
        "One line",
        "of",
        "Many lines of",
        '100 of ""',
        "and C:\\temp/.",
    ]


def test_only_open_entries_change(tmp_path: Path) -> None:
    changed = translate(PoDocument(CATALOGUE.encode()), reverse_words, Reversal).decode()
    assert changed.startswith(HEADER)
    old, new = polib.pofile(CATALOGUE), polib.pofile(changed)
    assert len(old) == len(new) == 6
    for before, after in zip(old, new, strict=True):
        assert (before.msgid, before.msgid_plural, before.msgctxt) == (
            after.msgid,
            after.msgid_plural,
            after.msgctxt,
        )
        for name in ("comment", "tcomment", "occurrences", "previous_msgid"):
            assert getattr(before, name) == getattr(after, name)
        if before.obsolete or before.msgid == "A dog.":
            assert str(before) == str(after)
        else:
            assert set(after.flags) == {*before.flags, "fuzzy"}
    texts = {entry.msgid: entry for entry in new}
    assert texts["Delete the %s in <b>%d files</b> now"].msgstr == "now <b>%2$d files</b> %1$s in the Delete"
    assert texts["A cat."].msgstr == "cat A."
    plural = new[3]
    assert plural.msgstr_plural == {0: "line One\nof {name}\n", 1: "of lines Many {count}\n", 2: "Schon da\n"}
    assert '#, fuzzy, c-format\nmsgctxt "menu"\n' in changed and '#, fuzzy\n#| msgid "An old cat."\n' in changed
    assert 'msgid "A dog."\nmsgstr   "Ein Hund."\n' in changed and "#~ msgid" in changed
    if shutil.which("msgfmt"):
        (tmp_path / "x.po").write_text(changed)
        subprocess.run(["msgfmt", "--check", "-o", tmp_path / "x.mo", tmp_path / "x.po"], check=True)


def test_all_entries_are_filled_if_told_so() -> None:
    changed = translate(PoDocument(CATALOGUE.encode(), retranslate=True), str.upper).decode()
    assert '#, fuzzy\nmsgid "A dog."\nmsgstr "A DOG."\n' in changed and '#~ msgstr ""' in changed


def test_a_finished_catalogue_stays_the_same() -> None:
    text = HEADER + '\nmsgid "A"\nmsgstr "B"\n'
    document = PoDocument(text.encode())
    assert translate(document, str.upper) == text.encode()
    assert document.notes == ["1 entries have a translation or are obsolete and were not changed"]
    assert translate(document, str, language="de").decode() == text.replace("Language: ", "Language: de")


@pytest.mark.parametrize(
    "text", [CATALOGUE.replace("\n", "\r\n"), "\ufeff" + CATALOGUE, BODY, HEADER + '\nmsgid "a"\nmsgstr ""']
)
def test_forms_of_files(text: str) -> None:
    changed = translate(PoDocument(text.encode()), str.upper).decode()
    assert changed.count("\r\n") == changed.count("\n") if "\r" in text else "\r" not in changed
    assert changed.startswith("\ufeff") == text.startswith("\ufeff")
    assert all(
        entry.obsolete or entry.msgstr or entry.msgstr_plural for entry in polib.pofile(changed.lstrip("\ufeff"))
    )


def test_placeholders_are_kept_whatever_the_translation() -> None:
    text = '#, python-format\nmsgid "From %s to %d: %(x)s"\nmsgstr ""\n'
    changed = translate(PoDocument(text.encode()), lambda line: '\n%s & \\ "', Unaligned).decode()
    assert polib.pofile(changed)[0].msgstr.count("%(x)s") == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["%s", "%d", "a ", "B", ". ", "<b>", "</b>", "{x}", "\n", '"', "\\", "%%", "%", "\U00100002"]
        ),
        max_size=12,
    ).map("".join)
)
def test_directives_keep_their_order_or_get_numbers(text: str) -> None:
    source = str(polib.POEntry(msgid="x" + text, flags=["python-format"]))
    changed = polib.pofile(translate(PoDocument(source.encode()), reverse_words, Reversal).decode())[0]
    assert changed.msgid == "x" + text

    def directives(line: str) -> list[str]:
        return [part for part in line.replace("%%", "").split("%")[1:] if part[:1] in ("s", "d")]

    assert [d[0] for d in directives(changed.msgstr)] == [d[0] for d in directives("x" + text)]
    assert changed.msgstr.count("{x}") == text.count("{x}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'msgid "a"\nmsgstr "b" c"\n', "line 2: is not a PO catalogue: unescaped double quote"),
        (b'msgid "a"\nfoo\n', "line 2: is not a PO catalogue"),
        (b"msgid", "is not a PO catalogue"),
        (
            b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "caf\xe9"\nmsgstr ""\n',
            "line 5: is not valid UTF-8",
        ),
        (b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=zip\\n"\n', "not supported"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PoDocument(data)


def test_text_that_is_a_path_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "other.po").write_text(CATALOGUE)
    with pytest.raises(DataError):
        PoDocument(str(tmp_path / "other.po").encode())


def test_a_character_that_the_encoding_lacks_is_named() -> None:
    text = CATALOGUE.replace("UTF-8", "ISO-8859-1")
    with pytest.raises(DataError, match="lacks a character of the translation: '猫'"):
        translate(PoDocument(text.encode()), lambda line: "猫", Unaligned)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polib", None)
    with pytest.raises(ConfigError, match="needs the package polib"):
        PoDocument(CATALOGUE.encode())


def test_recognition() -> None:
    assert looks_like_po(CATALOGUE.encode()) and looks_like_po(b'\xef\xbb\xbfmsgid "a"')
    assert not looks_like_po(b"msgid") and not looks_like_po(b"# A title\nA line\n")
