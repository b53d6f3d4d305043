"""A CTranslate2 export as a model by itself, without the run that it was made from. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.config import validate_config
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.decoding.request import TranslationRequest, resolve_options
from transformer_cli.deployment.ctranslate2_engine import (
    CTranslate2Model,
    CTranslate2Translator,
    unsupported_options,
)
from transformer_cli.deployment.engines import MAX_NOTES_BYTES, NOTES, read_export
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.schema import Config
from transformer_cli.untrusted import read_bounded

STORED = "default"
"""CTranslate2's compute type that computes with the weights as they are stored."""


def is_export(path: Path) -> bool:
    """Whether a path is the directory of a CTranslate2 export of this program."""
    return (path / NOTES).exists()


@dataclass(frozen=True)
class ExportSource:
    """What is known of the exported model."""

    config: Config
    vocabularies: Vocabularies
    checkpoint: Path


class ExportedModel:
    """A verified export in memory, with the methods of `engines.Model` that translate."""

    def __init__(self, directory: Path) -> None:
        """Raises: CheckpointError: damaged, or not written by this version's `export`."""
        self._files = read_export(directory)
        if self._files is None:
            raise CheckpointError(f"{directory}: a file is missing, or does not match its SHA-256 in {NOTES}")
        try:
            notes = json.loads(read_bounded(directory / NOTES, MAX_NOTES_BYTES))
            config = validate_config(notes["config"], f"{directory / NOTES}: config")
            names = [str(notes["tokenizer"][side]) for side in ("source", "target")]
            tokenizers = {name: Tokenizer(self._files[name], str(directory / name)) for name in names}
            checkpoint = directory / str(notes["checkpoint"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError):
            raise CheckpointError(
                f"{directory / NOTES}: does not have all that is needed to translate with the export alone",
                hint="export the model again: transformer-cli export RUN DIR --to ctranslate2",
            ) from None
        vocabularies = Vocabularies(*(tokenizers[name] for name in names))
        self.source = ExportSource(config, vocabularies, checkpoint)
        self._models: dict[int, CTranslate2Model] = {}

    def translator(
        self, overrides: Mapping[str, Any], request: TranslationRequest
    ) -> tuple[str, CTranslate2Translator]:
        """As `engines.Model.translator`. Raises: ConfigError: options that CTranslate2 does not support."""
        if overrides.get("engine") == "torch" or overrides.get("precision"):
            raise ConfigError(
                "a CTranslate2 export has one engine and one precision", hint="serve the run instead"
            )
        own = {"engine": "ctranslate2", "precision": "fp32"}
        options = resolve_options(self.source.config.decoding, {**overrides, **own}, request)
        if unsupported := unsupported_options(options, request):
            raise ConfigError(f"a CTranslate2 export does not support {', '.join(unsupported)}")
        if options.threads not in self._models:
            assert self._files is not None
            vocabularies = self.source.vocabularies
            self._models[options.threads] = CTranslate2Model(self._files, vocabularies, STORED, options.threads)
        model = self._models[options.threads]
        return "ctranslate2", CTranslate2Translator(
            model, self.source.vocabularies, self.source.config, options, request
        )
