"""The work behind `evaluate`: a test set through a run, the translations and their scores kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli import durable
from transformer_cli.data.corpus import read_parallel
from transformer_cli.data.text import encode_lines
from transformer_cli.errors import DataError
from transformer_cli.evaluation.metrics import Score, corpus_scores
from transformer_cli.experiment.inference import load_run
from transformer_cli.runtime import pick_device, tune_process

Say = Callable[[str], object]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a text, and facts for the report: files, lines, beam, checkpoint, sentences per second."""

    scores: list[Score]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"scores": [asdict(score) for score in self.scores], **self.facts}


def evaluate_file(hyp: Path, refs: Sequence[Path], tokenize: str | None, say: Say) -> Evaluation:
    """Score a file of translations. Raises: DataError: files that cannot be used."""
    hypotheses, references = _read(hyp, refs, say)
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
    say: Say,
) -> Evaluation:
    """Translate `src` with a run, write the translations, score them, and write the scores beside them.

    By default they go to the run's `evaluation/`, under a name that tells checkpoints and options apart.

    Raises:
        UserError: files or run that cannot be used.
    """
    tune_process()
    sources, references = _read(src, refs, say)
    loaded = load_run(path, pick_device(device), checkpoint)
    translator = loaded.translator(overrides)
    began = time.perf_counter()
    with tqdm(total=len(sources), desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        hypotheses = [t.text for t in translator.translate(sources, bar.update)]
    seconds = time.perf_counter() - began
    beam = translator.options.beam
    others = [f"{k}{v}" for k, v in overrides.items() if v is not None and k in ("length_penalty", "precision")]
    name = ".".join([src.name, *([checkpoint] if checkpoint != "best" else []), f"beam{beam}", *others])
    target = output or loaded.evaluation / f"{name}.txt"
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
        files = {"source": str(src), "references": list(map(str, refs))}
        durable.write_json(target.with_suffix(".json"), {**found.to_json(), **files})
    return found


def _read(first: Path, refs: Sequence[Path], say: Say) -> tuple[list[str], list[list[str]]]:
    """The lines of a source or a translation, and of each reference. Raises: DataError."""
    texts = [read_parallel([first], [ref], may_be_blank=True) for ref in refs]
    for note in dict.fromkeys(note for text in texts for note in text.notes):
        say(f"warning: {note}")
    for text, ref in zip(texts, refs, strict=True):
        if not any(line.strip() for line in text.tgt):
            raise DataError(f"{ref}: no text to compare with (every line is blank)")
    return texts[0].src, [text.tgt for text in texts]
