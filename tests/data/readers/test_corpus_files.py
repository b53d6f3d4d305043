"""The files of a corpus: what is given as what, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from conftest import toy_pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer_cli.data.corpus import read_corpus
from transformer_cli.data.readers.corpus_files import CorpusFiles, DataFile, TextPair
from transformer_cli.data.readers.pairs import PairReport
from transformer_cli.errors import ConfigError, DataError, UserError

PAIRS = toy_pairs(30)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The same corpus in several forms."""
    (tmp_path / "my.en").write_text("".join(s + "\n" for s, _ in PAIRS))
    (tmp_path / "my.de").write_text("".join(t + "\n" for _, t in PAIRS))
    (tmp_path / "my.de.gz").write_bytes(gzip.compress((tmp_path / "my.de").read_bytes()))
    table = "".join(f"{s}\t{t}\n" for s, t in PAIRS)
    (tmp_path / "my.tsv").write_text(table)
    (tmp_path / "my.tsv.gz").write_bytes(gzip.compress(("English\tDeutsch\n" + table).encode("utf-16")))
    (tmp_path / "table.en").write_text(table)
    (tmp_path / "lines.en").write_text('{"en": "a", "de": "b"}\n' * 3)
    return tmp_path


def test_text_and_data_files_are_one_corpus_with_places(files: Path) -> None:
    corpus = CorpusFiles([files / "my.en"], [files / "my.de.gz"], [files / "my.tsv", files / "my.tsv.gz"])
    text = read_corpus(corpus)
    assert list(zip(text.src, text.tgt, strict=True)) == PAIRS * 3
    assert [text.location(i) for i in (0, 30, 60)] == [
        f"{files / 'my.en'}, line 1", f"{files / 'my.tsv'}, line 1", f"{files / 'my.tsv.gz'}, line 2",
    ]  # fmt: skip
    assert text.forms == [
        f"note: {files / 'my.de.gz'}: text, compressed with gzip",
        f"note: {files / 'my.tsv'}: TSV, columns 1 and 2, no header",
        f"note: {files / 'my.tsv.gz'}: TSV, columns 1 and 2 ('English', 'Deutsch'), header skipped, "
        "compressed with gzip, UTF-16 (little endian)",
    ]


def test_a_table_given_as_text_is_refused_unless_it_is_said_to_be_text(files: Path) -> None:
    for name, words in (("table.en", "columns separated by tabs"), ("lines.en", "JSON lines")):
        with pytest.raises(DataError, match=words) as caught:
            read_corpus(CorpusFiles([files / name], [files / name]))
        assert f"--data {files / name}" in caught.value.hint
        assert len(read_corpus(CorpusFiles([files / name], [files / name], form="text"))) > 1
    (files / "one.csv").write_text("just, a sentence\nand another\n" * 5)
    assert len(read_corpus(CorpusFiles([files / "one.csv"], [files / "one.csv"]))) == 10


def test_suffixes_name_the_languages(files: Path) -> None:
    def suffixes(source: TextPair | DataFile) -> tuple[str, str]:
        report = PairReport()
        list(source.rows(report))
        return source.suffixes(report)

    assert suffixes(TextPair(files / "my.en", files / "my.de.gz")) == ("en", "de")
    assert suffixes(DataFile(files / "my.tsv.gz")) == ("en", "de")
    assert suffixes(DataFile(files / "my.tsv")) == ("src", "tgt")


def test_contradictory_options_are_refused(files: Path) -> None:
    for corpus, words in (
        (CorpusFiles(), "no corpus"),
        (CorpusFiles([files / "my.en"]), "must be given together"),
        (CorpusFiles(data=[files / "my.tsv"], form="xlsx"), "unknown form"),
        (CorpusFiles(data=[files / "my.tsv"], columns="1"), "two columns are needed"),
        (CorpusFiles([files / "my.en"], [files / "my.de"], columns="1,2"), "--columns is for --data"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_corpus(corpus)


CONTENT = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='ab"\t,;|\n\r{}[]:\\<>&!?/=- 0\x00é\ud800', max_size=80).map(
        lambda text: text.encode("utf-8", errors="surrogatepass")
    ),
    st.sampled_from(['<?xml version="1.0" encoding="{}"?><tmx>', "<tmx><body><tu>{}", '{{"a": "{}", "b": "c"}}\n']).flatmap(
        lambda head: st.text(max_size=20).map(lambda text: head.format(text).encode("utf-8", errors="replace"))
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(CONTENT, st.sampled_from([None, "csv", "tsv", "jsonl", "tmx"]), st.sampled_from([None, "1,2", "a,b"]))
def test_any_content_gives_pairs_or_one_clear_error(tmp_path: Path, content: bytes, form: str | None, columns: str | None) -> None:
    (tmp_path / "any").write_bytes(content)
    with contextlib.suppress(UserError):
        read_corpus(CorpusFiles(data=[tmp_path / "any"], columns=columns, form=form))
    with contextlib.suppress(UserError):
        read_corpus(CorpusFiles([tmp_path / "any"], [tmp_path / "any"]))


@pytest.mark.parametrize("encoding", ["windows-1252", "windows-1250"])
def test_a_table_in_an_encoding_of_windows_is_refused_with_the_remedy(tmp_path: Path, encoding: str) -> None:
    """Its letters beyond ASCII may come late, after the part by which the form is recognised."""
    rows = ["English;German", *(f"the house {i};das Haus {i}" for i in range(5000)), "streets;Stra\xdfen", "nice;sch\xf6n"]
    (tmp_path / "table.csv").write_bytes("\r\n".join(rows).encode(encoding))
    corpus = CorpusFiles(data=[tmp_path / "table.csv"])
    with pytest.raises(DataError, match="line 5002: is not UTF-8; 2 lines") as caught:
        read_corpus(corpus)
    assert "iconv -f WINDOWS-1252 -t UTF-8" in caught.value.hint
    (tmp_path / "table.csv").write_bytes("\r\n".join(rows).encode())
    assert read_corpus(corpus).tgt[-1] == "schön"


def test_a_table_with_a_few_damaged_lines_is_read_with_a_warning(tmp_path: Path) -> None:
    rows = [b"English;German", *("house;Häuschen".encode() for _ in range(9)), b"streets;Stra\xdfen"]
    (tmp_path / "table.csv").write_bytes(b"\n".join(rows))
    text = read_corpus(CorpusFiles(data=[tmp_path / "table.csv"]))
    assert len(text) == 10 and "1 lines have bytes that are not UTF-8" in text.notes[0]
