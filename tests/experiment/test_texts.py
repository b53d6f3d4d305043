"""Texts are read once, and remembered exactly as long as nothing that they depend on has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import toy_pairs, write_pairs

from transformer_cli.artifacts.run_directory import hash_text
from transformer_cli.config import load_config
from transformer_cli.data import fingerprint
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.errors import DataError
from transformer_cli.experiment import texts as module
from transformer_cli.experiment.texts import FILE, TextRequest, TrainingTexts, prepare_texts


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fingerprint, "SETTLED_SECONDS", -60.0)  # the files are new
    write_pairs(tmp_path, "train", toy_pairs(60, 1))
    write_pairs(tmp_path, "valid", toy_pairs(5, 2))
    return tmp_path


def request(corpus: Path, *settings: str, valid: bool = False, **changes: Any) -> TextRequest:
    files = CorpusFiles([corpus / "train.en"], [corpus / "train.de"])
    validation = CorpusFiles([corpus / "valid.en"], [corpus / "valid.de"]) if valid else CorpusFiles()
    values = {"files": files, "validation": validation, "strict_utf8": False, **changes}
    return TextRequest(config=load_config(None, list(settings)), directory=corpus, **values)


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[TextRequest]:
    readings: list[TextRequest] = []
    original: Callable[[TextRequest], TrainingTexts] = module._read

    def read(request: TextRequest) -> TrainingTexts:
        readings.append(request)
        return original(request)

    monkeypatch.setattr(module, "_read", read)
    return readings


def facts(texts: TrainingTexts) -> list[Any]:
    """Everything that is known without reading the training text."""
    locations = [side.location(i) for side in (texts.train, texts.valid) for i in range(len(side))]
    return [
        len(texts.train), list(texts.valid.src), list(texts.valid.tgt), locations, texts.survey, texts.hashes,
        texts.filters_key, texts.reading_notes, texts.split_notes,
    ]  # fmt: skip


@pytest.mark.parametrize("valid", [False, True])
def test_a_second_start_reads_nothing_until_lines_are_needed(
    valid: bool, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = count_readings(monkeypatch)
    first = prepare_texts(request(corpus, valid=valid), corpus)
    first.remember(corpus)
    second = prepare_texts(request(corpus, valid=valid), corpus)
    assert len(readings) == 1 and facts(second) == facts(first)
    assert list(second.train.src) == list(first.train.src) and list(second.train.tgt) == list(first.train.tgt)
    assert second.filters.build() and len(readings) == 2
    assert hash_text(second.train.src, second.train.tgt) == first.hashes[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"strict_utf8": True},
        {"settings": ["training.seed=2"]},
        {"settings": ["data.normalization.nfc=true"]},
        {"settings": ["data.filters.numbers=false"]},
        {"valid": True},
    ],
)
def test_another_option_reads_again(
    changed: dict[str, Any], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_texts(request(corpus), corpus).remember(corpus)
    readings = count_readings(monkeypatch)
    prepare_texts(request(corpus, *changed.pop("settings", []), **changed), corpus)
    assert len(readings) == 1
    prepare_texts(request(corpus, "optim.lr=0.1"), corpus)
    assert len(readings) == 1, "the learning rate does not concern the text"


def test_a_changed_file_is_read_and_a_touched_one_is_not(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare_texts(request(corpus), corpus)
    first.remember(corpus)
    readings = count_readings(monkeypatch)
    os.utime(corpus / "train.en", (2e9, 2e9))
    assert prepare_texts(request(corpus), corpus).hashes == first.hashes and not readings
    content = (corpus / "train.en").read_bytes()
    (corpus / "train.en").write_bytes(content.replace(b"the", b"teh", 1))
    assert prepare_texts(request(corpus), corpus).hashes != first.hashes and len(readings) == 1


def test_a_text_that_changed_behind_its_times_is_refused(corpus: Path) -> None:
    prepare_texts(request(corpus), corpus).remember(corpus)
    second = prepare_texts(request(corpus), corpus)
    content = (corpus / "train.en").read_bytes()
    (corpus / "train.en").write_bytes(content.replace(b"the", b"teh"))
    with pytest.raises(DataError, match="the text has changed"):
        list(second.train.src)


def test_files_that_changed_while_they_were_read_are_not_remembered(corpus: Path) -> None:
    texts = prepare_texts(request(corpus), corpus)
    os.utime(corpus / "train.en", (2e9, 2e9))
    texts.remember(corpus)
    assert not (corpus / FILE).exists()


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"key": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_memory_is_ignored(damage: bytes, corpus: Path) -> None:
    first = prepare_texts(request(corpus), corpus)
    (corpus / FILE).write_bytes(damage)
    assert facts(prepare_texts(request(corpus), corpus)) == facts(first)


def test_every_missing_part_of_the_memory_is_noticed(corpus: Path) -> None:
    first = prepare_texts(request(corpus), corpus)
    first.remember(corpus)
    values = json.loads((corpus / FILE).read_bytes())
    for key in values:
        (corpus / FILE).write_text(json.dumps({name: value for name, value in values.items() if name != key}))
        assert facts(prepare_texts(request(corpus), corpus)) == facts(first)
