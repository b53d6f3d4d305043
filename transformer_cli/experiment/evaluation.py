"""The work behind `evaluate`: a test set through a run, the translations kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli import durable
from transformer_cli.data.corpus import read_parallel
from transformer_cli.data.text import encode_lines
from transformer_cli.experiment.inference import load_run
from transformer_cli.runtime import pick_device, tune_process


def evaluate_run(
    path: Path,
    src: Path,
    ref: Path,
    overrides: Mapping[str, Any],
    output: Path | None,
    checkpoint: str,
    device: str,
    say: Callable[[str], None],
) -> tuple[list[str], list[str], dict[str, Any]]:
    """Translate `src` with a run and write the translations.

    Returns:
        Hypotheses, references, and facts for the report: file, beam, checkpoint, sentences per second.

    Raises:
        UserError: files or run that cannot be used.
    """
    tune_process()
    text = read_parallel([src], [ref])
    for note in text.notes:
        say(f"warning: {note}")
    loaded = load_run(path, pick_device(device), checkpoint)
    translator = loaded.translator(overrides)
    began = time.perf_counter()
    with tqdm(total=len(text), desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        hypotheses = [t.text for t in translator.translate(text.src, bar.update)]
    seconds = time.perf_counter() - began
    beam = translator.options.beam
    target = output or loaded.evaluation / f"{src.name}.beam{beam}.txt"
    durable.make_directory(target.parent)
    durable.write_output(target, encode_lines(hypotheses))
    return (
        hypotheses,
        text.tgt,
        {
            "hypotheses": str(target),
            "beam": beam,
            "length_penalty": translator.options.length_penalty,
            "checkpoint": loaded.checkpoint.name,
            "sentences_per_second": round(len(text) / seconds, 1),
        },
    )
