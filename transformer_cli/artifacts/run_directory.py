"""The run directory: its layout, its lock, and the configuration keys that a resumed run may change."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transformer_cli import durable
from transformer_cli.config import MAX_CONFIG_BYTES, dump_config, flatten_config, parse_config
from transformer_cli.data.line_file import chunks
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.locking import file_lock
from transformer_cli.manifest import MANIFEST
from transformer_cli.schema import Config
from transformer_cli.token_ids import TokenIds
from transformer_cli.untrusted import read_bounded

CHANGEABLE_KEYS = (
    "training.languages",
    "training.max_steps",
    "training.max_minutes",
    "training.validate_every",
    "training.save_every",
    "training.keep_last",
    "training.patience",
    "training.log_every",
    "training.compile",
    "training.tune_length_penalty",
    "decoding.",
)
"""Key prefixes that may change when a run is resumed; all other keys define the run."""

ARCHITECTURE_KEYS = {
    "rnn": ("cell", "rnn_attention", "input_feeding"),
    "tcn": ("kernel_size",),
    "gat": ("window", "graph_attention"),
}
"""Architecture -> the keys under `model` that only it reads."""


@dataclass(frozen=True)
class RunDirectory:
    """A run directory: paths, configuration and lock."""

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
    def engines(self) -> Path:
        """Exports of the run's models for other inference engines."""
        return self.path / "engines"

    @property
    def is_bundle(self) -> bool:
        """Whether `export --to bundle` wrote this directory; it has a configuration but is not a run."""
        return self.config.is_file() and (self.path / MANIFEST).is_file()

    @property
    def exists(self) -> bool:
        return self.config.is_file() and not self.is_bundle

    def tokenizer_paths(self, *, joint: bool) -> tuple[Path, Path]:
        """(source, target); the same file for both if the vocabulary is joint."""
        if joint:
            return self.path / "tokenizer.model", self.path / "tokenizer.model"
        return self.path / "tokenizer.src.model", self.path / "tokenizer.tgt.model"

    def load_config(self) -> Config:
        """Read the configuration.

        Raises:
            CheckpointError: not a run directory.
            ConfigError: its configuration is damaged.
        """
        if not self.exists:
            what = "is not a run directory (no config.yaml)" if self.path.exists() else "no such run directory"
            what = "is a bundle, not a run directory" if self.is_bundle else what
            enclosing = RunDirectory(self.path.parent.parent)
            hint = "create a run with: transformer-cli train ... --run DIR"
            if self.path.parent.name == "checkpoints" and enclosing.exists:
                hint = f"give the run and the checkpoint: {enclosing.path} --checkpoint {self.path.name}"
            raise CheckpointError(f"{self.path}: {what}", hint=hint)
        try:
            text = read_bounded(self.config, MAX_CONFIG_BYTES).decode("utf-8", errors="replace")
        except OSError as error:
            raise CheckpointError(f"{self.config}: cannot be read: {error.strerror}") from None
        return parse_config(text, str(self.config))

    def require_own_directories(self) -> None:
        """Raises: CheckpointError if a directory of the run is a link, so that files elsewhere would change."""
        for directory in (self.data, self.checkpoints, self.samples, self.evaluation, self.engines):
            if directory.is_symlink():
                raise CheckpointError(
                    f"{directory}: is a link; a run directory contains its own files",
                    hint="to store a run elsewhere, link the whole run directory",
                )

    def require_run_or_empty(self) -> None:
        """Raises: CheckpointError if the path has anything other than a run; it is not modified."""
        if self.path.is_symlink() and not self.path.exists():
            raise CheckpointError(f"{self.path}: is a dangling symlink")
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{self.path}: is a file, not a run directory", hint="choose another --run")
        if self.path.is_dir() and not self.exists and any(self._entries()):
            raise CheckpointError(
                f"{self.path}: holds files but no run{'' if self.is_bundle else ' (no config.yaml)'}; "
                "nothing in it was changed",
                hint="choose another --run",
            )

    def require_same_config(self, config: Config) -> None:
        """Raises: ConfigError if keys that define the run differ (see `CHANGEABLE_KEYS`)."""
        old, new = flatten_config(self.load_config()), flatten_config(config)
        changed = [k for k in new if old.get(k) != new[k] and not k.startswith(CHANGEABLE_KEYS)]
        if changed:
            lines = "\n  ".join(f"{key}: {old.get(key)!r} in the run, {new[key]!r} given" for key in changed)
            raise ConfigError(
                f"{self.path} was started with another configuration:\n  {lines}",
                hint="use the same values to resume it, or choose another --run",
            )

    def write_config(self, config: Config) -> None:
        durable.write_text(self.config, dump_config(config))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold an exclusive lock on the directory. The system releases it when the process ends or is killed.

        Raises:
            CheckpointError: another process holds the lock.
            DiskError: the directory is not writable.
        """
        durable.make_directory(self.path)
        self.require_own_directories()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self.path / ".lock", wait=False))
            except BlockingIOError:
                raise CheckpointError(
                    f"{self.path}: locked by another transformer-cli process (train or average)",
                    hint="wait until it ends, or choose another run directory",
                ) from None
            for directory in (self.path, self.data, self.checkpoints, self.samples):
                durable.remove_temporary_files(directory)
            yield

    def _entries(self) -> Iterator[Path]:
        """Directory entries, without the lock and temporary files."""
        ignored = (".lock", durable.TEMPORARY)
        return (p for p in self.path.iterdir() if not (p.name.startswith(".") and p.name.endswith(ignored)))


@dataclass(frozen=True)
class Vocabularies:
    """Tokenizers of source and target; the same object if the vocabulary is joint."""

    src: Tokenizer
    tgt: Tokenizer

    @property
    def hash(self) -> str:
        return self.src.hash if self.src is self.tgt else f"{self.src.hash}+{self.tgt.hash}"

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of source tokens, target tokens, and of tags among the latter."""
        return self.src.vocab_size, self.tgt.vocab_size, len(self.tgt.tags)

    def tag(self, language: str) -> TokenIds:
        """The token before a source that asks for a translation into this language; empty if the model needs none.

        Raises:
            ConfigError: the model has several target languages, and this is none of them; see `choose_target`.
        """
        if self.src.tags and language not in self.src.tags:
            raise ConfigError(
                f"the target language {language!r} is none of the vocabulary's: {', '.join(self.src.tags)}"
                if language
                else f"the vocabulary has several target languages: {', '.join(self.src.tags)}",
                hint="name the languages of each corpus: --corpus en-de=train.en,train.de",
            )
        return np.array([self.src.tags[language]] if self.src.tags else [], dtype=np.int64)

    @staticmethod
    def load(run: RunDirectory, *, joint: bool) -> Vocabularies:
        """Raises: CheckpointError."""
        src, tgt = run.tokenizer_paths(joint=joint)
        first = Tokenizer.load(src, follow_links=False)
        return Vocabularies(first, first if joint else Tokenizer.load(tgt, follow_links=False))

    def save(self, run: RunDirectory) -> None:
        joint = self.src is self.tgt
        for path, tokenizer in zip(run.tokenizer_paths(joint=joint), (self.src, self.tgt), strict=True):
            durable.write_bytes(path, tokenizer.model)


def architecture_keys(config: Config) -> dict[str, Any]:
    """The keys under `model` and their values, without those that only other architectures read."""
    architectures = (config.model.encoder, config.model.decoder)
    unused = {key for kind, keys in ARCHITECTURE_KEYS.items() if kind not in architectures for key in keys}
    return config.model.model_dump(exclude=unused)


def hash_architecture(config: Config) -> str:
    """Hash of `architecture_keys`."""
    return durable.sha256(repr(sorted(architecture_keys(config).items())).encode())


def hash_text(*sides: Sequence[str]) -> str:
    """SHA-256 of the lines of a text."""
    digest = hashlib.sha256()
    for side in sides:
        for (lines,) in chunks(side):
            digest.update(("\n".join(lines) + "\n").encode("utf-8", errors="replace"))
        digest.update(b"\0")
    return digest.hexdigest()
