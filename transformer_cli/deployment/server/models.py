"""The models of the server: opened and tried before the port opens, chosen by languages or name, reloaded."""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformer_cli.artifacts.target_languages import require_one_target
from transformer_cli.data.readers.languages import language_code, language_name
from transformer_cli.data.text import one_line
from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.ctranslate2_engine import available_cores
from transformer_cli.deployment.ctranslate2_export import ExportedModel, is_export
from transformer_cli.deployment.engines import LineTranslator, Model
from transformer_cli.deployment.protection.alignment import SpanAlignment
from transformer_cli.deployment.server.batching import SearchOptions
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import ConfigError, UserError

MAX_TRANSLATORS = 4
"""Translators of a model that are kept, by options; each may hold a copy of the weights."""
PAIR = re.compile(r"([A-Za-z]{2,3})[-_]([A-Za-z]{2,3})")
"""A name of two languages, such as `en-de`."""
UNKNOWN_LANGUAGES = ("src", "tgt")
"""Codes of languages that nothing tells."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFile:
    """A model to serve: its path, and the name that the user gives it; empty for none."""

    path: Path
    name: str = ""

    @staticmethod
    def parse(text: str) -> ModelFile:
        """Parse MODEL or NAME=MODEL; an existing path is a path."""
        name, equals, path = text.partition("=")
        if Path(text).exists() or not equals:
            return ModelFile(Path(text))
        return ModelFile(Path(path), name)


class ServedModel:
    """A model in memory. Several threads may use it."""

    def __init__(self, file: ModelFile, overrides: Mapping[str, Any], device: str) -> None:
        """
        Args:
            overrides: decoding options of all requests.

        Raises:
            UserError: a model or options that cannot be used.
        """
        self.file = file
        self.overrides = dict(overrides)
        self.model: Model | ExportedModel = (
            ExportedModel(file.path) if is_export(file.path) else Model(file.path, "best", (), device, logger.info)
        )
        require_one_target(self.model.source.vocabularies, file.path, "serve")
        self.cores = int(self.overrides.pop("threads", 0)) or available_cores()
        self._lock = threading.Lock()
        self._translators: OrderedDict[SearchOptions, LineTranslator] = OrderedDict()
        self.source, self.target = self._languages()
        self.engine = ""
        self.translate(["."], SearchOptions())

    @property
    def name(self) -> str:
        """Its name in requests: given by the user, or that of its file."""
        return self.file.name or self.file.path.resolve().stem

    @property
    def architecture(self) -> str:
        """Encoder and decoder."""
        config = self.model.source.config.model
        return config.encoder if config.encoder == config.decoder else f"{config.encoder}-{config.decoder}"

    @cached_property
    def default_beam(self) -> int:
        """Beam width of requests that name none."""
        return int(self.overrides.get("beam") or self.model.source.config.decoding.beam)

    def translate(self, lines: Sequence[str], options: SearchOptions) -> list[Translation]:
        """The translation of each line, in order. Raises: UserError: options that cannot be used."""
        translator = self._translator(options)
        if self.engine != "ctranslate2":
            from transformer_cli.decoding.execution.workers import use_one_thread

            use_one_thread()
        return translator.translate(lines)

    def align(self, source: str, target: str) -> SpanAlignment:
        """The alignment of a sentence and its translation, which the model has generated.

        Raises:
            RequestError: 501: an export, which has no attention weights.
            ConfigError: a model without attention.
        """
        if isinstance(self.model, ExportedModel):
            raise RequestError(501, "markup inside of sentences needs attention weights: serve the run instead")
        from transformer_cli.decoding.execution.workers import use_one_thread

        use_one_thread()
        return self.model.align(source, target)

    def attention(self, sentence: str) -> dict[str, Any]:
        """The attention weights of a sentence and its translation, as `schemas.AttentionAnswer`.

        Raises:
            RequestError: 501: the engine is CTranslate2; 422: no attention, or a blank or too long sentence.
        """
        if self.engine != "torch" or isinstance(self.model, ExportedModel):
            raise RequestError(501, "attention weights need the engine torch: serve with --engine torch")
        from transformer_cli.decoding.sentence_attention import attend_sentence

        line = one_line(sentence)
        translation = self.translate([line], SearchOptions())[0].text
        vocabularies = self.model.source.vocabularies
        (src,), (tgt,) = vocabularies.src.encode([line]), vocabularies.tgt.encode([translation])
        token_bytes = vocabularies.src.token_bytes(), vocabularies.tgt.token_bytes()
        try:
            attention = attend_sentence(self.model.loaded.model, src, tgt, *token_bytes)
        except UserError as error:
            raise RequestError(422, error.what) from None
        maps = {
            kind: [layer.astype(float).round(4).tolist() for layer in layers]
            for kind, layers in attention.maps.items()
        }
        return {
            "source_tokens": [*(vocabularies.src.vocabulary[i] for i in src), "</s>"],
            "target_tokens": ["<s>", *(vocabularies.tgt.vocabulary[i] for i in tgt)],
            **maps,
        }

    def count_tokens(self, lines: Sequence[str], translations: Sequence[Translation]) -> tuple[int, int]:
        """Tokens of lines and of their translations."""
        vocabularies = self.model.source.vocabularies
        source = sum(map(len, vocabularies.src.encode(lines)))
        return source, sum(map(len, vocabularies.tgt.encode([t.text for t in translations])))

    @property
    def threads(self) -> int:
        """Batches to search at the same time: one per core, which is faster than a batch on all cores."""
        if isinstance(self.model, ExportedModel) or self.engine != "torch":
            return self.cores
        return self.cores if next(self.model.loaded.model.parameters()).device.type == "cpu" else 1

    def _translator(self, options: SearchOptions) -> LineTranslator:
        with self._lock:
            if options not in self._translators:
                self._translators[options] = self._open(options)
                if len(self._translators) > MAX_TRANSLATORS:
                    self._translators.popitem(last=False)
            self._translators.move_to_end(options)
            return self._translators[options]

    def _open(self, options: SearchOptions) -> LineTranslator:
        overrides = {**self.overrides, **dict(options.overrides), "threads": self.cores}
        engine, translator = self.model.translator(overrides, options.request)
        if engine == "torch":  # its threads are those that call it; CTranslate2 has its own
            _, translator = self.model.translator({**overrides, "engine": engine, "threads": 1}, options.request)
        self.engine = self.engine or engine
        return translator

    def _languages(self) -> tuple[str, str]:
        """Codes of source and target: from its name, the configuration, or the name of its file."""
        config = self.model.source.config
        configured = [config.training.languages, config.data.filters.languages]
        for name in (self.file.name, *(pair.replace(",", "-") for pair in configured if pair), self.name):
            match = PAIR.fullmatch(name)
            codes = [language_code(code) for code in match.groups()] if match else []
            if len(codes) == 2 and all(codes):
                return codes[0], codes[1]
        logger.warning(
            f"{self.file.path}: its languages are not known: they are called "
            f"{' and '.join(UNKNOWN_LANGUAGES)}; name the model by them, as in: en-de={self.file.path}"
        )
        return UNKNOWN_LANGUAGES


def open_models(files: Sequence[ModelFile], overrides: Mapping[str, Any], device: str) -> list[ServedModel]:
    """Open, verify and try all models. Raises: UserError: one cannot be used, or two have the same name."""
    models = [ServedModel(file, overrides, device) for file in files]
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two models are called {name!r}",
                hint="give them names: transformer-cli serve NAME=MODEL NAME=MODEL",
            )
    return models


def list_languages(models: Sequence[ServedModel]) -> list[dict[str, Any]]:
    """The languages in LibreTranslate's format."""
    targets: dict[str, list[str]] = {}
    for model in models:
        targets.setdefault(model.source, [])
        targets.setdefault(model.target, [])  # listed as well: clients look for its name
        if model.target not in targets[model.source]:
            targets[model.source].append(model.target)
    return [
        {"code": code, "name": language_name(code), "targets": codes} for code, codes in sorted(targets.items())
    ]


def choose_model(models: Sequence[ServedModel], name: str | None, source: str, target: str | None) -> ServedModel:
    """The model for a request. Raises: RequestError: there is none."""
    candidates = [model for model in models if name is None or model.name == name]
    if not candidates:
        raise RequestError(422, f"there is no such model; models: {', '.join(m.name for m in models)}")
    for model in candidates:
        if _same(source, model.source) and (target is None or _same(target, model.target)):
            return model
    pairs = ", ".join(f"{model.source} to {model.target}" for model in candidates)
    raise RequestError(422, f"these languages are not supported; supported: {pairs}")


def _same(code: str, other: str) -> bool:
    return code == other or language_code(code) == other
