"""Engines: the programs that search. Opens a model with torch or with CTranslate2.

An engine imports its library when it is chosen, so that CTranslate2 translates without torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from transformer_cli import __version__, durable
from transformer_cli.artifacts.model_source import ModelSource, open_model_source
from transformer_cli.artifacts.target_languages import choose_target
from transformer_cli.data.text import Notify
from transformer_cli.decoding.request import TranslationRequest, resolve_options
from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.ctranslate2_engine import (
    COMPUTE_TYPES,
    CTranslate2Model,
    CTranslate2Translator,
    unsupported_options,
)
from transformer_cli.deployment.ctranslate2_support import check_supported, import_ctranslate2
from transformer_cli.deployment.protection.alignment import SpanAlignment
from transformer_cli.errors import ConfigError, DataError, DiskError, UserError
from transformer_cli.locking import file_lock
from transformer_cli.schema import DecodingConfig
from transformer_cli.untrusted import read_bounded

if TYPE_CHECKING:
    from transformer_cli.artifacts.loading import LoadedModel

NOTES = "transformer_cli.json"
"""Metadata file of an export: decoding options, tokenizer files, hashes, result of the parity check."""
MAX_NOTES_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 34
"""Size limits of the files of an export that is loaded."""


class LineTranslator(Protocol):
    """What the engines have in common; see `decoding.translator.Translator`."""

    @property
    def options(self) -> DecodingConfig: ...

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = ...,
        *,
        prefixes: Sequence[str] = ...,
        first: int = ...,
    ) -> list[Translation]:
        """The translation of each line, in order."""
        ...


@dataclass(frozen=True)
class ModelRequest:
    """Which model to open, and how it will be used.

    Attributes:
        run: run directory or bundle.
        checkpoint: as in `artifacts.loading.load_model`.
        ensemble: further members, RUN or RUN@CHECKPOINT.
        device: as in `runtime.select_device`.
        overrides: decoding options that replace the run's.
        request: constraints and requested outputs.
        has_prefixes: whether translations get forced beginnings.
    """

    run: Path
    checkpoint: str = "best"
    ensemble: Sequence[str] = ()
    device: str = "auto"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    request: TranslationRequest = TranslationRequest()  # noqa: RUF009  (frozen)
    has_prefixes: bool = False


@dataclass(frozen=True)
class OpenModel:
    """A translator, and facts about its model: see `ModelSource`."""

    translator: LineTranslator
    engine: str
    checkpoint: Path
    evaluation: Path


def open_model(request: ModelRequest, notify: Notify) -> OpenModel:
    """Open a model with the engine that `decoding.engine` names.

    Raises:
        UserError: a model or options that cannot be used, also with the engine that was chosen.
    """
    model = Model(request.run, request.checkpoint, request.ensemble, request.device, notify)
    engine, translator = model.translator(request.overrides, request.request, has_prefixes=request.has_prefixes)
    return OpenModel(translator, engine, model.source.checkpoint, model.source.evaluation)


class Model:
    """A verified model. The weights are loaded when an engine needs them, and kept.

    Attributes:
        source: the stored model.
    """

    def __init__(self, run: Path, checkpoint: str, ensemble: Sequence[str], device: str, notify: Notify) -> None:
        """Arguments as in `ModelRequest`. Raises: CheckpointError."""
        self.run, self.ensemble, self.device, self.notify = run, ensemble, device, notify
        self.source = open_model_source(run, checkpoint)
        self._exported: dict[tuple[str, int], CTranslate2Model] = {}

    def translator(
        self, overrides: Mapping[str, Any], request: TranslationRequest, *, has_prefixes: bool = False
    ) -> tuple[str, LineTranslator]:
        """The engine that `decoding.engine` names, and a translator.

        Raises:
            UserError: options that cannot be used, also with the engine that was chosen.
        """
        options = resolve_options(self.source.config.decoding, overrides, request)
        request = replace(request, to=self._target(request))
        if options.confidence or options.min_confidence:
            return self._confident(overrides, request, options)
        if options.engine != "torch":
            try:
                return "ctranslate2", self._ctranslate2(options, request, has_prefixes)
            except UserError as error:
                if options.engine == "ctranslate2" or isinstance(error, DataError):
                    raise
                self.notify(f"note: decoding.engine auto: torch is used, because {error.what}")
        return "torch", torch_translator(self.loaded, overrides, request)

    def _target(self, request: TranslationRequest) -> str:
        """As `choose_target`. Raises: ConfigError."""
        return choose_target(self.source.config, self.source.vocabularies, request.to, self.run)

    def align(self, source: str, target: str, request: TranslationRequest = TranslationRequest()) -> SpanAlignment:  # noqa: B008  (frozen)
        """The alignment of a source and its translation, by the attention of the model, or of an ensemble's first.

        Neither may be longer than the model accepts. Raises: ConfigError: the model has no attention.
        """
        from transformer_cli.decoding.search.ensemble import Ensemble
        from transformer_cli.decoding.token_alignment import align_tokens

        model: Any = self.loaded.model
        model = model.models[0] if isinstance(model, Ensemble) else model
        vocabularies = self.loaded.vocabularies
        tag = vocabularies.tag(self._target(request))
        return align_tokens(model, vocabularies.src, vocabularies.tgt, source, target, tag)

    def _confident(
        self, overrides: Mapping[str, Any], request: TranslationRequest, options: DecodingConfig
    ) -> tuple[str, LineTranslator]:
        """Raises: ConfigError: an engine or ensemble that has no confidence, or no validation text."""
        from transformer_cli.deployment.confidence import confident_translator

        unsupported = ["--engine ctranslate2"] if options.engine == "ctranslate2" else []
        unsupported += ["--ensemble"] if self.ensemble else []
        unsupported += ["models of several target languages"] if self.source.vocabularies.src.tags else []
        if unsupported:
            raise ConfigError(f"confidence cannot be combined with {' and '.join(unsupported)}")
        translator = torch_translator(self.loaded, overrides, replace(request, scored=True))
        return "torch", confident_translator(translator, self.source, self.notify)

    @cached_property
    def loaded(self) -> LoadedModel:
        """The model, or the ensemble, in torch; loaded on first use. Raises: CheckpointError."""
        from transformer_cli.artifacts.loading import load_ensemble
        from transformer_cli.runtime import select_device, tune_process

        tune_process()
        return load_ensemble(self.source, self.run, self.ensemble, select_device(self.device))

    def _ctranslate2(
        self, options: DecodingConfig, request: TranslationRequest, has_prefixes: bool
    ) -> CTranslate2Translator:
        """Raises: ConfigError: it is missing or cannot do what is asked; UserError: the export fails."""
        ctranslate2, source = import_ctranslate2(), self.source
        unsupported = unsupported_options(options, request)
        unsupported += ["--ensemble"] if self.ensemble else []
        unsupported += ["--prefix"] if has_prefixes else []
        unsupported += ["models of several target languages"] if source.vocabularies.src.tags else []
        unsupported += [f"--device {self.device}"] if self.device not in ("auto", "cpu") else []
        if unsupported:
            raise ConfigError(
                f"the engine ctranslate2 does not support {', '.join(unsupported)}", hint="use --engine torch"
            )
        if options.engine == "auto" and self.device == "auto" and ctranslate2.get_cuda_device_count():
            raise ConfigError("there is a GPU")
        check_supported(source.config.model)
        key = COMPUTE_TYPES[options.precision], options.threads
        if key not in self._exported:
            files = exported_files(source, key[0], self.notify)
            self._exported[key] = CTranslate2Model(files, source.vocabularies, *key)
        return CTranslate2Translator(self._exported[key], source.vocabularies, source.config, options, request)


def torch_translator(
    loaded: LoadedModel, overrides: Mapping[str, Any], request: TranslationRequest
) -> LineTranslator:
    """A translator of the engine torch, which protects items if the options say so. Raises: ConfigError."""
    translator = loaded.translator(overrides, request)
    if not translator.options.protect:
        return translator
    from transformer_cli.decoding.search.ensemble import Ensemble
    from transformer_cli.deployment.protection.translator import ProtectedTranslator

    model = translator.model
    return ProtectedTranslator(translator, model.models[0] if isinstance(model, Ensemble) else model)


def exported_files(source: ModelSource, quantization: str, notify: Notify) -> dict[str, bytes]:
    """The files of the model's CTranslate2 export, verified. It is written to `source.engines` when it is missing.

    Raises:
        DiskError: the export cannot be written.
        UserError: the export failed its parity check.
    """
    model = [
        source.weights_hash,
        source.vocabularies.hash,
        source.config.model.model_dump(),
        source.config.data.max_length,
    ]
    key = durable.sha256(json.dumps([__version__, quantization, *model]).encode())
    directory = source.engines / f"ctranslate2-{quantization}-{key[:16]}"
    files = read_export(directory)
    if files is not None:
        return files
    text = source.validation_lines()
    if not text:
        raise ConfigError(
            f"{source.checkpoint}: has no validation text to check an export for CTranslate2 with",
            hint="use --engine torch, or: transformer-cli export ... --to ctranslate2 DIR --proof FILE",
        )
    from transformer_cli.deployment.export import write_ctranslate2
    from transformer_cli.runtime import tune_process

    tune_process()
    notify(f"note: {directory}: exporting the model for CTranslate2; this is done once")
    durable.make_directory(source.engines)
    with file_lock(source.engines / ".lock", wait=True):
        files = read_export(directory)  # another process may have written it in the meantime
        if files is None:
            shutil.rmtree(directory, ignore_errors=True)  # a damaged one
            write_ctranslate2(source, directory, quantization, text, lambda message: None)
            files = read_export(directory)
    if files is None:
        raise DiskError(f"{directory}: damaged immediately after it was written")
    return files


def read_export(directory: Path) -> dict[str, bytes] | None:
    """The model files of a CTranslate2 directory; None if it is missing or does not match its hashes."""
    try:
        notes = json.loads(read_bounded(directory / NOTES, MAX_NOTES_BYTES))
        hashes = {str(name): str(digest) for name, digest in notes["sha256"].items()}
        names = [name for name in hashes if Path(name).name == name]
        contents = {name: read_bounded(directory / name, MAX_FILE_BYTES) for name in names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    is_intact = len(contents) == len(hashes) and all(durable.sha256(contents[n]) == d for n, d in hashes.items())
    return contents if is_intact else None
