"""From a run directory to a translator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from transformer_cli.config import Config, DecodingConfig, validate_config
from transformer_cli.decoding.translator import Translator
from transformer_cli.errors import CheckpointError
from transformer_cli.experiment.rundir import RunDirectory, Vocabularies, model_hash
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.training.checkpoint import check_identity, load_weights, verify


@dataclass(frozen=True)
class LoadedRun:
    """A run ready to translate."""

    config: Config
    vocabularies: Vocabularies
    model: Seq2Seq
    checkpoint: Path

    def translator(self, overrides: Mapping[str, Any] | None = None) -> Translator:
        """A translator with the run's decoding options, some of them replaced."""
        given = {k: v for k, v in (overrides or {}).items() if v is not None}
        values = {**self.config.decoding.model_dump(), **given}
        options = validate_config({"decoding": values}, "decoding options").decoding
        return make_translator(self.config, self.model, self.vocabularies, options)


def make_translator(
    config: Config, model: Seq2Seq, vocabularies: Vocabularies, options: DecodingConfig
) -> Translator:
    """The translator of a model that `config` describes."""
    learned = config.model.positions == "learned"
    return Translator(
        model,
        vocabularies.src,
        vocabularies.tgt,
        options,
        max_length=config.data.max_length,
        max_target=config.model.max_positions if learned else None,
    )


def load_run(path: Path, device: torch.device, checkpoint: str = "best") -> LoadedRun:
    """Load a checkpoint of a run: `best`, `last`, `average` or a step's name. Every hash is verified first.

    Raises:
        CheckpointError: no run, no such checkpoint, damaged files, another tokenizer or model.
    """
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
    manifest = verify(chosen)
    vocabularies = Vocabularies.load(run, joint=config.tokenizer.joint)
    check_identity(chosen, manifest, {"tokenizer": vocabularies.hash, "model": model_hash(config)})
    model = build_model(config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size)
    load_weights(chosen, model)
    return LoadedRun(config, vocabularies, model.to(device).eval(), chosen)
