"""Sources of trained models: the protocol, and its implementation for run directories (for bundles: `bundle`).

torch is imported only when weights are loaded: an engine that needs no torch opens a run without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, hash_architecture
from transformer_cli.errors import CheckpointError, DiskError
from transformer_cli.manifest import MODEL, check_identity, read_state, verify_checkpoint
from transformer_cli.schema import Config
from transformer_cli.untrusted import read_bounded

if TYPE_CHECKING:
    from torch import nn

    from transformer_cli.data.lexicon import Lexicon

METRICS = ("step", "best_step", "best_score", "average_of")
"""Keys of a checkpoint's state that describe its quality."""


class ModelSource(Protocol):
    """A stored model: all hashes are verified, no module is built yet."""

    @property
    def config(self) -> Config: ...

    @property
    def vocabularies(self) -> Vocabularies: ...

    @property
    def checkpoint(self) -> Path:
        """Path of the weights' checkpoint; its last component is the checkpoint's name."""
        ...

    @property
    def evaluation(self) -> Path:
        """Directory for translations of test sets."""
        ...

    @property
    def engines(self) -> Path:
        """Directory for exports of the model for other inference engines."""
        ...

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the file of weights."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """Hashes of the tokenizer, the architecture and the texts that the model was trained with."""
        ...

    def metrics(self) -> dict[str, Any]:
        """Step and validation score. Raises: CheckpointError."""
        ...

    def weights(self) -> bytes:
        """The content of a safetensors file."""
        ...

    def load_into(self, model: nn.Module) -> None:
        """Copy the weights into a model of this configuration. Raises: CheckpointError if they do not match."""
        ...

    def validation_lines(self) -> list[str]:
        """Source side of the validation text; empty if it is not stored. Raises: CheckpointError."""
        ...

    def validation_pairs(self) -> tuple[list[str], list[str]]:
        """Both sides of the validation text; empty if it is not stored. Raises: CheckpointError."""
        ...

    def lexicon(self, size: int) -> Lexicon | None:
        """The `size` likeliest target tokens of each source token; None if the training text is not stored."""
        ...


@dataclass(frozen=True)
class RunSource:
    """A checkpoint of a run directory."""

    run: RunDirectory
    checkpoint: Path
    config: Config
    vocabularies: Vocabularies
    identity: Mapping[str, str]
    weights_hash: str

    @staticmethod
    def open(path: Path, checkpoint: str) -> RunSource:
        """Open and verify a checkpoint.

        Raises:
            CheckpointError: no run, no such checkpoint, damaged files, another tokenizer or model.
        """
        run = RunDirectory(path)
        config = run.load_config()
        run.require_own_directories()
        directory = run.checkpoints / checkpoint
        if Path(checkpoint).name != checkpoint or not directory.is_dir():
            available = sorted(p.name for p in run.checkpoints.glob("*")) if run.checkpoints.is_dir() else []
            raise CheckpointError(
                f"{path}: no checkpoint '{checkpoint}'",
                hint=f"available: {', '.join(available)}"
                if available
                else "train it first: transformer-cli train",
            )
        directory = directory.resolve()
        if directory.parent != run.checkpoints.resolve():
            raise CheckpointError(f"{path}: checkpoint '{checkpoint}' is a link to a place outside of the run")
        manifest = verify_checkpoint(directory)
        vocabularies = Vocabularies.load(run, joint=config.tokenizer.joint)
        check_identity(directory, manifest, {"tokenizer": vocabularies.hash, "model": hash_architecture(config)})
        return RunSource(
            run, directory, config, vocabularies, manifest["identity"], manifest["files"][MODEL]["sha256"]
        )

    @property
    def evaluation(self) -> Path:
        return self.run.evaluation

    @property
    def engines(self) -> Path:
        return self.run.engines

    def metrics(self) -> dict[str, Any]:
        state = read_state(self.checkpoint)
        return {key: state[key] for key in METRICS if key in state}

    def weights(self) -> bytes:
        return (self.checkpoint / MODEL).read_bytes()

    def load_into(self, model: nn.Module) -> None:
        from transformer_cli.training.checkpoint import load_weights

        load_weights(self.checkpoint, model)

    def validation_lines(self) -> list[str]:
        return self.validation_pairs()[0]

    def validation_pairs(self) -> tuple[list[str], list[str]]:
        from transformer_cli.data.store import load_corpus

        corpus = load_corpus(self.run.data, "valid", None)
        if corpus is None:
            return [], []
        rows, (src, tgt) = range(len(corpus)), (self.vocabularies.src, self.vocabularies.tgt)
        return src.decode([corpus.src[i] for i in rows]), tgt.decode([corpus.tgt[i] for i in rows])

    def lexicon(self, size: int) -> Lexicon | None:
        """Build the lexicon on first use and cache it next to the encoded corpus. Raises: CheckpointError."""
        from transformer_cli.data.lexicon import build_lexicon, load_lexicon, save_lexicon
        from transformer_cli.data.store import MAX_INDEX_BYTES, index_path, load_corpus

        index = index_path(self.run.data, "train")
        try:
            content = read_bounded(index, MAX_INDEX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"{index}: cannot be read: {error.strerror}") from None
        v, joint = self.vocabularies, self.config.tokenizer.joint
        key = f"{durable.sha256(content)} {size}"
        if (cached := load_lexicon(self.run.data, key, joint=joint, tgt_vocab=v.tgt.vocab_size)) is not None:
            return cached
        corpus = load_corpus(self.run.data, "train", None)
        if corpus is None:
            return None
        lexicon = build_lexicon(corpus, v.src.vocab_size, v.tgt.vocab_size, size, joint=joint)
        with contextlib.suppress(DiskError):  # without the cache the next start builds it again
            save_lexicon(lexicon, self.run.data, key)
        return lexicon


def open_model_source(path: Path, checkpoint: str) -> ModelSource:
    """Open and verify a run directory or a bundle. Raises: CheckpointError."""
    if path.is_file() or RunDirectory(path).is_bundle:
        from transformer_cli.artifacts.bundle import BundleSource

        return BundleSource.open(path, checkpoint)
    return RunSource.open(path, checkpoint)
