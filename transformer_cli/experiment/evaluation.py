"""The work behind `evaluate`: a test set through a run, the translations and their scores kept."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli import durable
from transformer_cli.artifacts.loading import Notify, load_model
from transformer_cli.artifacts.run_directory import hash_text
from transformer_cli.data.corpus import read_parallel, replace_target
from transformer_cli.data.text import encode_lines
from transformer_cli.errors import DataError, DiskError
from transformer_cli.evaluation.metrics import Score, corpus_scores
from transformer_cli.runtime import select_device, tune_process


@dataclass(frozen=True)
class Evaluation:
    """Scores of a text, and facts for the report: files, lines, beam, checkpoint, sentences per second."""

    scores: list[Score]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"scores": [asdict(score) for score in self.scores], **self.facts}


def evaluate_file(hyp: Path, refs: Sequence[Path], tokenize: str | None, notify: Notify) -> Evaluation:
    """Score a file of translations. Raises: DataError: files that cannot be used."""
    hypotheses, references = _read_test_set(hyp, refs, notify)
    scores = corpus_scores(hypotheses, *references, tokenize=tokenize)
    return Evaluation(scores, {"lines": len(hypotheses), "hypotheses": str(hyp)})


def evaluate_run(
    path: Path,
    src: Path,
    refs: Sequence[Path],
    overrides: Mapping[str, Any],
    output: Path | None,
    checkpoint: str,
    device: str,
    tokenize: str | None,
    notify: Notify,
) -> Evaluation:
    """Translate `src` with a run, write the translations, score them, and write the scores beside them.

    By default they go to the run's `evaluation/`, under a name that tells checkpoints and options apart.

    Raises:
        UserError: files or run that cannot be used.
    """
    tune_process()
    sources, references = _read_test_set(src, refs, notify)
    loaded = load_model(path, select_device(device), checkpoint)
    translator = loaded.translator(overrides)
    beam = translator.options.beam
    told = {
        "beam": beam,
        "length_penalty": overrides.get("length_penalty"),
        "precision": overrides.get("precision"),
        "tok": tokenize,
        "refs": len(refs) if len(refs) > 1 else None,
    }
    parts = [src.name, *([checkpoint] if checkpoint != "best" else [])]
    parts += [f"{name}{value}" for name, value in told.items() if value is not None]
    files = {
        "source": str(src),
        "references": list(map(str, refs)),
        "text": hash_text(sources, *references),
    }
    target = output or _place(loaded.evaluation, ".".join(parts), files)
    if durable.is_regular(target):  # known before the work, not after it
        durable.make_directory(target.parent)
        if not os.access(target.parent, os.W_OK):
            raise DiskError(f"{target}: cannot be written: no permission", hint="choose another place: -o FILE")
    began = time.perf_counter()
    with tqdm(total=len(sources), desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        hypotheses = [t.text for t in translator.translate(sources, bar.update)]
    seconds = time.perf_counter() - began
    durable.write_output(target, encode_lines(hypotheses))
    facts = {
        "lines": len(sources),
        "hypotheses": str(target),
        "beam": beam,
        "length_penalty": translator.options.length_penalty,
        "checkpoint": loaded.checkpoint.name,
        "sentences_per_second": round(len(sources) / seconds, 1),
    }
    found = Evaluation(corpus_scores(hypotheses, *references, tokenize=tokenize), facts)
    if output is None:
        durable.write_json(target.with_suffix(".json"), {**found.to_json(), **files})
    return found


def _place(directory: Path, name: str, files: Mapping[str, Any]) -> Path:
    """Where translations go: another text of the same name, evaluated before, keeps its results."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))
        known = "text" if "text" in kept else "source"  # without the text in results of an earlier version
        if kept[known] != files[known]:
            name = f"{name}.{files['text'][:8]}"
    return directory / f"{name}.txt"


def _read_test_set(lines: Path, refs: Sequence[Path], notify: Notify) -> tuple[list[str], list[list[str]]]:
    """The lines of a source or a translation (read once: a pipe will do) and of each reference."""
    text = read_parallel([lines], [refs[0]], allow_blank=True)
    texts = [text, *(replace_target(text, ref) for ref in refs[1:])]
    for note in dict.fromkeys(note for one in texts for note in one.notes):
        notify(f"warning: {note}")
    for one, ref in zip(texts, refs, strict=True):
        if not any(line.strip() for line in one.tgt):
            raise DataError(f"{ref}: no text to compare with (every line is blank)")
    return text.src, [one.tgt for one in texts]
