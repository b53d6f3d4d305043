"""A translator that says how good its translations probably are.

The model of confidence is fitted once to the translations of the run's validation set with the same decoding
options, and stored next to the results of evaluations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_cli import __version__, durable
from transformer_cli.artifacts.model_source import ModelSource
from transformer_cli.decoding.translation import UNSURE, Translation
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.breakdown import sentence_chrf
from transformer_cli.evaluation.confidence import ConfidenceModel, fit_confidence, line_features
from transformer_cli.schema import DecodingConfig
from transformer_cli.untrusted import read_bounded

if TYPE_CHECKING:
    from transformer_cli.deployment.engines import LineTranslator

MIN_LINES = 20
"""Lines of the validation set from which the confidence can be fitted."""
MAX_LINES = 2000
"""Lines of the validation set that are translated for it."""
MAX_FILE_BYTES = 1 << 20
IGNORED_OPTIONS = {"confidence", "min_confidence", "batch_tokens", "threads", "seed"}
"""Decoding options that do not change what a confidence means."""


@dataclass(frozen=True)
class ConfidentTranslator:
    """Translates like `translator`; a translation below `options.min_confidence` has the status `unsure`."""

    translator: LineTranslator
    model: ConfidenceModel

    @property
    def options(self) -> DecodingConfig:
        return self.translator.options

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        """The translation of each line, in order. A blank line has the confidence 1."""
        translations = self.translator.translate(lines, progress, prefixes=prefixes, first=first)
        features = [line_features(s, t.text, t.token_log_probs) for s, t in zip(lines, translations, strict=True)]
        predicted = self.model.predict(features) if features else []
        return [self._rated(t, c) for t, c in zip(translations, predicted, strict=True)]

    def _rated(self, translation: Translation, confidence: float) -> Translation:
        if translation.status == "empty":
            return replace(translation, confidence=1.0)
        status = UNSURE if confidence < self.options.min_confidence else translation.status
        return replace(translation, confidence=confidence, status=status)


def confident_translator(
    translator: LineTranslator, source: ModelSource, notify: Callable[[str], object]
) -> ConfidentTranslator:
    """Load the model of confidence for a translator, or fit it.

    Raises:
        ConfigError: the model has no stored validation text with references, or too little.
        DiskError: the fitted model cannot be written.
    """
    options = translator.options.model_dump(exclude=IGNORED_OPTIONS)
    key = durable.sha256(json.dumps([__version__, source.weights_hash, options]).encode())
    path = source.evaluation / f"confidence-{key[:16]}.json"
    model = _load(path)
    if model is None:
        src, tgt = source.validation_pairs()
        rows = [row for row in range(len(src)) if src[row].strip() and tgt[row].strip()][:MAX_LINES]
        if len(rows) < MIN_LINES:
            raise ConfigError(
                f"{source.checkpoint}: confidence needs {MIN_LINES} lines of stored validation text, "
                f"and it has {len(rows)}",
                hint="use the run directory with its data/ directory",
            )
        notify(f"note: {path}: calibrating confidence on {len(rows)} validation lines; this is done once")
        lines, references = [src[row] for row in rows], [tgt[row] for row in rows]
        translations = translator.translate(lines)
        features = [line_features(s, t.text, t.token_log_probs) for s, t in zip(lines, translations, strict=True)]
        quality = [chrf / 100 for chrf in sentence_chrf([t.text for t in translations], [references])]
        model = fit_confidence(features, quality)
        durable.make_directory(path.parent)
        durable.write_json(path, asdict(model))
    return ConfidentTranslator(translator, model)


def _load(path: Path) -> ConfidenceModel | None:
    """The stored model; None if there is none, or it is damaged."""
    try:
        stored: dict[str, Any] = json.loads(read_bounded(path, MAX_FILE_BYTES))
        return ConfidenceModel(*(tuple(map(float, stored[name])) for name in ("weights", "means", "scales")))
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError):
        return None
