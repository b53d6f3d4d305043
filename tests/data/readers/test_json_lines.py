"""JSON lines of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from transformer_cli.data.readers.corpus_files import DataFile, parse_columns
from transformer_cli.data.readers.pairs import PairReport, Row
from transformer_cli.errors import DataError


def read(path: Path, content: str, columns: str = "") -> tuple[list[Row], PairReport]:
    path.write_text(content)
    report = PairReport()
    return list(DataFile(path, parse_columns(columns) if columns else None).rows(report)), report


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_two_fields_are_read(tmp_path: Path, name: str) -> None:
    content = '{"id": 1, "en": "a\\nb", "de": "c"}\n\n{"de": "f", "en": "d", "id": 2}\n'
    rows, report = read(tmp_path / name, content)
    assert rows == [Row(1, "a b", "c"), Row(3, "d", "f")]
    assert report.form == "JSON lines, fields 'en' and 'de'" and report.names == ("en", "de")
    assert read(tmp_path / name, content, "German,English")[0][0] == Row(1, "c", "a b")


def test_the_object_of_a_translation_data_set_is_read(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "a.jsonl", '{"translation": {"en": "a", "de": "b"}}\n' * 2)
    assert rows == [Row(1, "a", "b"), Row(2, "a", "b")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "line 2: is not a JSON object"),
        ('{"en": "a"', "line 2: is not a JSON object"),
        ("[" * 100_000, "line 2: is not a JSON object"),
        ('{"en": "a"}', "line 2: has no field 'de'"),
        ('{"en": "a", "de": 5}', "line 2: the field 'de' is not text"),
    ],
)
def test_another_line_is_refused_with_its_number(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path / "a.jsonl", '{"en": "a", "de": "b"}\n' + line + "\n")


def test_an_array_and_a_lonely_field_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one JSON array") as caught:
        read(tmp_path / "a.json", '[{"en": "a", "de": "b"}]\n')
    assert "jq -c" in caught.value.hint
    with pytest.raises(DataError, match="fewer than two fields"):
        read(tmp_path / "a.jsonl", '{"en": "a"}\n')
    with pytest.raises(DataError, match="no field 'fr'"):
        read(tmp_path / "a.jsonl", '{"en": "a", "de": "b"}\n', "en,fr")
