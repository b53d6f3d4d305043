#!/usr/bin/env python
"""Translation speed of a trained run: sentences and target pieces per second, beside CTranslate2 if it is there.

Every setting has a process of its own, as when it is used: in one process with others it would share their heap
and caches. Each runs once in each round, one at a time, so that a slow minute of the machine hits all alike; the
median of the rounds is printed, and the ratio to CTranslate2 of the same beam and precision; loading apart.

    scripts/bench_decode.py runs/en-de --src test.en
    scripts/bench_decode.py runs/en-de --src test.en --ctranslate2     # exports the run and times both
    scripts/bench_decode.py runs/en-de --src test.en --grow docs/decoding-cost.png
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.data.text import read_lines
from transformer_cli.decoding.segments import TranslationRequest
from transformer_cli.deployment.export import ExportRequest, export_model
from transformer_cli.runtime import select_device, tune_process


@dataclass(frozen=True)
class Engine:
    """What translates the text: this project with `options`, or CTranslate2 with the model in `converted`."""

    run: Path
    src: Path
    device: str
    options: dict[str, Any]
    converted: Path | None = None


Translate = Callable[[], list[str]]
"""Translates the text once, from raw lines to raw lines."""


def ours(loaded: LoadedModel, lines: list[str], **options: Any) -> Translate:
    translator = loaded.translator(options, TranslationRequest(scored=False))

    def run() -> list[str]:
        return [t.text for t in translator.translate(lines)]

    return run


def theirs(loaded: LoadedModel, directory: Path, lines: list[str], beam: int, compute: str) -> Translate:
    """CTranslate2 at its best here: workers of one thread, batches of 64 sentences sorted by length."""
    import ctranslate2

    workers = torch.get_num_threads()
    translator = ctranslate2.Translator(
        str(directory), device="cpu", compute_type=compute, inter_threads=workers, intra_threads=1
    )
    pieces, tgt = loaded.vocabularies.src.vocabulary, loaded.vocabularies.tgt
    ids_of = {piece: i for i, piece in enumerate(tgt.vocabulary)}

    def run() -> list[str]:
        sources = [[pieces[i] for i in ids] for ids in loaded.vocabularies.src.encode(lines)]
        found = translator.translate_batch(sources, max_batch_size=64, beam_size=beam, max_decoding_length=100)
        return tgt.decode([np.array([ids_of[p] for p in result.hypotheses[0]]) for result in found])

    return run


class Process:
    """An engine in a process of its own."""

    def __init__(self, engine: Engine) -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.load_seconds = self.pool.submit(_load, engine).result()

    def translate(self) -> tuple[float, list[int]]:
        """Seconds, and the pieces of each translation."""
        return self.pool.submit(_translate).result()

    def close(self) -> int:
        """Ends the process; returns the most memory that it held, in MiB."""
        peak = self.pool.submit(_peak).result()
        self.pool.shutdown()
        return peak


_loaded: list[tuple[Translate, LoadedModel]] = []  # in the process of an engine: what `_translate` runs


def _load(engine: Engine) -> float:
    tune_process()
    lines, _ = read_lines(engine.src)
    began = time.perf_counter()
    loaded = load_model(engine.run, select_device(engine.device))
    if engine.converted is None:
        _loaded.append((ours(loaded, lines, **engine.options), loaded))
    else:
        compute = {"fp32": "float32"}.get(engine.options["precision"], engine.options["precision"])
        _loaded.append((theirs(loaded, engine.converted, lines, engine.options["beam"], compute), loaded))
    return time.perf_counter() - began


def _translate() -> tuple[float, list[int]]:
    began = time.perf_counter()
    translate, loaded = _loaded[0]
    texts = translate()
    seconds = time.perf_counter() - began
    return seconds, [len(ids) for ids in loaded.vocabularies.tgt.encode(texts)]


def _peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def time_rounds(engines: dict[str, Engine], rounds: int) -> dict[str, dict[str, float]]:
    """Sentences and pieces a second of each engine."""
    processes = {name: Process(engine) for name, engine in engines.items()}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    first = {name: process.translate() for name, process in processes.items()}  # warm-up
    for _ in range(rounds):
        for name, process in processes.items():
            seconds[name].append(process.translate()[0])
    rows = {}
    for name, times in seconds.items():
        cold, lengths = first[name]
        median = statistics.median(times)
        rows[name] = {
            "sentences_per_second": round(len(lengths) / median, 1),
            "slowest": round(len(lengths) / max(times), 1),
            "fastest": round(len(lengths) / min(times), 1),
            "first_time": round(len(lengths) / cold, 1),
            "pieces_per_second": round(sum(lengths) / median),
            "pieces_per_sentence": round(sum(lengths) / len(lengths), 1),
            "load_seconds": round(processes[name].load_seconds, 2),
            "peak_rss_mib": processes[name].close(),
        }
    return rows


def grow(loaded: LoadedModel, lines: list[str], picture: Path) -> list[dict[str, Any]]:
    """Milliseconds a sentence against batch size, beam and source length; drawn into `picture`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    average = sum(map(len, loaded.vocabularies.src.encode(lines))) / len(lines) + 1
    by_length = sorted(lines, key=lambda line: len(line.split()))
    quarters = [by_length[i * len(lines) // 4 : (i + 1) * len(lines) // 4] for i in range(4)]
    series: dict[str, list[tuple[float, list[str], dict[str, Any]]]] = {
        "sentences of a batch, beam 5": [
            (n, lines[:400], {"beam": 5, "batch_tokens": round(n * average)}) for n in (1, 4, 16, 64, 256)
        ],
        "beam": [(w, lines[:400], {"beam": w}) for w in (1, 2, 4, 8, 16)],
        "source words (quarters of the text), beam 5": [
            (round(sum(len(x.split()) for x in q) / len(q), 1), q, {"beam": 5}) for q in quarters
        ],
    }
    rows: list[dict[str, Any]] = []
    figure, grid = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    for axes, (label, points) in zip(grid, series.items(), strict=True):
        for x, text, options in points:
            run = ours(loaded, text, **options)
            run()  # warm-up
            seconds = min(timed(run) for _ in range(2))
            rows.append({label: x, "ms_per_sentence": round(1000 * seconds / len(text), 2)})
        own = rows[-len(points) :]
        axes.plot([r[label] for r in own], [r["ms_per_sentence"] for r in own], marker="o")
        axes.set(xlabel=label, ylabel="milliseconds a sentence", ylim=(0, None))
        axes.grid(alpha=0.3)
        if x / points[0][0] > 8:
            axes.set_xscale("log", base=2)
    figure.savefig(picture, dpi=120)
    return rows


def timed(run: Translate) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--src", type=Path, required=True)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[0], help="0 = the run's own")
    parser.add_argument("--shortlists", type=int, nargs="+", default=[0], help="0 = the whole vocabulary")
    parser.add_argument("--ctranslate2", action="store_true", help="time CTranslate2 in the same rounds")
    parser.add_argument("--grow", type=Path, metavar="PNG", help="instead: cost over batch, beam and length")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    if args.grow:
        tune_process()
        loaded = load_model(args.run, select_device(args.device))
        for row in grow(loaded, read_lines(args.src)[0], args.grow):
            print(", ".join(f"{key} {value}" for key, value in row.items()))
        return
    with tempfile.TemporaryDirectory() as place:
        engines: dict[str, Engine] = {}
        for beam, precision in itertools.product(args.beams, args.precisions):
            for size, listed in itertools.product(args.batch_tokens, args.shortlists):
                options = {"beam": beam, "precision": precision, "batch_tokens": size or None, "shortlist": listed}
                name = f"beam {beam}, {precision}" + f", {size} tokens" * bool(size)
                name += f", shortlist {listed}" * bool(listed)
                engines[name] = Engine(args.run, args.src, args.device, options)
        if args.ctranslate2:
            directory = Path(place) / "model"
            export_model(ExportRequest(args.run, directory, "ctranslate2", None, "best", None), print)
            for beam, precision in itertools.product(args.beams, args.precisions):
                options = {"beam": beam, "precision": precision}
                name = f"CTranslate2, beam {beam}, {precision}"
                engines[name] = Engine(args.run, args.src, args.device, options, directory)
        rows = time_rounds(engines, args.rounds)
    for name, row in rows.items():
        peer = rows.get("CTranslate2, " + ", ".join(name.split(", ")[:2]))
        if peer is not None:
            row["ratio_to_ctranslate2"] = round(row["sentences_per_second"] / peer["sentences_per_second"], 2)
    facts = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": args.rounds}
    if args.json:
        print(json.dumps({**facts, "rows": rows}, indent=2))
        return
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
