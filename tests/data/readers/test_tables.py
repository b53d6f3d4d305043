"""Tables as spreadsheets and corpus tools write them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.data.readers.corpus_files import DataFile, parse_columns
from transformer_cli.data.readers.pairs import PairReport, Row
from transformer_cli.errors import DataError

PAIRS = [("The cat.", "Die Katze."), ("A dog, a bird.", 'Ein "Hund".'), ("Today", "Heute; jetzt"), ("x y", "z")]


def read(path: Path, content: str, columns: str = "", form: str | None = None) -> tuple[list[Row], PairReport]:
    path.write_bytes(content.encode())
    report = PairReport()
    source = DataFile(path, parse_columns(columns) if columns else None, form)
    return list(source.rows(report)), report


def written(rows: list[tuple[str, ...]], delimiter: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows(rows)
    return buffer.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
def test_a_table_is_recognised_whatever_its_name(tmp_path: Path, name: str, delimiter: str) -> None:
    if name == "a.tsv" and delimiter != "\t":
        return
    rows, report = read(tmp_path / name, written([("English", "German"), *PAIRS], delimiter))
    assert [row[1:] for row in rows] == PAIRS and [row.line for row in rows] == [2, 3, 4, 5]
    assert "columns 1 and 2 ('English', 'German'), header skipped" in report.form


def test_without_a_header_the_first_record_is_a_pair(tmp_path: Path) -> None:
    rows, report = read(tmp_path / "a.csv", written(PAIRS, ","))
    assert [row[1:] for row in rows] == PAIRS and report.form == "CSV, columns 1 and 2, no header"


def test_columns_by_name_language_and_number(tmp_path: Path) -> None:
    content = written([("id", "English", "note", "Deutsch"), *((str(i), s, "", t) for i, (s, t) in enumerate(PAIRS))], ",")
    for columns in ("English,Deutsch", "en,de", "2,4", "english,4"):
        assert [row[1:] for row in read(tmp_path / "a.csv", content, columns)[0]] == PAIRS, columns
    assert [row[:0:-1] for row in read(tmp_path / "a.csv", content, "de,en")[0]] == PAIRS
    with pytest.raises(DataError, match="no column 'fr'") as caught:
        read(tmp_path / "a.csv", content, "en,fr")
    assert "id, English, note, Deutsch" in caught.value.hint
    with pytest.raises(DataError, match=r"column 1 \('id'\) has only numbers") as caught:
        read(tmp_path / "a.csv", content, "1,2")
    assert "--columns 2,3" in caught.value.hint
    with pytest.raises(DataError, match="column 9 is needed"):
        read(tmp_path / "a.csv", content, "1,9")


def test_cells_of_several_lines_are_joined_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    rows, report = read(tmp_path / "a.csv", 'en,de\n"two\nlines",zwei\nnext,weiter\n')
    assert rows == [Row(2, "two lines", "zwei"), Row(4, "next", "weiter")]
    assert any("cell of several lines" in message and "lines 2" in message for message in report.messages("a"))


def test_excel_names_its_delimiter(tmp_path: Path) -> None:
    rows, report = read(tmp_path / "a.csv", "sep=;\r\nen;de\r\na, b;c\r\n")
    assert rows == [Row(3, "a, b", "c")] and "CSV with ';'" in report.form


def test_tsv_takes_quotation_marks_as_text_unless_all_are_of_a_spreadsheet(tmp_path: Path) -> None:
    raw = '"Yes," he said.\tJa.\nNo\t"Nein\nMaybe\tVielleicht\n'
    assert [row.src for row in read(tmp_path / "a.tsv", raw)[0]] == ['"Yes," he said.', "No", "Maybe"]
    quoted = 'He said ""a"".\tb\n"c ""d"""\te\n'
    assert [row.src for row in read(tmp_path / "a.tsv", quoted)[0]] == ['He said ""a"".', 'c "d"']
    assert [row.src for row in read(tmp_path / "a.tsv", quoted, form="tsv")[0]][1] == '"c ""d"""'


def test_an_open_quotation_mark_is_refused_with_its_line(tmp_path: Path) -> None:
    for content in ('en,de\na,b\n"c,d\ne,f\n', 'en,de\na,b\n"c"d,e\n'):
        with pytest.raises(DataError, match=r"a\.csv: line 3: a cell that begins with a quotation mark"):
            read(tmp_path / "a.csv", content)


def test_records_of_another_width_are_blank_and_reported(tmp_path: Path) -> None:
    rows, report = read(tmp_path / "a.csv", written(PAIRS, ",") + "one, two,drei\n\nalone\n")
    assert rows[4:] == [Row(5, "one, two,drei", ""), Row(6, "", ""), Row(7, "alone", "")]
    assert any("another number of columns" in message for message in report.messages("a"))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="form is not recognised") as caught:
        read(tmp_path / "a.txt", "one sentence\nanother, with a comma\nthird\n")
    assert "--src FILE --tgt FILE" in caught.value.hint


CELL = st.text(alphabet='ab ",;\n\tß', max_size=8)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_whatever_a_spreadsheet_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    content = written([("source", "target"), *pairs, ("end", "of it")], ",")
    rows, _ = read(path, content)
    expected = [tuple(cell.replace("\n", " ") for cell in pair) for pair in pairs]
    assert [row[1:] for row in rows] == [*expected, ("end", "of it")]
