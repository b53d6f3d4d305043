"""Where a model lies, and what it takes to read it: a run directory here, a bundle in `bundle`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, hash_architecture
from transformer_cli.data.lexicon import Lexicon, build_lexicon, load_lexicon, save_lexicon
from transformer_cli.data.store import index_path, load_corpus
from transformer_cli.errors import CheckpointError, DiskError
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import MODEL, check_identity, load_weights, read_state, verify_checkpoint

METRICS = ("step", "best_step", "best_score", "average_of")
"""What a checkpoint's state says of its quality."""


class ModelSource(Protocol):
    """A model as it is kept: every hash verified, nothing built yet."""

    @property
    def config(self) -> Config: ...

    @property
    def vocabularies(self) -> Vocabularies: ...

    @property
    def checkpoint(self) -> Path:
        """Where the weights are from; its last part is the checkpoint's name."""
        ...

    @property
    def evaluation(self) -> Path:
        """Where translations of test sets go."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """Hashes of what the model was made from."""
        ...

    def metrics(self) -> dict[str, Any]:
        """Step and score. Raises: CheckpointError."""
        ...

    def weights(self) -> bytes:
        """The content of a safetensors file."""
        ...

    def load_into(self, model: nn.Module) -> None:
        """Give a model of this configuration its weights. Raises: CheckpointError if they do not fit."""
        ...

    def validation_lines(self) -> list[str]:
        """Source text that the model was validated on; empty where it is not kept. Raises: CheckpointError."""
        ...

    def lexicon(self, size: int) -> Lexicon | None:
        """`size` target pieces for each source piece; None where the training text is not kept."""
        ...


@dataclass(frozen=True)
class RunSource:
    """A checkpoint of a run directory."""

    run: RunDirectory
    checkpoint: Path
    config: Config
    vocabularies: Vocabularies
    identity: Mapping[str, str]

    @staticmethod
    def open(path: Path, checkpoint: str) -> RunSource:
        """Raises: CheckpointError: no run, no such checkpoint, damaged files, another tokenizer or model."""
        run = RunDirectory(path)
        config = run.load_config()
        chosen = run.checkpoints / checkpoint
        if Path(checkpoint).name != checkpoint or not chosen.is_dir():
            known = sorted(p.name for p in run.checkpoints.glob("*")) if run.checkpoints.is_dir() else []
            raise CheckpointError(
                f"{path}: no checkpoint '{checkpoint}'",
                hint=f"there are: {', '.join(known)}" if known else "train it first: transformer-cli train",
            )
        chosen = chosen.resolve()
        manifest = verify_checkpoint(chosen)
        vocabularies = Vocabularies.load(run, joint=config.tokenizer.joint)
        check_identity(chosen, manifest, {"tokenizer": vocabularies.hash, "model": hash_architecture(config)})
        return RunSource(run, chosen, config, vocabularies, manifest["identity"])

    @property
    def evaluation(self) -> Path:
        return self.run.evaluation

    def metrics(self) -> dict[str, Any]:
        state = read_state(self.checkpoint)
        return {key: state[key] for key in METRICS if key in state}

    def weights(self) -> bytes:
        return (self.checkpoint / MODEL).read_bytes()

    def load_into(self, model: nn.Module) -> None:
        load_weights(self.checkpoint, model)

    def validation_lines(self) -> list[str]:
        corpus = load_corpus(self.run.data, "valid", None)
        if corpus is None:
            return []
        return self.vocabularies.src.decode([corpus.src[i] for i in range(len(corpus))])

    def lexicon(self, size: int) -> Lexicon | None:
        """Counted the first time, then kept beside the encoded corpus. Raises: CheckpointError."""
        index = index_path(self.run.data, "train")
        if not index.is_file():
            return None
        v, joint = self.vocabularies, self.config.tokenizer.joint
        key = f"{durable.sha256_file(index)} {size}"
        if (kept := load_lexicon(self.run.data, key, joint=joint, tgt_vocab=v.tgt.vocab_size)) is not None:
            return kept
        corpus = load_corpus(self.run.data, "train", None)
        if corpus is None:
            return None
        lexicon = build_lexicon(corpus, v.src.vocab_size, v.tgt.vocab_size, size, joint=joint)
        with contextlib.suppress(DiskError):  # without it the next start counts again
            save_lexicon(lexicon, self.run.data, key)
        return lexicon
