"""Implementation of `compare`: collects the translations of runs and files, and compares them."""

from __future__ import annotations

import json
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies
from transformer_cli.data.store import load_corpus
from transformer_cli.data.text import Notify, read_text
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.engines import ModelRequest, open_model
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.evaluation.breakdown import count_words
from transformer_cli.evaluation.comparison import Comparison, System, compare_systems
from transformer_cli.evaluation.metrics import build_metrics
from transformer_cli.experiment.evaluation import MAX_RESULT_BYTES, metrics_config
from transformer_cli.experiment.test_sets import TestSet, TestText
from transformer_cli.schema.evaluation import MetricsConfig
from transformer_cli.untrusted import read_bounded

MAX_COUNTED_PAIRS = 500_000
"""Pairs of the training text whose words are counted."""
SEPARATOR = ","
"""Between the seeds of one system."""


@dataclass(frozen=True)
class ComparisonRequest:
    """Arguments of `compare`.

    Attributes:
        systems: run directories, bundles, files of translations, or results of `evaluate` (.json); several of
            them, separated by commas, are the seeds of one system.
        overrides: decoding options for runs. metrics: options of the metrics.
        examples: lines with the largest differences.
        to: target language of runs that have several.
    """

    systems: Sequence[str]
    test_set: TestSet
    overrides: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = "best"
    device: str = "auto"
    examples: int = 3
    to: str = ""


@dataclass(frozen=True)
class ComparedSystems:
    """The result of `compare`. `counted`: where the frequencies of words come from."""

    text: TestText
    comparison: Comparison
    counted: str


def compare(request: ComparisonRequest, notify: Notify) -> ComparedSystems:
    """Compare the first system with each of the others.

    Raises:
        ConfigError: fewer than two systems, two of the same name, or options that cannot be used.
        DataError: translations of another text, or scored in another way.
    """
    names = [members(system) for system in request.systems]
    if len(names) < 2:
        raise ConfigError("compare needs two or more systems", hint="transformer-cli compare A B --src F --ref F")
    if len(set(request.systems)) < len(names):
        raise ConfigError("compare: a system is given twice")
    config = metrics_config(request.metrics)
    text = request.test_set.read(notify)
    signatures = _signatures(text, config)
    systems = [
        System(name, [_translations(path, text, signatures, request, notify) for path in paths])
        for name, paths in zip(request.systems, names, strict=True)
    ]
    counts, counted = word_counts([path for paths in names for path in paths], text.references[0])
    compared = compare_systems(systems, text.src, text.references, counts, config, request.examples)
    return ComparedSystems(text, compared, counted)


def members(system: str) -> list[Path]:
    """The seeds of a system, as the user names it."""
    return [Path(system)] if Path(system).exists() else [Path(part) for part in system.split(SEPARATOR) if part]


def word_counts(paths: Sequence[Path], references: Sequence[str]) -> tuple[Counter[str], str]:
    """Frequencies of words in the training text of the first run that stores it, otherwise in the references.

    Returns: the counts, and where they come from.
    """
    for path in paths:
        run = RunDirectory(path)
        if run.exists and (corpus := load_corpus(run.data, "train", None)) is not None:
            tokenizer = Vocabularies.load(run, joint=run.load_config().tokenizer.joint).tgt
            pairs = min(len(corpus), MAX_COUNTED_PAIRS)
            return count_words(
                tokenizer.decode([corpus.tgt[i] for i in range(pairs)])
            ), f"the training text of {path}"
    return count_words(references), "the references"


def _translations(
    path: Path, text: TestText, signatures: Mapping[str, str], request: ComparisonRequest, notify: Notify
) -> list[str]:
    """The translations of a run or file. Raises: UserError."""
    is_text = path.is_file() and not zipfile.is_zipfile(path)
    if is_text or not path.exists():
        hypotheses = path
        stored = path if path.suffix == ".json" else path.with_suffix(".json")
        if stored == path or (is_text and stored.is_file()):
            hypotheses = _check_result(stored, path, text, signatures)
        lines = read_text(hypotheses, notify)
        if len(lines) != len(text.src):
            raise DataError(f"{hypotheses}: {len(lines):,} lines, but {text.files.src} has {len(text.src):,}")
        return lines
    model = ModelRequest(
        path,
        request.checkpoint,
        device=request.device,
        overrides=request.overrides,
        request=TranslationRequest(scored=False, to=request.to),
    )
    translator = open_model(model, notify).translator
    with tqdm(total=len(text.src), desc=str(path), unit="line", disable=None, file=sys.stderr) as bar:
        return [t.text for t in translator.translate(text.src, bar.update)]


def _check_result(stored: Path, path: Path, text: TestText, signatures: Mapping[str, str]) -> Path:
    """The file of translations of a result of `evaluate`, if it is of this test set and scored in this way.

    Raises:
        DataError: it is not, with what differs.
    """
    try:
        result = json.loads(read_bounded(stored, MAX_RESULT_BYTES))
        known, hypotheses = result["text"], stored.with_suffix(".txt") if stored == path else path
        scores = {str(score["name"]): str(score["signature"]) for score in result["scores"]}
    except FileNotFoundError:
        raise DataError(f"{stored}: no such file") from None
    except (OSError, ValueError, KeyError, TypeError):
        if stored != path:  # any other file of JSON next to the translations
            return path
        raise DataError(f"{stored}: is not a result of evaluate") from None
    if known != text.hash:
        of = f"source {result.get('source')}, references {', '.join(map(str, result.get('references', [])))}"
        raise DataError(
            f"{path}: translations of another test set than {' '.join(map(str, text.files.paths))}",
            hint=f"they are of: {of} (the content decides, not the name)",
        )
    for name, signature in scores.items():
        differing = _differing(signature, signatures.get(name, signature))
        if differing:
            raise DataError(
                f"{path}: its {name} was computed in another way: {', '.join(differing)}",
                hint="give the same options of the metrics, or evaluate it again",
            )
    return hypotheses


def _signatures(text: TestText, config: MetricsConfig) -> dict[str, str]:
    """Name of each metric -> its signature."""
    metrics = build_metrics([reference[:1] for reference in text.references], config)
    return {metric.corpus_score(["x"], None).name: str(metric.get_signature()) for metric in metrics}


def _differing(stored: str, current: str) -> list[str]:
    """The parts in which two signatures differ, apart from resampling: `tok intl, here 13a`."""
    sides = [dict(part.partition(":")[::2] for part in signature.split("|")) for signature in (stored, current)]
    keys = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if key not in ("bs", "seed")]
    return [f"{k} {sides[0].get(k)}, here {sides[1].get(k)}" for k in keys if sides[0].get(k) != sides[1].get(k)]
