"""Implementation of `evaluate`: translate test sets with a run, and write and score the translations."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli import durable
from transformer_cli.config import validate_section
from transformer_cli.data.text import Notify, encode_lines
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.engines import ModelRequest, OpenModel, open_model
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.metrics import Score, can_resample, corpus_scores
from transformer_cli.experiment.test_sets import TestSet, TestText
from transformer_cli.schema.evaluation import MetricsConfig
from transformer_cli.untrusted import read_bounded

MAX_RESULT_BYTES = 1 << 20
"""Limit for the results of an earlier evaluation."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a text, and facts for the report: files, lines, beam, checkpoint, sentences per second."""

    scores: list[Score]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"scores": [asdict(score) for score in self.scores], **self.facts}


def metrics_config(given: Mapping[str, Any]) -> MetricsConfig:
    """The options of the metrics that the user gives. Raises: ConfigError."""
    return validate_section(MetricsConfig, given, "metrics")


def evaluate_files(test_sets: Sequence[TestSet], given: Mapping[str, Any], notify: Notify) -> Iterator[Evaluation]:
    """Score files of translations, one after the other.

    Args:
        test_sets: `src` of each is the file of translations.
        given: options of the metrics.

    Raises:
        ConfigError: invalid options.
        DataError: missing, blank or misaligned files.
    """
    config = metrics_config(given)
    for test_set in test_sets:
        text = test_set.read(notify)
        facts = {"test_set": test_set.refs[0].name, "lines": len(text.src), "hypotheses": str(test_set.src)}
        yield Evaluation(_scores(text.src, text, config, notify), facts)


@dataclass(frozen=True)
class EvaluationRequest:
    """Arguments of `evaluate` for a run.

    Attributes:
        overrides: decoding options.
        metrics: options of the metrics.
        to: target language of a model that has several.
        output: file for the translations of the only test set; None chooses a file name for each.
    """

    run: Path
    test_sets: Sequence[TestSet]
    overrides: Mapping[str, Any]
    output: Path | None = None
    checkpoint: str = "best"
    device: str = "auto"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    to: str = ""


def evaluate_run(request: EvaluationRequest, notify: Notify) -> Iterator[Evaluation]:
    """Translate the test sets with a run, write the translations, and score them, one after the other.

    By default the translations are written to the run's `evaluation/` directory, in a file named by checkpoint and
    options, with the scores in a JSON file next to it.

    Raises:
        UserError: files, run or options that cannot be used. All files are read before the first is translated.
    """
    config = metrics_config(request.metrics)
    if request.output is not None and len(request.test_sets) > 1:
        raise ConfigError("--output is one file: give one test set, or leave it out")
    texts = [test_set.read(notify) for test_set in request.test_sets]
    model = ModelRequest(
        request.run,
        request.checkpoint,
        device=request.device,
        overrides=request.overrides,
        request=TranslationRequest(scored=False, to=request.to),
    )
    loaded = open_model(model, notify)
    for text in texts:
        stem = _file_stem(text.files, request, loaded.translator.options.beam)
        target = request.output or _default_output(loaded.evaluation, stem, text.hash)
        durable.check_writable(target, create_parents=True)
        hypotheses, facts = translate_test_set(loaded, text, target)
        evaluation = Evaluation(_scores(hypotheses, text, config, notify), facts)
        if request.output is None:
            durable.write_json(target.with_suffix(".json"), {**evaluation.to_json(), **text.facts()})
        yield evaluation


def translate_test_set(loaded: OpenModel, text: TestText, target: Path) -> tuple[list[str], dict[str, Any]]:
    """Translate a test set, and write the translations to `target`. Returns: translations, facts."""
    translator = loaded.translator
    start = time.perf_counter()
    with tqdm(total=len(text.src), desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        hypotheses = [t.text for t in translator.translate(text.src, bar.update)]
    seconds = time.perf_counter() - start
    durable.write_output(target, encode_lines(hypotheses))
    facts = {
        "test_set": text.files.name,
        "lines": len(text.src),
        "hypotheses": str(target),
        "beam": translator.options.beam,
        "length_penalty": translator.options.length_penalty,
        "engine": loaded.engine,
        "checkpoint": loaded.checkpoint.name,
        "sentences_per_second": round(len(text.src) / seconds, 1),
    }
    return hypotheses, facts


def _scores(hypotheses: Sequence[str], text: TestText, config: MetricsConfig, notify: Notify) -> list[Score]:
    if not can_resample(len(hypotheses), config):
        notify(f"note: no intervals: {len(hypotheses):,} lines are too many for {config.resamples:,} resamples")
    return corpus_scores(hypotheses, *text.references, config=config)


def _file_stem(test_set: TestSet, request: EvaluationRequest, beam: int) -> str:
    """The test set's name, followed by the checkpoint and the options that differ from the defaults."""
    options = {
        "beam": beam,
        "length_penalty": request.overrides.get("length_penalty"),
        "precision": request.overrides.get("precision"),
        "engine": request.overrides.get("engine"),
        **{"tok" if name == "tokenize" else name: value for name, value in request.metrics.items()},
        "to": request.to or None,
        "refs": len(test_set.refs) if len(test_set.refs) > 1 else None,
    }
    parts = [test_set.name, *([request.checkpoint] if request.checkpoint != "best" else [])]
    parts += [f"{name}{value}" for name, value in options.items() if value is not None]
    return ".".join(parts)


def _default_output(directory: Path, stem: str, text_hash: str) -> Path:
    """The file for translations. Results of another text with the same name are not overwritten."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        existing = json.loads(read_bounded(directory / f"{stem}.json", MAX_RESULT_BYTES))
        # Earlier versions did not write the hash of the text: their results are of an unknown text.
        if existing.get("text") != text_hash:
            stem = f"{stem}.{text_hash[:8]}"
    return directory / f"{stem}.txt"
