"""Implementation of `evaluate`: translate a test set with a run, and write and score the translations."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import hash_text
from transformer_cli.data.corpus import read_corpus, replace_target
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.text import Notify, encode_lines
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.engines import ModelRequest, open_model
from transformer_cli.errors import DataError
from transformer_cli.evaluation.metrics import Score, corpus_scores
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


def evaluate_file(hyp: Path, refs: Sequence[Path], tokenize: str | None, notify: Notify) -> Evaluation:
    """Score a file of translations. Raises: DataError: missing, blank or misaligned files."""
    hypotheses, references = _read_test_set(hyp, refs, notify)
    scores = corpus_scores(hypotheses, *references, tokenize=tokenize)
    return Evaluation(scores, {"lines": len(hypotheses), "hypotheses": str(hyp)})


@dataclass(frozen=True)
class EvaluationRequest:
    """Arguments of `evaluate` for a run.

    Attributes:
        overrides: decoding options.
        output: None chooses a file name.
        data: a file with source and reference, which is then also `src`, with no `refs`.
    """

    run: Path
    src: Path
    refs: Sequence[Path]
    overrides: Mapping[str, Any]
    output: Path | None = None
    checkpoint: str = "best"
    device: str = "auto"
    tokenize: str | None = None
    data: CorpusFiles | None = None


def evaluate_run(request: EvaluationRequest, notify: Notify) -> Evaluation:
    """Translate `request.src` with a run, write the translations, and score them.

    By default the translations are written to the run's `evaluation/` directory, in a file named by checkpoint and
    options, with the scores in a JSON file next to it.

    Raises:
        UserError: files, run or options that cannot be used.
    """
    sources, references = _read_test_set(request.src, request.refs, notify, request.data)
    model = ModelRequest(
        request.run,
        request.checkpoint,
        device=request.device,
        overrides=request.overrides,
        request=TranslationRequest(scored=False),
    )
    loaded = open_model(model, notify)
    translator = loaded.translator
    beam = translator.options.beam
    files = {
        "source": str(request.src),
        "references": list(map(str, request.refs)),
        "text": hash_text(sources, *references),
    }
    target = request.output or _default_output(loaded.evaluation, _file_stem(request, beam), files)
    durable.check_writable(target, create_parents=True)
    start = time.perf_counter()
    with tqdm(total=len(sources), desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        hypotheses = [t.text for t in translator.translate(sources, bar.update)]
    seconds = time.perf_counter() - start
    durable.write_output(target, encode_lines(hypotheses))
    facts = {
        "lines": len(sources),
        "hypotheses": str(target),
        "beam": beam,
        "length_penalty": translator.options.length_penalty,
        "engine": loaded.engine,
        "checkpoint": loaded.checkpoint.name,
        "sentences_per_second": round(len(sources) / seconds, 1),
    }
    evaluation = Evaluation(corpus_scores(hypotheses, *references, tokenize=request.tokenize), facts)
    if request.output is None:
        durable.write_json(target.with_suffix(".json"), {**evaluation.to_json(), **files})
    return evaluation


def _file_stem(request: EvaluationRequest, beam: int) -> str:
    """The test set's name, followed by the checkpoint and the options that differ from the defaults."""
    options = {
        "beam": beam,
        "length_penalty": request.overrides.get("length_penalty"),
        "precision": request.overrides.get("precision"),
        "engine": request.overrides.get("engine"),
        "tok": request.tokenize,
        "refs": len(request.refs) if len(request.refs) > 1 else None,
    }
    parts = [request.src.name, *([request.checkpoint] if request.checkpoint != "best" else [])]
    parts += [f"{name}{value}" for name, value in options.items() if value is not None]
    return ".".join(parts)


def _default_output(directory: Path, stem: str, files: Mapping[str, Any]) -> Path:
    """The file for translations. Results of another text with the same name are not overwritten."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        existing = json.loads(read_bounded(directory / f"{stem}.json", MAX_RESULT_BYTES))
        key = "text" if "text" in existing else "source"  # earlier versions did not write the hash of the text
        if existing[key] != files[key]:
            stem = f"{stem}.{files['text'][:8]}"
    return directory / f"{stem}.txt"


def _read_test_set(
    src: Path, refs: Sequence[Path], notify: Notify, data: CorpusFiles | None = None
) -> tuple[list[str], list[list[str]]]:
    """Read the source or the translations (once, so that it may be a pipe) and each reference."""
    text = read_corpus(data or CorpusFiles([src], [refs[0]]), allow_blank=True)
    texts = [text, *(replace_target(text, ref) for ref in refs[1:])]
    for form in dict.fromkeys(form for parallel in texts for form in parallel.forms):
        notify(form)
    for note in dict.fromkeys(note for parallel in texts for note in parallel.notes):
        notify(f"warning: {note}")
    for parallel, ref in zip(texts, refs or [src], strict=True):
        if not any(line.strip() for line in parallel.tgt):
            raise DataError(f"{ref}: no text to compare with (every line is blank)")
    return list(text.src), [list(parallel.tgt) for parallel in texts]
