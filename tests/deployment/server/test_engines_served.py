"""Bundles and CTranslate2 exports are served; what an engine cannot do is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import cli, toy_pairs

from transformer_cli.deployment.server.batching import SearchOptions
from transformer_cli.deployment.server.models import ModelFile, ServedModel
from transformer_cli.deployment.server.schemas import TranslateRequest
from transformer_cli.deployment.server.service import search_options
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import CheckpointError, ConfigError

pytest.importorskip("ctranslate2")
LINES = [source for source, _ in toy_pairs(10, seed=6)]


@pytest.fixture(scope="module")
def export(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export") / "ct2"
    done = cli("export", toy_run, directory, "--to", "ctranslate2")
    assert done.returncode == 0, done.stderr
    return directory


def translate(run: Path, *options: object) -> list[str]:
    done = cli("translate", run, *options, stdin="".join(line + "\n" for line in LINES).encode())
    return done.stdout.decode().split("\n")[:-1]


def test_an_export_is_a_model_by_itself(export: Path, toy_run_copy: Path) -> None:
    model = ServedModel(ModelFile(export), {}, "auto")
    assert (model.engine, model.source, model.target, model.architecture) == (
        "ctranslate2",
        "en",
        "de",
        "transformer",
    )
    expected = translate(toy_run_copy, "--engine", "ctranslate2")
    assert [t.text for t in model.translate(LINES, SearchOptions())] == expected
    with pytest.raises(RequestError) as caught:
        model.attention(LINES[0])
    assert caught.value.status == 501
    with pytest.raises(ConfigError, match="protect"):
        ServedModel(ModelFile(export), {"protect": True}, "auto")


def test_a_damaged_export_is_refused(export: Path, tmp_path: Path) -> None:
    for name in ("model.bin", "transformer_cli.json"):
        copy = tmp_path / name
        copy.mkdir()
        for file in export.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(CheckpointError):
            ServedModel(ModelFile(copy), {}, "auto")
    notes = json.loads((export / "transformer_cli.json").read_text())
    del notes["config"]
    (copy / "transformer_cli.json").write_text(json.dumps(notes))
    with pytest.raises(CheckpointError, match="export alone"):
        ServedModel(ModelFile(copy), {}, "auto")


def test_a_bundle_is_served_with_both_engines(toy_run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "en-de.zip"
    assert cli("export", toy_run, bundle, "--to", "bundle").returncode == 0
    for overrides in ({}, {"protect": True}, {"beam": 1}):
        model = ServedModel(ModelFile(bundle), overrides, "cpu")
        options = [f"--{key}" if value is True else f"--{key}={value}" for key, value in overrides.items()]
        assert [t.text for t in model.translate(LINES, SearchOptions())] == translate(toy_run, *options)
    assert model.name == "en-de" and model.engine == "torch"


def test_what_the_engine_cannot_do_is_refused(toy_run_copy: Path) -> None:
    request = TranslateRequest(q="a", source="en", target="de", alignment=True)
    for overrides, status in (({"engine": "ctranslate2"}, 501), ({"protect": True}, 422)):
        with pytest.raises(RequestError) as caught:
            search_options(request, ServedModel(ModelFile(toy_run_copy), overrides, "cpu"))
        assert caught.value.status == status
    model = ServedModel(ModelFile(toy_run_copy), {"engine": "auto"}, "cpu")
    assert model.engine == "ctranslate2"
    (translation,) = model.translate(LINES[:1], search_options(request, model))
    assert translation.links  # by torch
