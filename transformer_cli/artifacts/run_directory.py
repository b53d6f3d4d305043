"""The run directory: where things lie in it, who may write to it, and what may change between two starts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transformer_cli import durable
from transformer_cli.config import dump_config, flatten_config, load_config
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.errors import CheckpointError, ConfigError, DiskError
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import MANIFEST

CHANGEABLE_KEYS = (
    "training.max_steps",
    "training.max_minutes",
    "training.validate_every",
    "training.save_every",
    "training.keep_last",
    "training.patience",
    "training.log_every",
    "training.compile",
    "decoding.",
)
"""Keys that a resumed run may set anew; every other one would make it another run."""

ARCHITECTURE_KEYS = {
    "rnn": ("cell", "rnn_attention", "input_feeding"),
    "tcn": ("kernel_size",),
    "gat": ("window", "graph_attention"),
}
"""Keys under `model` that only this architecture reads."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def is_bundle(self) -> bool:
        """Whether this is a directory that `export --to bundle` wrote: no run, though it has a configuration."""
        return self.config.is_file() and (self.path / MANIFEST).is_file()

    @property
    def exists(self) -> bool:
        return self.config.is_file() and not self.is_bundle

    def tokenizer_paths(self, *, joint: bool) -> tuple[Path, Path]:
        """(source, target); one file for both when the vocabulary is joint."""
        if joint:
            return self.path / "tokenizer.model", self.path / "tokenizer.model"
        return self.path / "tokenizer.src.model", self.path / "tokenizer.tgt.model"

    def load_config(self) -> Config:
        """Raises: CheckpointError if this is no run directory; ConfigError if its config is damaged."""
        if not self.exists:
            what = "is not a run directory (no config.yaml)" if self.path.exists() else "no such run directory"
            what = "is a bundle, not a run directory" if self.is_bundle else what
            above = RunDirectory(self.path.parent.parent)
            hint = "a run is made by: transformer-cli train ... --run DIR"
            if self.path.parent.name == "checkpoints" and above.exists:
                hint = f"give the run and name the checkpoint: {above.path} --checkpoint {self.path.name}"
            raise CheckpointError(f"{self.path}: {what}", hint=hint)
        return load_config(self.config)

    def require_run_or_empty(self) -> None:
        """Raises: CheckpointError if something that is not a run is in the way; nothing is touched."""
        if self.path.is_symlink() and not self.path.exists():
            raise CheckpointError(f"{self.path}: is a dangling link")
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.path}: is a file, not a run directory", hint="choose another --run")
        if self.path.is_dir() and not self.exists and any(self._entries()):
            raise CheckpointError(
                f"{self.path}: holds files but no run{'' if self.is_bundle else ' (no config.yaml)'}; "
                "nothing in it was touched",
                hint="choose another --run",
            )

    def require_same_config(self, config: Config) -> None:
        """Raises: ConfigError naming the keys that differ from the run's and may not."""
        old, new = flatten_config(self.load_config()), flatten_config(config)
        changed = [k for k in new if old.get(k) != new[k] and not k.startswith(CHANGEABLE_KEYS)]
        if changed:
            lines = "\n  ".join(f"{key}: {old.get(key)!r} there, {new[key]!r} now" for key in changed)
            raise ConfigError(
                f"{self.path} was started with another configuration:\n  {lines}",
                hint="give the same values to resume it, or choose another --run",
            )

    def write_config(self, config: Config) -> None:
        durable.write_text(self.config, dump_config(config))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory alone. The lock ends with the process, however it ends.

        Raises:
            CheckpointError: another process trains in it.
        """
        durable.make_directory(self.path)
        try:
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DiskError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise CheckpointError(f"{self.path}: another training is running in this directory") from None
        try:
            for directory in (self.path, self.data, self.checkpoints, self.samples):
                durable.remove_temporary_files(directory)
            yield
        finally:
            os.close(descriptor)

    def _entries(self) -> Iterator[Path]:
        ours = (".lock", durable.TEMPORARY)
        return (p for p in self.path.iterdir() if not (p.name.startswith(".") and p.name.endswith(ours)))


@dataclass(frozen=True)
class Vocabularies:
    """Tokenizers of source and target; the same object when the vocabulary is joint."""

    src: Tokenizer
    tgt: Tokenizer

    @property
    def hash(self) -> str:
        return self.src.hash if self.src is self.tgt else f"{self.src.hash}+{self.tgt.hash}"

    @staticmethod
    def load(run: RunDirectory, *, joint: bool) -> Vocabularies:
        """Raises: CheckpointError."""
        src, tgt = run.tokenizer_paths(joint=joint)
        first = Tokenizer.load(src)
        return Vocabularies(first, first if joint else Tokenizer.load(tgt))

    def save(self, run: RunDirectory) -> None:
        joint = self.src is self.tgt
        for path, tokenizer in zip(run.tokenizer_paths(joint=joint), (self.src, self.tgt), strict=True):
            durable.write_bytes(path, tokenizer.model)


def hash_architecture(config: Config) -> str:
    """Name of the architecture: hash of everything under `model` but the keys of other architectures."""
    used = (config.model.encoder, config.model.decoder)
    foreign = {key for kind, keys in ARCHITECTURE_KEYS.items() if kind not in used for key in keys}
    return durable.sha256(repr(sorted(config.model.model_dump(exclude=foreign).items())).encode())


def hash_text(*sides: list[str]) -> str:
    """Name of a text: hash of its lines."""
    digest = hashlib.sha256()
    for side in sides:
        for line in side:
            digest.update(line.encode("utf-8", errors="replace") + b"\n")
        digest.update(b"\0")
    return digest.hexdigest()
