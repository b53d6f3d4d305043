"""Checkpoints: safetensors and JSON, written durably, verified by hash before anything is believed.

    checkpoints/step_000001000/{model.safetensors, optimizer.safetensors, state.json, MANIFEST.json}
    checkpoints/best  checkpoints/last      names of one of them, not copies

A directory without a whole, matching `MANIFEST.json` is no checkpoint. One that was saved at a signal, and
validated when its run was started again, holds `state.validated.json` as well, which then is the state.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from transformer_cli import __version__, durable
from transformer_cli.durable import OPS, FileOps
from transformer_cli.errors import CheckpointError
from transformer_cli.training.state import Progress, TrainState

FORMAT = 1
"""Version of what stands in a checkpoint directory."""
MODEL, OPTIMIZER, STATE, MANIFEST = (
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "MANIFEST.json",
)
VALIDATED = "state.validated.json"
STEP_NAME = re.compile(r"step_\d{9}")
BEST, LAST, AVERAGE = "best", "last", "average"
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@dataclass(frozen=True)
class CheckpointStore:
    """The `checkpoints` directory of a run.

    `identity` names by hash what a checkpoint belongs to (tokenizer, model, corpus); it stands in each manifest.
    """

    directory: Path
    identity: Mapping[str, str]
    ops: FileOps = OPS

    def save(self, state: TrainState, *, best: bool, keep_last: int) -> Path:
        """Write the state under its step, move the names, delete what is no longer kept.

        Raises:
            DiskError: nothing was saved; older checkpoints are intact.
        """
        path = self.directory / f"step_{state.progress.step:09d}"
        if not path.exists():
            write_checkpoint(
                path,
                {
                    MODEL: serialize_tensors(state.model_tensors()),
                    OPTIMIZER: serialize_tensors(state.optimizer_tensors()),
                    STATE: serialize_json(state.progress.to_json()),
                },
                self.identity,
                self.ops,
            )
        elif read_state(path).get("validated_step") != state.progress.step == state.progress.validated_step:
            self._add_validation(path, state.progress)
        durable.set_symlink(self.directory / LAST, path.name, self.ops)
        if best:
            durable.set_symlink(self.directory / BEST, path.name, self.ops)
        self._prune(keep_last)
        return path

    def resolve_link(self, name: str) -> Path | None:
        """The checkpoint that `best` or `last` names, if it names one."""
        link = self.directory / name
        target = link.readlink().name if link.is_symlink() else ""
        path = self.directory / target
        return path if STEP_NAME.fullmatch(target) and path.is_dir() else None

    def steps(self) -> list[Path]:
        """All checkpoints, oldest first, whole or not."""
        if not self.directory.is_dir():
            return []
        return sorted(p for p in self.directory.iterdir() if STEP_NAME.fullmatch(p.name))

    def newest_intact(self) -> tuple[Path | None, list[str]]:
        """The newest checkpoint whose files are whole (None: there is none), and what is wrong with newer ones.

        Raises:
            CheckpointError: there are checkpoints and none of them is whole; or one of a newer format.
        """
        problems = []
        for path in reversed(self.steps()):
            try:
                verify_checkpoint(path)
            except UnsupportedFormatError:
                raise
            except CheckpointError as error:
                problems.append(error.what)
            else:
                return path, problems
        if problems:
            raise CheckpointError(
                f"{self.directory}: no checkpoint is whole:\n  " + "\n  ".join(problems),
                hint="nothing was changed; restore one from a copy, or start a new run in another directory",
            )
        return None, []

    def repair_links(self, newest: Path, progress: Progress) -> None:
        """A crash between a checkpoint and its names leaves them behind; the state says where they belong.

        Where `best` names nothing any more, the newest takes its place.
        """
        best = self.directory / f"step_{progress.best_step:09d}"
        if progress.best_score is None:
            lost = (self.directory / BEST).is_symlink() and self.resolve_link(BEST) is None
            best = newest if lost else best
        for name, path in ((LAST, newest), (BEST, best)):
            if path.is_dir() and self.resolve_link(name) != path:
                durable.set_symlink(self.directory / name, path.name, self.ops)

    def forget_missing_best(self, progress: Progress) -> None:
        """Where the best is gone (pruned for a better one that is damaged now), there is none to beat any more."""
        if progress.best_score is not None and not (self.directory / f"step_{progress.best_step:09d}").is_dir():
            progress.best_score, progress.best_step = None, 0

    def set_aside(self, path: Path) -> None:
        """Move a damaged checkpoint out of the way, so that its step can be saved again."""
        names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in itertools.count())
        path.rename(next(name for name in names if not name.exists()))

    def _add_validation(self, path: Path, progress: Progress) -> None:
        """The same step again, now that its scores are known: a new file, believed once the manifest names it."""
        manifest, content = read_manifest(path), serialize_json(progress.to_json())
        durable.write_bytes(path / VALIDATED, content, self.ops)
        manifest["files"][VALIDATED] = file_record(content)
        durable.write_bytes(path / MANIFEST, serialize_json(manifest), self.ops)

    def _prune(self, keep_last: int) -> None:
        kept = {*self.steps()[-keep_last:], self.resolve_link(BEST), self.resolve_link(LAST)}
        for path in self.steps():
            if path not in kept:
                remove_checkpoint(path)


def remove_checkpoint(path: Path) -> None:
    """Delete what the manifest lists; anything else in there stays, and so does then the directory."""
    with contextlib.suppress(OSError, CheckpointError):
        for name in [*read_manifest(path)["files"], MANIFEST]:
            (path / name).unlink(missing_ok=True)
        durable.remove_temporary_files(path)
        path.rmdir()


class UnsupportedFormatError(CheckpointError):
    """Written by another version of this program: not damaged, so never passed over or replaced."""


def write_checkpoint(
    path: Path, files: Mapping[str, bytes], identity: Mapping[str, str], ops: FileOps = OPS
) -> None:
    """A new directory of these files and their manifest, all at once. Raises: DiskError."""
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "identity": dict(identity),
        "files": {name: file_record(content) for name, content in files.items()},
    }
    with durable.write_directory(path, ops) as write:
        for name, content in files.items():
            write(name, content)
        write(MANIFEST, serialize_json(manifest))


def file_record(content: bytes) -> dict[str, Any]:
    """What a manifest says about a file."""
    return {"sha256": durable.sha256(content), "bytes": len(content)}


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint. Raises: CheckpointError if it is missing, damaged or too new."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version, files = manifest["format"], manifest["files"]
        names_are_plain = all(Path(name).name == name for name in files)
        facts_are_there = all(type(f["bytes"]) is int and type(f["sha256"]) is str for f in files.values())
        assert isinstance(manifest["identity"], dict) and names_are_plain and facts_are_there
    except OSError as error:
        raise CheckpointError(f"{path}: no readable {MANIFEST}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise CheckpointError(f"{path}: {MANIFEST} is damaged") from None
    if version != FORMAT:
        raise UnsupportedFormatError(
            f"{path}: written in checkpoint format {version}; this program reads format {FORMAT}",
            hint=f"it was written by transformer-cli {manifest.get('version', '?')}",
        )
    return dict(manifest)


def verify_checkpoint(path: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its manifest.

    Returns:
        The manifest.

    Raises:
        CheckpointError: missing, truncated or changed file.
    """
    manifest = read_manifest(path)
    for name, facts in manifest["files"].items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise CheckpointError(f"{file}: missing, or not a plain file")
        if file.stat().st_size != facts["bytes"]:
            raise CheckpointError(
                f"{file}: has {file.stat().st_size} bytes instead of {facts['bytes']}: truncated or changed"
            )
        try:
            found = durable.sha256_file(file)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from None
        if found != facts["sha256"]:
            raise CheckpointError(f"{file}: content does not match its SHA-256: damaged or changed")
    return manifest


def check_identity(path: Path, manifest: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    """Raises: CheckpointError if the checkpoint belongs to another tokenizer, model or corpus."""
    for key, value in identity.items():
        if manifest["identity"].get(key) != value:
            raise CheckpointError(
                f"{path}: was made with another {key}",
                hint=f"give the {key} that the run was started with, or start a new run in another directory",
            )


def load_training(path: Path, state: TrainState) -> None:
    """Restore a verified checkpoint into `state`. Raises: CheckpointError if it does not fit the model."""
    model = load_tensors(path / MODEL, dict(state.model.named_parameters()))
    optimizer = read_tensors(path / OPTIMIZER)
    try:
        state.restore(model, optimizer, Progress.from_json(read_state(path)))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit this run: {error}") from None


def read_state(path: Path) -> dict[str, Any]:
    """The state that a verified checkpoint holds, as it was written. Raises: CheckpointError."""
    file = path / (VALIDATED if VALIDATED in read_manifest(path)["files"] else STATE)
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None


def load_weights(path: Path, model: nn.Module) -> None:
    """Put the weights of a verified checkpoint into `model`. Raises: CheckpointError."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in load_tensors(path / MODEL, parameters).items():
            parameters[name].copy_(tensor)


def load_tensors(file: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of exactly these names, shapes and dtypes, checked in the header before anything is read.

    Raises:
        CheckpointError: damaged file, or one of another model.
    """
    found = _header(file)
    wanted = {name: (DTYPES[t.dtype], *t.shape) for name, t in like.items()}
    if found != wanted:
        differ = sorted(set(found.items()) ^ set(wanted.items()))
        raise CheckpointError(f"{file}: holds another model: {differ[0][0]} differs in name, type or shape")
    return read_tensors(file)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises: CheckpointError."""
    try:
        return safetensors.torch.load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None


def _header(file: Path) -> dict[str, tuple[object, ...]]:
    try:
        with safetensors.safe_open(file, framework="pt") as tensors:
            parts = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            return {name: (part.get_dtype(), *part.get_shape()) for name, part in parts.items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None


def serialize_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors -> the bytes of a safetensors file."""
    return safetensors.torch.save({name: t.contiguous().cpu() for name, t in tensors.items()})


def serialize_json(value: Any) -> bytes:
    """A value -> indented JSON in UTF-8."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
