#!/usr/bin/env python
"""Translation speed of a trained run: sentences and target tokens per second, optionally against CTranslate2.

Each configuration runs in a separate process, as in normal use: a shared process would share the heap and
the caches. Each round runs every configuration once, one after the other, so that variations of the
machine's speed affect all of them. Printed are the median of the rounds, the time to load the model, and
the ratio to CTranslate2 with the same beam and precision.

    scripts/bench_decode.py runs/en-de --src test.en
    scripts/bench_decode.py runs/en-de --src test.en --ctranslate2     # exports the run and times both
    scripts/bench_decode.py runs/en-de --src test.en --grow docs/decoding-cost.png
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_common import format_fields, peak_rss_mib, timed

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.data.text import read_lines
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.export import ExportRequest, export_model
from transformer_cli.runtime import select_device, tune_process


@dataclass(frozen=True)
class Engine:
    """A translation engine: this project with `options`, or CTranslate2 with the model in `ctranslate2`."""

    run: Path
    src: Path
    device: str
    options: dict[str, Any]
    ctranslate2: Path | None = None


Translate = Callable[[], list[str]]
"""Translates the text once, from raw lines to raw lines."""


def project_translate(loaded: LoadedModel, lines: list[str], **options: Any) -> Translate:
    """Return a function that translates the lines with this project."""
    translator = loaded.translator(options, TranslationRequest(scored=False))

    def translate() -> list[str]:
        return [t.text for t in translator.translate(lines)]

    return translate


def ctranslate2_translate(
    loaded: LoadedModel, directory: Path, lines: list[str], beam: int, compute_type: str
) -> Translate:
    """Return a function that translates the lines with CTranslate2.

    Single-threaded workers and batches of 64 sentences sorted by length: its fastest settings on two cores.
    """
    import ctranslate2

    workers = torch.get_num_threads()
    translator = ctranslate2.Translator(
        str(directory), device="cpu", compute_type=compute_type, inter_threads=workers, intra_threads=1
    )
    src, tgt = loaded.vocabularies.src, loaded.vocabularies.tgt
    tgt_ids = {token: i for i, token in enumerate(tgt.vocabulary)}

    def translate() -> list[str]:
        sources = [[src.vocabulary[i] for i in ids] for ids in src.encode(lines)]
        results = translator.translate_batch(sources, max_batch_size=64, beam_size=beam, max_decoding_length=100)
        return tgt.decode([np.array([tgt_ids[token] for token in r.hypotheses[0]]) for r in results])

    return translate


class EngineProcess:
    """An engine in a separate process."""

    def __init__(self, engine: Engine) -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.load_seconds = self.pool.submit(_load, engine).result()

    def translate(self) -> tuple[float, list[int]]:
        """Translate the text; return the seconds and the number of tokens of each translation."""
        return self.pool.submit(_translate).result()

    def close(self) -> int:
        """End the process; return its peak memory in MiB."""
        peak = self.pool.submit(peak_rss_mib).result()
        self.pool.shutdown()
        return peak


_engines: list[tuple[Translate, LoadedModel]] = []  # in the process of an engine: set by `_load`


def _load(engine: Engine) -> float:
    """Load the engine in its process; return the seconds."""
    tune_process()
    lines, _ = read_lines(engine.src)

    def load() -> tuple[Translate, LoadedModel]:
        loaded = load_model(engine.run, select_device(engine.device))
        if engine.ctranslate2 is None:
            return project_translate(loaded, lines, **engine.options), loaded
        precision = engine.options["precision"]
        compute_type = {"fp32": "float32"}.get(precision, precision)
        beam = engine.options["beam"]
        return ctranslate2_translate(loaded, engine.ctranslate2, lines, beam, compute_type), loaded

    seconds, loaded_engine = timed(load)
    _engines.append(loaded_engine)
    return seconds


def _translate() -> tuple[float, list[int]]:
    translate, loaded = _engines[0]
    seconds, texts = timed(translate)
    return seconds, [len(ids) for ids in loaded.vocabularies.tgt.encode(texts)]


def measure_speed(engines: dict[str, Engine], rounds: int) -> dict[str, dict[str, float]]:
    """Translate with every engine in every round; return the speed of each."""
    processes = {name: EngineProcess(engine) for name, engine in engines.items()}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    first = {name: process.translate() for name, process in processes.items()}  # warm-up
    for _ in range(rounds):
        for name, process in processes.items():
            seconds[name].append(process.translate()[0])
    rows = {}
    for name, times in seconds.items():
        first_seconds, lengths = first[name]
        median = statistics.median(times)
        rows[name] = {
            "sentences_per_second": round(len(lengths) / median, 1),
            "slowest": round(len(lengths) / max(times), 1),
            "fastest": round(len(lengths) / min(times), 1),
            "first_time": round(len(lengths) / first_seconds, 1),
            "pieces_per_second": round(sum(lengths) / median),
            "pieces_per_sentence": round(sum(lengths) / len(lengths), 1),
            "load_seconds": round(processes[name].load_seconds, 2),
            "peak_rss_mib": processes[name].close(),
        }
    return rows


def measure_cost(loaded: LoadedModel, lines: list[str], picture: Path) -> list[dict[str, Any]]:
    """Measure milliseconds per sentence against batch size, beam and source length; plot them to `picture`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    mean_length = sum(map(len, loaded.vocabularies.src.encode(lines))) / len(lines) + 1
    by_length = sorted(lines, key=lambda line: len(line.split()))
    quarters = [by_length[i * len(lines) // 4 : (i + 1) * len(lines) // 4] for i in range(4)]
    series: dict[str, list[tuple[float, list[str], dict[str, Any]]]] = {
        "sentences per batch, beam 5": [
            (n, lines[:400], {"beam": 5, "batch_tokens": round(n * mean_length)}) for n in (1, 4, 16, 64, 256)
        ],
        "beam": [(w, lines[:400], {"beam": w}) for w in (1, 2, 4, 8, 16)],
        "source words (quarters of the text), beam 5": [
            (round(sum(len(x.split()) for x in q) / len(q), 1), q, {"beam": 5}) for q in quarters
        ],
    }
    rows: list[dict[str, Any]] = []
    figure, grid = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    for axes, (label, points) in zip(grid, series.items(), strict=True):
        costs = []
        for x, text, options in points:
            translate = project_translate(loaded, text, **options)
            translate()  # warm-up
            seconds = min(timed(translate)[0] for _ in range(2))
            costs.append(round(1000 * seconds / len(text), 2))
            rows.append({label: x, "ms_per_sentence": costs[-1]})
        axes.plot([x for x, _, _ in points], costs, marker="o")
        axes.set(xlabel=label, ylabel="milliseconds per sentence", ylim=(0, None))
        axes.grid(alpha=0.3)
        if points[-1][0] / points[0][0] > 8:
            axes.set_xscale("log", base=2)
    figure.savefig(picture, dpi=120)
    return rows


def list_engines(args: argparse.Namespace, export_directory: Path) -> dict[str, Engine]:
    """The engines that the options select, by name; exports the run if CTranslate2 is one of them."""
    engines: dict[str, Engine] = {}
    for beam, precision in itertools.product(args.beams, args.precisions):
        for tokens, shortlist in itertools.product(args.batch_tokens, args.shortlists):
            options = {
                "beam": beam,
                "precision": precision,
                "batch_tokens": tokens or None,
                "shortlist": shortlist,
            }
            name = f"beam {beam}, {precision}" + f", {tokens} tokens" * bool(tokens)
            name += f", shortlist {shortlist}" * bool(shortlist)
            engines[name] = Engine(args.run, args.src, args.device, options)
    if args.ctranslate2:
        export_model(ExportRequest(args.run, export_directory, "ctranslate2", None, "best", None), print)
        for beam, precision in itertools.product(args.beams, args.precisions):
            name = f"CTranslate2, beam {beam}, {precision}"
            options = {"beam": beam, "precision": precision}
            engines[name] = Engine(args.run, args.src, args.device, options, export_directory)
    return engines


def main() -> None:
    """Parse the options, measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--src", type=Path, required=True)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[0], help="0 = the value of the run")
    parser.add_argument("--shortlists", type=int, nargs="+", default=[0], help="0 = the whole vocabulary")
    parser.add_argument("--ctranslate2", action="store_true", help="also time CTranslate2, in the same rounds")
    parser.add_argument(
        "--grow", type=Path, metavar="PNG", help="plot the cost against batch size, beam and length instead"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    if args.grow:
        tune_process()
        loaded = load_model(args.run, select_device(args.device))
        for row in measure_cost(loaded, read_lines(args.src)[0], args.grow):
            print(format_fields(row))
        return
    with tempfile.TemporaryDirectory() as directory:
        rows = measure_speed(list_engines(args, Path(directory) / "model"), args.rounds)
    for name, row in rows.items():
        reference = rows.get("CTranslate2, " + ", ".join(name.split(", ")[:2]))
        if reference is not None:
            ratio = row["sentences_per_second"] / reference["sentences_per_second"]
            row["ratio_to_ctranslate2"] = round(ratio, 2)
    settings = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": args.rounds}
    if args.json:
        print(json.dumps({**settings, "rows": rows}, indent=2))
        return
    print(format_fields(settings))
    for name, row in rows.items():
        print(f"{name}: {format_fields(row)}")


if __name__ == "__main__":
    main()
