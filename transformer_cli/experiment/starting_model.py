"""Start a run from the weights of another one: fine-tuning, and adaptation to new text.

The new run has its own directory, a new optimizer, and a learning rate and number of epochs for a model that
has been trained already. Its vocabulary is that of the other run; with a vocabulary of its own, the embeddings
of the tokens that both have are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer_cli import durable
from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, architecture_keys
from transformer_cli.data.text import Notify
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.errors import ConfigError
from transformer_cli.experiment.preparation import has_checkpoints
from transformer_cli.experiment.recipe import Recipe, choose_fine_tuning
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import Config
from transformer_cli.token_ids import EOS
from transformer_cli.untrusted import read_json_object

FREE_KEYS = ("preset", "dropout", "attention")
"""Keys under `model` that may differ from the other run: they do not change what a weight means."""
VOCABULARY_WEIGHTS = ("src_embedding.weight", "tgt_embedding.weight", "output.weight")
"""Weights with a row for each token; the first one for those of the source."""
MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class StartingModel:
    """A trained model whose weights a new run starts from.

    Attributes:
        path: the run directory or bundle, as given.
        loaded: its best model, on the CPU.
    """

    path: Path
    loaded: LoadedModel

    @staticmethod
    def load(path: Path) -> StartingModel:
        """Raises: CheckpointError, as `load_model`."""
        return StartingModel(path, load_model(path, torch.device("cpu")))

    @property
    def vocabularies(self) -> Vocabularies:
        return self.loaded.vocabularies

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """The configuration of the model, by section; the corpora and their shares are not part of it."""
        values: dict[str, dict[str, Any]] = self.loaded.config.model_dump()
        for key in ("mixing", "corpora", "valid_corpora"):
            del values["data"][key]
        return values

    def recipe(self, words: int, characters: int, ranks: int) -> Recipe:
        """The configuration for a corpus whose target has this size; see `choose_fine_tuning`."""
        return choose_fine_tuning(self.values, words, characters, ranks=ranks)

    def require_same_architecture(self, config: Config) -> None:
        """Raises: ConfigError if a weight would have another meaning in a model with this configuration."""
        other = self.loaded.config
        own, theirs = (architecture_keys(c) for c in (config, other))
        differing = [
            f"model.{key} {theirs.get(key)!r} in {self.path}, {value!r} here"
            for key, value in own.items()
            if key not in FREE_KEYS and theirs.get(key) != value
        ]
        if config.tokenizer.joint != other.tokenizer.joint:
            differing.append(
                f"tokenizer.joint {other.tokenizer.joint} in {self.path}, {config.tokenizer.joint} here"
            )
        if differing:
            raise ConfigError(
                f"--from {self.path}: the model has another architecture: {'; '.join(differing)}",
                hint="omit these keys and the configuration file: the run takes them from that model",
            )

    @torch.no_grad()
    def copy_weights(self, model: Seq2Seq, vocabularies: Vocabularies, notify: Notify) -> None:
        """Copy the weights to `model`, whose vocabulary may be another one; see `matching_tokens`."""
        source = self.loaded.model.state_dict()
        same_vocabulary = vocabularies.hash == self.vocabularies.hash
        rows: dict[str, tuple[Tensor, Tensor]] = {}
        if not same_vocabulary:
            for name, side in zip(VOCABULARY_WEIGHTS, ("src", "tgt", "tgt"), strict=True):
                rows[name] = matching_tokens(getattr(vocabularies, side), getattr(self.vocabularies, side))
        for name, tensor in model.state_dict().items():  # shares memory with the parameters
            if name in rows:
                new, old = rows[name]
                tensor[new.to(tensor.device)] = source[name][old].to(tensor.device)
            else:
                tensor.copy_(source[name])
        notify(f"starting from {self.path} ({self.loaded.checkpoint.name})")
        if not same_vocabulary:
            kept = len(rows["tgt_embedding.weight"][0])
            notify(
                f"another vocabulary: {kept:,} of {vocabularies.tgt.vocab_size:,} target tokens keep their "
                "embedding, the others start at random"
            )

    def record(self, run: RunDirectory) -> None:
        """Record the weights in the run directory.

        Raises:
            ConfigError: the run was started from other weights.
        """
        record = {
            "from": str(self.path),
            "checkpoint": self.loaded.checkpoint.name,
            "weights": hash_weights(self.loaded.model),
        }
        previous = read_record(run)
        if previous and previous["weights"] != record["weights"]:
            raise ConfigError(
                f"{run.path}: was started from {previous['from']} ({previous['checkpoint']}), "
                f"not from {self.path}",
                hint="omit --from to resume, or choose another --run",
            )
        durable.write_json(_record_file(run), record)


def open_starting_model(path: Path | None, run: RunDirectory) -> StartingModel | None:
    """The model that a run starts from; None if `path` is.

    Raises:
        CheckpointError: as `load_model`.
        ConfigError: the model is that of the run itself, or a run without checkpoints was begun with --from, which
            is missing now.
    """
    if path is not None:
        if path.resolve() == run.path.resolve():
            raise ConfigError(
                f"--from {path}: is the run itself", hint="omit --from to resume it, or choose another --run"
            )
        return StartingModel.load(path)
    record = {} if has_checkpoints(run) else read_record(run)
    if record:
        raise ConfigError(
            f"{run.path}: was begun with --from {record['from']} and has no checkpoint yet",
            hint=f"give --from {record['from']} again, or choose another --run",
        )
    return None


def read_record(run: RunDirectory) -> dict[str, Any]:
    """What `StartingModel.record` wrote; empty if the run starts from random weights."""
    record = read_json_object(_record_file(run), MAX_RECORD_BYTES)
    return record if {"from", "checkpoint", "weights"} <= record.keys() else {}


def matching_tokens(new: Tokenizer, old: Tokenizer) -> tuple[Tensor, Tensor]:
    """The ids of the tokens that both vocabularies have, in each of them: `[M]` int64 each."""
    old_ids = {token: i for i, token in enumerate(old.vocabulary)}
    pairs = [(i, i) for i in range(EOS + 1)]  # the special tokens
    pairs += [(i, old_ids[t]) for i, t in enumerate(new.vocabulary) if i > EOS and t in old_ids]
    ids = torch.tensor(pairs)
    return ids[:, 0], ids[:, 1]


def hash_weights(model: Seq2Seq) -> str:
    """SHA-256 of the weights."""
    weights = {name: tensor.contiguous().numpy() for name, tensor in model.state_dict().items()}
    return durable.sha256(b"".join(name.encode() + weights[name].tobytes() for name in sorted(weights)))


def _record_file(run: RunDirectory) -> Path:
    return run.path / "starting_model.json"
