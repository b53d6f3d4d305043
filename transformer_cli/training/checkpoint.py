"""Checkpoints: safetensors and JSON files, written durably and verified by hash before they are loaded.

    checkpoints/step_000001000/{model.safetensors, optimizer.safetensors, state.json, MANIFEST.json}
    checkpoints/best  checkpoints/last      symbolic links to checkpoints, not copies

A directory without a valid, matching `MANIFEST.json` is not a checkpoint. A checkpoint that was saved
on a signal and validated after a restart also contains `state.validated.json`, which replaces
`state.json`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from transformer_cli import __version__, durable
from transformer_cli.durable import OPS, FileOps
from transformer_cli.errors import CheckpointError
from transformer_cli.manifest import (
    FORMAT,
    MANIFEST,
    MODEL,
    OPTIMIZER,
    STATE,
    VALIDATED,
    UnsupportedFormatError,
    file_record,
    read_manifest,
    read_state,
    serialize_json,
    verify_checkpoint,
)
from transformer_cli.training.state import Progress, TrainState

STEP_NAME = re.compile(r"step_\d{9}")
BEST, LAST, AVERAGE = "best", "last", "average"
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@dataclass(frozen=True)
class CheckpointStore:
    """The `checkpoints` directory of a run.

    `identity` maps each input of the run (tokenizer, model, corpus) to its hash; every manifest contains it.
    """

    directory: Path
    identity: Mapping[str, str]
    ops: FileOps = OPS

    def save(self, state: TrainState, *, best: bool, keep_last: int) -> Path:
        """Write the checkpoint of the current step, update the links, delete old checkpoints.

        Args:
            best: link this checkpoint as `best`.
            keep_last: number of newest checkpoints to keep, in addition to the linked ones.

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
        """The checkpoint that the link `best` or `last` points to; None if the link is missing or dangling."""
        link = self.directory / name
        target = link.readlink().name if link.is_symlink() else ""
        path = self.directory / target
        return path if STEP_NAME.fullmatch(target) and path.is_dir() else None

    def checkpoint_paths(self) -> list[Path]:
        """All checkpoint directories, oldest first, without verifying them."""
        if not self.directory.is_dir():
            return []
        return sorted(p for p in self.directory.iterdir() if STEP_NAME.fullmatch(p.name) and not p.is_symlink())

    def newest_intact(self) -> tuple[Path | None, list[str]]:
        """Find the newest checkpoint that passes verification.

        Returns:
            Its path (None if the directory has no checkpoints), and the problems of newer checkpoints.

        Raises:
            CheckpointError: every checkpoint is damaged, or one has an unsupported format.
        """
        problems = []
        for path in reversed(self.checkpoint_paths()):
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
                f"{self.directory}: no intact checkpoint:\n  " + "\n  ".join(problems),
                hint="nothing was changed; restore a checkpoint from a backup, or start a new run elsewhere",
            )
        return None, []

    def repair_links(self, newest: Path, progress: Progress) -> None:
        """Repair links that are out of date because of a crash between a checkpoint and its links.

        The targets follow from `progress`. If `best` is dangling and no best score is known, it is
        linked to `newest`.
        """
        best = self.directory / f"step_{progress.best_step:09d}"
        if progress.best_score is None:
            dangling = (self.directory / BEST).is_symlink() and self.resolve_link(BEST) is None
            best = newest if dangling else best
        for name, path in ((LAST, newest), (BEST, best)):
            if path.is_dir() and self.resolve_link(name) != path:
                durable.set_symlink(self.directory / name, path.name, self.ops)

    def forget_missing_best(self, progress: Progress) -> None:
        """Reset the best score if its checkpoint is missing: pruned for a better one that is damaged now."""
        if progress.best_score is not None and not (self.directory / f"step_{progress.best_step:09d}").is_dir():
            progress.best_score, progress.best_step = None, 0

    def set_aside(self, path: Path) -> None:
        """Rename a damaged checkpoint, so that its step can be saved again."""
        candidates = (path.with_name(f"{path.name}.damaged{n or ''}") for n in itertools.count())
        path.rename(next(candidate for candidate in candidates if not candidate.exists()))

    def _add_validation(self, path: Path, progress: Progress) -> None:
        """Add the validation scores to a saved step: a new state file, valid once the manifest lists it."""
        manifest, content = read_manifest(path), serialize_json(progress.to_json())
        durable.write_bytes(path / VALIDATED, content, self.ops)
        manifest["files"][VALIDATED] = file_record(content)
        durable.write_bytes(path / MANIFEST, serialize_json(manifest), self.ops)

    def _prune(self, keep_last: int) -> None:
        retained = {*self.checkpoint_paths()[-keep_last:], self.resolve_link(BEST), self.resolve_link(LAST)}
        for path in self.checkpoint_paths():
            if path not in retained:
                remove_checkpoint(path)


def remove_checkpoint(path: Path) -> None:
    """Delete the files that the manifest lists, and the directory unless it contains other files."""
    with contextlib.suppress(OSError, CheckpointError):
        for name in [*read_manifest(path)["files"], MANIFEST]:
            (path / name).unlink(missing_ok=True)
        durable.remove_temporary_files(path)
        path.rmdir()


def write_checkpoint(
    path: Path, files: Mapping[str, bytes], identity: Mapping[str, str], ops: FileOps = OPS
) -> None:
    """Write these files and their manifest as a new directory, atomically. Raises: DiskError."""
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


def load_training(path: Path, state: TrainState) -> None:
    """Restore a verified checkpoint into `state`. Raises: CheckpointError if it does not fit the model."""
    model = load_tensors(path / MODEL, dict(state.model.named_parameters()))
    optimizer = read_tensors(path / OPTIMIZER)
    try:
        state.restore(model, optimizer, Progress.from_json(read_state(path)))
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit this run: {error}") from None


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the weights of a verified checkpoint into `model`. Raises: CheckpointError."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in load_tensors(path / MODEL, parameters).items():
            parameters[name].copy_(tensor)


def load_tensors(file: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Load tensors whose names, shapes and dtypes must equal those of `like`; the header is checked first.

    Raises:
        CheckpointError: the file is damaged or belongs to a different model.
    """
    actual = _read_header(file)
    expected = {name: (DTYPES[t.dtype], *t.shape) for name, t in like.items()}
    if actual != expected:
        name = min(name for name, _ in set(actual.items()) ^ set(expected.items()))
        raise CheckpointError(
            f"{file}: does not match the model: {name} is {_describe(actual.get(name))} in the file, "
            f"{_describe(expected.get(name))} in the model"
        )
    return read_tensors(file)


def _describe(header: tuple[object, ...] | None) -> str:
    return "absent" if header is None else f"{header[0]} {list(header[1:])}"


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file. Raises: CheckpointError."""
    try:
        return safetensors.torch.load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None


def _read_header(file: Path) -> dict[str, tuple[object, ...]]:
    """(dtype, *shape) of each tensor of a safetensors file. Raises: CheckpointError."""
    try:
        with safetensors.safe_open(file, framework="pt") as tensors:
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            return {name: (part.get_dtype(), *part.get_shape()) for name, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None


def serialize_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Serialize tensors in the safetensors format."""
    return safetensors.torch.save({name: t.contiguous().cpu() for name, t in tensors.items()})
