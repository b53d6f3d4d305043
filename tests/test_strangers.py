"""Models from strangers: every file of a run, a bundle and an export, replaced by each thing that it could be.

Everything that commands read of a model is read here, in this process, within limits on time and memory.
"""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from conftest import cli
from hostile_files import directory, endless, fifo, link

from transformer_cli.artifacts.loading import load_model_source
from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.ctranslate2_export import ExportedModel, is_export
from transformer_cli.deployment.engines import exported_files, read_export
from transformer_cli.deployment.server.models import ModelFile, ServedModel
from transformer_cli.errors import UserError
from transformer_cli.experiment.averaging import average_checkpoints

SECONDS = 20
MORE_MEMORY = 1 << 29
"""Address space, in bytes, that reading a small model may add to the process."""

BOMB = "\n".join(
    [
        "a0: &a0 {x: 1}",
        *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]}}" for i in range(1, 200)),
    ]
)
CONTENTS = {
    "empty": b"",
    "noise": bytes(range(256)) * 64,
    "merge bomb": BOMB.encode(),
    "alias bomb": (
        "b0: &b0 [x]\n" + "".join(f"b{i}: &b{i} [{f'*b{i - 1}, ' * 9}]\n" for i in range(1, 50))
    ).encode(),
    "deep JSON": b"[" * 500_000,
    "deep YAML": b"{a: " * 20_000,
    "a long header": (1 << 62).to_bytes(8, "little") + b"{" * 100,  # safetensors
    "a huge array": b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117)
    + b"\n",
}


def huge(path: Path, outside: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 42)  # a sparse file of 4 TiB


def written(content: bytes) -> Callable[[Path, Path], None]:
    def write(path: Path, outside: Path) -> None:
        path.write_bytes(content)

    return write


KINDS: dict[str, Callable[[Path, Path], None]] = {
    **{make.__name__: make for make in (fifo, endless, link, directory, huge)},
    **{name: written(content) for name, content in CONTENTS.items()},
}


@contextmanager
def limits() -> Iterator[None]:
    """Limits on time and memory of this process."""

    def expired(*_: object) -> None:
        raise TimeoutError

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, expired)
    resource.setrlimit(resource.RLIMIT_AS, (size + MORE_MEMORY, old_limit[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old_handler)
        resource.setrlimit(resource.RLIMIT_AS, old_limit)


def read_everything(path: Path) -> None:
    """What `translate`, `evaluate`, `score`, `inspect`, `export` and `serve` read. Raises: UserError."""
    if is_export(path):
        ExportedModel(path).translator({}, TranslationRequest())
        return
    source = open_model_source(path, "best")
    load_model_source(source, torch.device("cpu"))
    source.metrics()
    assert source.weights() and isinstance(source.validation_lines(), list)
    source.lexicon(10)


@pytest.fixture(scope="module")
def models(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run, a bundle as a directory, and an export."""
    folder = tmp_path_factory.mktemp("models")
    for name, arguments in (("bundle", ("--to", "bundle")), ("export", ("--to", "ctranslate2"))):
        done = cli("export", toy_run, folder / name, *arguments)
        assert done.returncode == 0, done.stderr
    return {"run": toy_run, "bundle": folder / "bundle", "export": folder / "export"}


@pytest.fixture(scope="module")
def cached(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has been translated with by CTranslate2."""
    run = Path(shutil.copytree(toy_run, tmp_path_factory.mktemp("cached") / "run", symlinks=True))
    exported_files(open_model_source(run, "best"), "float32", lambda message: None)
    return run


RUN = (
    "config.yaml",
    "tokenizer.model",
    *(f"checkpoints/step_000000500/{n}" for n in ("MANIFEST.json", "model.safetensors")),
)
FILES = {
    "run": (*RUN, "checkpoints/step_000000500/state.json"),
    "bundle": ("MANIFEST.json", "config.yaml", "tokenizer.model", "model.safetensors"),
    "export": ("transformer_cli.json", "model.bin", "config.json", "shared_vocabulary.json", "tokenizer.model"),
}
DATA = (
    "train.STORE.json",
    "train.src.tokens.npy",
    "train.tgt.offsets.npy",
    "valid.STORE.json",
    "valid.src.offsets.npy",
)


def spoiled(model: Path, name: str, kind: str, tmp_path: Path) -> Path:
    """A copy of the model with one file replaced; `outside` has the right content."""
    copy = Path(shutil.copytree(model, tmp_path / "model", symlinks=True))
    best = copy / "checkpoints/best"
    if best.is_symlink():
        best.unlink()
        best.symlink_to("step_000000500")
    (copy / name).rename(tmp_path / "outside")
    KINDS[kind](copy / name, tmp_path / "outside")
    return copy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("model", "name"), [(model, name) for model, names in FILES.items() for name in names])
def test_every_file_is_refused(model: str, name: str, kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    path = spoiled(models[model], name, kind, tmp_path)
    with limits(), pytest.raises(UserError):
        read_everything(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DATA)
def test_the_encoded_corpus_is_refused_or_not_used(
    name: str, kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    path = spoiled(models["run"], f"data/{name}", kind, tmp_path)
    with limits(), suppress(UserError):
        read_everything(path)
    assert (tmp_path / "outside").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_of_an_average_is_refused(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    path = spoiled(models["run"], "checkpoints/step_000000250/model.safetensors", kind, tmp_path)
    with limits(), pytest.raises(UserError):
        average_checkpoints(path, 2)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in CONTENTS])
def test_a_bundle_is_a_plain_file(kind: str, toy_run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.zip"
    assert cli("export", toy_run, outside, "--to", "bundle").returncode == 0
    KINDS[kind](tmp_path / "model.zip", outside)
    with limits():
        if kind == "link":  # the user's own name for a file
            read_everything(tmp_path / "model.zip")
            return
        with pytest.raises(UserError):
            read_everything(tmp_path / "model.zip")


@pytest.mark.parametrize("kind", ["fifo", "endless", "link", "directory", "huge", "deep JSON"])
@pytest.mark.parametrize("name", ["transformer_cli.json", "model.bin"])
def test_a_damaged_cached_export_is_written_again(name: str, kind: str, cached: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(cached, tmp_path / "run", symlinks=True))
    source = open_model_source(run, "best")
    (export,) = source.engines.glob("ctranslate2-*")
    (export / name).rename(tmp_path / "outside")
    content = (tmp_path / "outside").read_bytes()
    KINDS[kind](export / name, tmp_path / "outside")
    with limits():
        assert read_export(export) is None
        assert exported_files(source, "float32", lambda message: None)[
            name if name == "model.bin" else "config.json"
        ]
    assert (tmp_path / "outside").read_bytes() == content


def test_serve_refuses_it_too(models: dict[str, Path], tmp_path: Path) -> None:
    for number, (model, name) in enumerate(
        (("run", "config.yaml"), ("bundle", "MANIFEST.json"), ("export", "model.bin"))
    ):
        (tmp_path / str(number)).mkdir()
        path = spoiled(models[model], name, "endless", tmp_path / str(number))
        with limits(), pytest.raises(UserError):
            ServedModel(ModelFile(path), {}, "cpu")
