"""Translation memories."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from transformer_cli.data.readers.corpus_files import DataFile, parse_columns
from transformer_cli.data.readers.pairs import PairReport, Row
from transformer_cli.errors import DataError

HEAD = '<?xml version="1.0" encoding="{}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4"><header srclang="en"/><body>\n'
TAIL = "</body></tmx>\n"


def unit(**texts: str) -> str:
    variants = "".join(f'<tuv xml:lang="{lang.replace("_", "-")}"><seg>{text}</seg></tuv>' for lang, text in texts.items())
    return f"<tu>{variants}</tu>\n"


def read(path: Path, body: str, columns: str = "", encoding: str = "utf-8") -> tuple[list[Row], PairReport]:
    path.write_bytes((HEAD.format(encoding) + body + TAIL).encode(encoding))
    report = PairReport()
    return list(DataFile(path, parse_columns(columns) if columns else None).rows(report)), report


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("name", ["a.tmx", "a.xml"])
def test_units_are_pairs_of_the_first_two_languages(tmp_path: Path, name: str, encoding: str) -> None:
    body = unit(en_US="The house &amp; street", de_DE="Haus &amp; Straße", fr="maison") + unit(de_DE="B\nb", en_US=" b ")
    rows, report = read(tmp_path / name, body, encoding=encoding)
    assert rows == [Row(4, "The house & street", "Haus & Straße"), Row(5, "b", "B b")]
    assert report.form == "TMX, languages 'en-US' and 'de-DE'"
    assert read(tmp_path / name, body, "fr,en", encoding)[0] == [Row(4, "maison", "The house & street")]


def test_formatting_codes_are_left_out(tmp_path: Path) -> None:
    body = unit(en='<bpt i="1">&lt;b&gt;</bpt>Click<ept i="1">&lt;/b&gt;</ept> <hi>here</hi><ph>%s</ph>', de="Hier klicken")
    assert read(tmp_path / "a.tmx", body)[0] == [Row(4, "Click here", "Hier klicken")]


def test_units_without_one_of_the_languages_are_counted(tmp_path: Path) -> None:
    rows, report = read(tmp_path / "a.tmx", unit(en="a", de="b") + unit(en="c") + unit(fr="d", de="e"))
    assert len(rows) == 1 and "2 units lack one of the two languages" in report.messages("a")[0]


def test_entities_and_external_files_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    bomb = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    for entities in (f'<!ENTITY l0 "ha">{bomb}', f'<!ENTITY x SYSTEM "file://{secret}">', '<!ENTITY % p "x">'):
        head = f'<?xml version="1.0"?>\n<!DOCTYPE tmx [{entities}]>\n<tmx version="1.4"><body>'
        (tmp_path / "a.tmx").write_text(head + unit(en="&l9; &x;", de="b") + TAIL)
        with pytest.raises(DataError, match="declares XML entities"):
            list(DataFile(tmp_path / "a.tmx").rows(PairReport()))


def test_malformed_files_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 5: is not well-formed XML"):
        read(tmp_path / "a.tmx", unit(en="a", de="b") + "<tu></body>")
    with pytest.raises(DataError, match="no unit has text in 'en' and 'fr'") as caught:
        read(tmp_path / "a.tmx", unit(en="a", de="b"), "en,fr")
    assert "de, en" in caught.value.hint
    for encoding in ("foo", "shift_jis"):
        (tmp_path / "a.tmx").write_text(HEAD.format(encoding) + unit(en="a", de="b") + TAIL)
        with pytest.raises(DataError, match="encoding is not supported"):
            list(DataFile(tmp_path / "a.tmx").rows(PairReport()))
    (tmp_path / "a.xml").write_text('<?xml version="1.0"?><html></html>')
    with pytest.raises(DataError, match="XML, but not TMX"):
        list(DataFile(tmp_path / "a.xml").rows(PairReport()))


def test_a_large_memory_is_streamed(tmp_path: Path) -> None:
    with (tmp_path / "a.tmx").open("w") as stream:
        stream.write(HEAD.format("utf-8"))
        for i in range(100_000):
            stream.write(unit(en=f"sentence {i} " + "word " * 20, de=f"Satz {i} " + "Wort " * 20))
        stream.write(TAIL)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in DataFile(tmp_path / "a.tmx").rows(PairReport())) == 100_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10
    with pytest.raises(DataError, match="segment of more than"):
        read(tmp_path / "a.tmx", unit(en="a" * (2 << 20), de="b"))
    (tmp_path / "a.tmx").write_text('<?xml version="1.0"?><tmx version="' + "1" * (40 << 20))
    with pytest.raises(DataError, match="a tag of more than"):
        list(DataFile(tmp_path / "a.tmx").rows(PairReport()))
