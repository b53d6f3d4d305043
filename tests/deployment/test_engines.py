"""Which engine opens a model, and the export that CTranslate2 needs: written once, verified, replaced when damaged."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import toy_pairs, tree

from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment import export
from transformer_cli.deployment.engines import ModelRequest, exported_files, open_model, read_export
from transformer_cli.errors import CheckpointError, ConfigError, UserError

pytest.importorskip("ctranslate2")

LINES = [s for s, _ in toy_pairs(10, seed=4)]


@pytest.fixture
def run(toy_run_copy: Path) -> Path:
    return toy_run_copy


def texts(request: ModelRequest, messages: list[str] | None = None) -> list[str]:
    opened = open_model(request, (messages if messages is not None else []).append)
    return [translation.text for translation in opened.translator.translate(LINES)]


def with_engine(run: Path, engine: str, **others: Any) -> ModelRequest:
    return ModelRequest(run, overrides={"engine": engine}, **others)


def test_the_export_is_written_once_and_found_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    expected = texts(with_engine(run, "torch"))
    assert not (run / "engines").exists()
    assert texts(with_engine(run, "ctranslate2"), messages) == expected
    assert len(messages) == 1 and "exporting the model for CTranslate2; this is done once" in messages[0]
    before = tree(run / "engines")
    monkeypatch.setattr(export, "write_ctranslate2", None)  # would fail if it were called
    assert texts(with_engine(run, "ctranslate2"), messages) == expected and len(messages) == 1
    assert tree(run / "engines") == before


def test_a_damaged_export_is_replaced(run: Path) -> None:
    source = open_model_source(run, "best")
    files = exported_files(source, "float32", print)
    (directory,) = (p for p in (run / "engines").iterdir() if p.is_dir())
    content = bytearray((directory / "model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "model.bin").write_bytes(content)
    assert read_export(directory) is None
    assert exported_files(source, "float32", print) == files
    (directory / "model.bin").unlink()
    assert exported_files(source, "float32", print) == files
    (directory / "model.bin").unlink()
    (directory / "model.bin").symlink_to("/dev/zero")
    assert exported_files(source, "float32", print) == files


def test_each_checkpoint_and_quantization_has_its_own_export(run: Path) -> None:
    checkpoints = sorted(p.name for p in (run / "checkpoints").iterdir() if not p.is_symlink())
    for checkpoint in checkpoints[:2]:
        exported_files(open_model_source(run, checkpoint), "float32", print)
    exported_files(open_model_source(run, checkpoints[0]), "int8", print)
    names = sorted(p.name.rpartition("-")[0] for p in (run / "engines").iterdir() if p.is_dir())
    assert names == ["ctranslate2-float32", "ctranslate2-float32", "ctranslate2-int8"]


def test_two_processes_write_it_once(run: Path) -> None:
    messages: list[str] = []
    source = open_model_source(run, "best")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: exported_files(source, "float32", messages.append), range(2))
    assert first == second
    assert [p.name for p in (run / "engines").iterdir() if p.name.endswith(".tmp")] == []


def test_what_it_cannot_do_is_named_and_auto_uses_torch(run: Path) -> None:
    request = TranslationRequest(terms=(("cat", "Vogel"),))
    for engine in ("ctranslate2", "auto"):
        model = with_engine(run, engine, request=request, has_prefixes=True, ensemble=[str(run)], device="cpu")
        messages: list[str] = []
        if engine == "ctranslate2":
            with pytest.raises(ConfigError, match="does not support --terms, --ensemble, --prefix"):
                open_model(model, messages.append)
        else:
            assert open_model(model, messages.append).engine == "torch"
            assert "auto: torch is used, because the engine ctranslate2 does not support --terms" in messages[0]
    with pytest.raises(ConfigError, match="--device mps"):
        open_model(with_engine(run, "ctranslate2", device="mps"), print)
    assert open_model(with_engine(run, "auto", device="cpu"), print).engine == "ctranslate2"


def test_a_missing_package_is_named_and_auto_uses_torch(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(ConfigError, match="needs the package ctranslate2"):
        open_model(with_engine(run, "ctranslate2"), print)
    messages: list[str] = []
    assert open_model(with_engine(run, "auto"), messages.append).engine == "torch"
    assert "not installed" in messages[0]


def test_an_export_that_disagrees_is_not_used(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = export.build_spec

    def wrong(*arguments: Any) -> Any:
        spec = build(*arguments)
        spec.decoder.layer_norm.gamma.numpy()[:] *= -1
        return spec

    monkeypatch.setattr(export, "build_spec", wrong)
    with pytest.raises(UserError, match="gives different translations"):
        open_model(with_engine(run, "ctranslate2"), print)
    assert not [p for p in (run / "engines").iterdir() if p.is_dir()]
    assert open_model(with_engine(run, "auto"), print).engine == "torch"


def test_a_bundle_has_no_text_to_check_an_export_with(toy_run: Path, tmp_path: Path) -> None:
    export.export_model(export.ExportRequest(toy_run, tmp_path / "m.zip", "bundle"), print)
    with pytest.raises(ConfigError, match="no validation text"):
        open_model(with_engine(tmp_path / "m.zip", "ctranslate2"), print)
    assert open_model(with_engine(tmp_path / "m.zip", "auto"), print).engine == "torch"


def test_a_linked_directory_of_exports_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run / "engines").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="is a link"):
        open_model(with_engine(run, "ctranslate2"), print)
    assert not list((tmp_path / "elsewhere").iterdir())
