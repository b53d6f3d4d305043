"""Implementation of `report`: collects what a report shows of one or two runs, and writes it."""

from __future__ import annotations

import platform
import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli import __version__, durable
from transformer_cli.artifacts.loading import LoadedModel, load_model_source
from transformer_cli.artifacts.model_source import RunSource
from transformer_cli.artifacts.run_directory import hash_text
from transformer_cli.artifacts.target_languages import require_one_target
from transformer_cli.config import dump_config
from transformer_cli.data.store import EncodedCorpus, load_corpus
from transformer_cli.data.text import Notify
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.evaluation.breakdown import by_frequency, by_length, sentence_chrf
from transformer_cli.evaluation.comparison import System, compare_systems
from transformer_cli.evaluation.failures import FAILURES, find_failures
from transformer_cli.evaluation.metrics import corpus_scores
from transformer_cli.evaluation.report.contents import Attention, Example, FailureCount, Report, RunReport
from transformer_cli.evaluation.report.render import number, render_report
from transformer_cli.experiment.comparison import word_counts
from transformer_cli.experiment.evaluation import metrics_config
from transformer_cli.experiment.inspection import sentence_attention
from transformer_cli.experiment.test_sets import TestSet
from transformer_cli.manifest import read_manifest
from transformer_cli.runtime import select_device, tune_process
from transformer_cli.schema.evaluation import MetricsConfig
from transformer_cli.training.metrics_log import read_metrics

EXAMPLES, BEST, WORST = 3, 5, 10
"""Lines shown of each type of failure, and of the best and the worst."""
MAX_RUNS = 2


@dataclass(frozen=True)
class ReportRequest:
    """Arguments of `report`.

    Attributes:
        runs: one or two run directories.
        test_set: None = the validation set of the first run, decoded from its encoded corpus.
        overrides: decoding options. metrics: options of the metrics.
        output: None = `report.html` in the first run.
    """

    runs: Sequence[Path]
    test_set: TestSet | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    output: Path | None = None
    checkpoint: str = "best"
    device: str = "auto"


@dataclass(frozen=True)
class _Text:
    """The lines that the report is about."""

    name: str
    src: list[str]
    references: list[list[str]]
    options: list[str]
    """The options of the command that name it."""


def write_report(request: ReportRequest, notify: Notify) -> Path:
    """Translate the test set with each run, and write the report.

    Returns: the file.

    Raises:
        UserError: runs, files or options that cannot be used.
    """
    if not 1 <= len(request.runs) <= MAX_RUNS:
        raise ConfigError("report takes one run, or two to put beside each other")
    config = metrics_config(request.metrics)
    output = request.output or request.runs[0] / "report.html"
    tune_process()
    sources = [RunSource.open(run, request.checkpoint) for run in request.runs]
    durable.check_writable(output, *(request.test_set.paths if request.test_set else ()))
    text = _read_text(request, sources, notify)
    counts, counted = word_counts(request.runs, text.references[0])
    names = [run.resolve().name for run in request.runs]
    names = names if len(set(names)) == len(names) else list(map(str, request.runs))
    members = [
        _Member(request, source, text, counts, config, name) for source, name in zip(sources, names, strict=True)
    ]
    outputs = [member.hypotheses for member in members]
    comparison = None
    if len(members) > 1:
        systems = [System(name, [lines]) for name, lines in zip(names, outputs, strict=True)]
        comparison = compare_systems(systems, text.src, text.references, counts, config, 0)
    lengths = by_length(text.src, outputs, text.references)
    frequencies = by_frequency(counts, outputs, text.references[0])
    report = Report(
        [member.report() for member in members],
        text.name,
        len(text.src),
        counted,
        [(bucket.name, bucket.size, bucket.scores) for bucket in lengths],
        [(bucket.name, bucket.size, bucket.scores) for bucket in frequencies],
        comparison.results if comparison else {},
        comparison.duels[0] if comparison else None,
    )
    durable.write_output(output, render_report(report).encode("utf-8", errors="replace"))
    return output


def _read_text(request: ReportRequest, sources: Sequence[RunSource], notify: Notify) -> _Text:
    """The test set, or the validation set of the runs. Raises: DataError."""
    if request.test_set is not None:
        text = request.test_set.read(notify)
        options = [
            "--src",
            str(request.test_set.src),
            *(w for r in request.test_set.refs for w in ("--ref", str(r))),
        ]
        return _Text(request.test_set.name, text.src, text.references, options)
    if len({source.identity.get("validation text") for source in sources}) > 1:
        raise DataError(
            "the runs have different validation sets", hint="give a test set for both: --src FILE --ref FILE"
        )
    source = sources[0]
    src, tgt = source.validation_pairs()
    if not src:
        raise DataError(
            f"{source.run.path}: has no validation text", hint="give a test set: --src FILE --ref FILE"
        )
    return _Text("the validation set, decoded from the run", src, [tgt], [])


class _Member:
    """A run of the report, and its translations."""

    def __init__(
        self,
        request: ReportRequest,
        source: RunSource,
        text: _Text,
        counts: Counter[str],
        config: MetricsConfig,
        name: str,
    ) -> None:
        """Translate and score. Raises: UserError."""
        self.request, self.source, self.text, self.counts = request, source, text, counts
        require_one_target(source.vocabularies, source.run.path, "report")
        self.loaded: LoadedModel = load_model_source(source, select_device(request.device))
        self.name = name
        translator = self.loaded.translator(request.overrides, TranslationRequest(scored=False))
        start = time.perf_counter()
        with tqdm(total=len(text.src), desc=self.name, unit="line", disable=None, file=sys.stderr) as bar:
            self.hypotheses = [t.text for t in translator.translate(text.src, bar.update)]
        self.seconds = time.perf_counter() - start
        self.beam = translator.options.beam
        self.scores = corpus_scores(self.hypotheses, *text.references, config=config)
        self.chrf = sentence_chrf(self.hypotheses, text.references)

    def report(self) -> RunReport:
        curves = list(read_metrics(self.source.run.metrics))
        train = load_corpus(self.source.run.data, "train", None)
        worst, best = self._extremes()
        return RunReport(
            name=self.name,
            scores=self.scores,
            failures=self._failures(),
            worst=[self._example(row, with_attention=True) for row in worst],
            best=[self._example(row, with_attention=True) for row in best],
            summary=self._summary(curves),
            data=_data_facts(train),
            filtered={reason: count for reason, count in (train.left_out if train else {}).items() if count},
            speed=self._speed(curves),
            versions=self._versions(),
            hashes=self._hashes(),
            curves=curves,
            config=dump_config(self.source.config),
            commands=self._commands(),
        )

    def _extremes(self) -> tuple[list[int], list[int]]:
        """Rows of the worst and of the best lines; of equally good ones, the longest."""
        rows = [row for row, source in enumerate(self.text.src) if source.strip()]
        order = sorted(rows, key=lambda row: (self.chrf[row], -len(self.text.src[row])))
        best = sorted(rows, key=lambda row: (-self.chrf[row], -len(self.text.src[row])))
        worst = order[:WORST]
        return worst, [row for row in best[:BEST] if row not in worst]

    def _failures(self) -> list[FailureCount]:
        found = find_failures(self.text.src, self.hypotheses, self.text.references, self.counts)
        return [
            FailureCount(
                failure.title,
                failure.definition,
                len(found[failure.key]),
                [self._example(row, note) for row, note in list(found[failure.key].items())[:EXAMPLES]],
            )
            for failure in FAILURES
        ]

    def _example(self, row: int, note: str = "", *, with_attention: bool = False) -> Example:
        source, hypothesis = self.text.src[row], self.hypotheses[row]
        attention = sentence_attention(self.loaded, source, hypothesis) if with_attention else None
        shown = None if attention is None else Attention(*attention)
        return Example(row + 1, source, self.text.references[0][row], hypothesis, self.chrf[row], note, shown)

    def _summary(self, curves: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        parameters = sum(p.numel() for p in self.loaded.model.parameters())
        facts = {"parameters": f"{parameters / 1e6:.2f} M", "checkpoint": self.loaded.checkpoint.name}
        if (step := self.source.metrics().get("step")) is not None:
            facts["checkpoint"] = f"step {step:,}"
        if curves:
            seconds = max((number(record, "seconds") or 0.0 for record in curves), default=0.0)
            facts["minutes of training"] = f"{seconds / 60:.1f}"
        return facts

    def _speed(self, curves: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        rates = [rate for record in curves if (rate := number(record, "tokens_per_second")) is not None]
        facts = (
            {"training, target tokens per second (median)": f"{statistics.median(rates):,.0f}"} if rates else {}
        )
        rate = len(self.text.src) / max(self.seconds, 1e-9)
        facts[f"translation, sentences per second (beam {self.beam}, engine torch)"] = f"{rate:,.1f}"
        return facts

    def _versions(self) -> dict[str, str]:
        manifest = read_manifest(self.source.checkpoint)
        return {
            "transformer-cli": f"trained with {manifest.get('version')}, reported with {__version__}",
            "torch": f"trained with {manifest.get('torch')}, reported with {version('torch')}",
            "sacrebleu": version("sacrebleu"),
            "Python": platform.python_version(),
            "machine": f"{platform.machine()}, {platform.system()}",
        }

    def _hashes(self) -> dict[str, str]:
        named = {name: str(value) for name, value in self.source.identity.items()}
        return {
            "weights": self.source.weights_hash,
            **named,
            "test set": hash_text(self.text.src, *self.text.references),
        }

    def _commands(self) -> list[str]:
        given = [*self.request.overrides.items(), *self.request.metrics.items()]
        options = [w for key, value in given for w in (f"--{key.replace('_', '-')}", str(value))]
        options = [w for w in options if w != "True"]
        if self.request.checkpoint != "best":
            options += ["--checkpoint", self.request.checkpoint]
        report = ["transformer-cli", "report", *map(str, self.request.runs), *self.text.options, *options]
        config = shlex.quote(str(self.source.run.config))
        train = f"transformer-cli train {config} --run NEW_RUN --src ... --tgt ... --valid-src ... --valid-tgt ..."
        return [f"{shlex.join(report)}", f"{train}  # the texts whose hashes are below"]


def _data_facts(train: EncodedCorpus | None) -> dict[str, str]:
    """Pairs and tokens of the training text."""
    if train is None or not len(train):
        return {}
    lengths = [len(train.src.tokens) / len(train), len(train.tgt.tokens) / len(train)]
    left_out = sum(train.left_out.values())
    return {
        "pairs": f"{len(train):,}",
        "pairs left out": f"{left_out:,} ({left_out / (len(train) + left_out):.2%})",
        "source tokens": f"{len(train.src.tokens):,}, {lengths[0]:.1f} per sentence",
        "target tokens": f"{len(train.tgt.tokens):,}, {lengths[1]:.1f} per sentence",
    }
