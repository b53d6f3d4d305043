#!/usr/bin/env python
"""Translation speed of a trained run with both engines: sentences and target tokens per second.

Each configuration runs in a separate process, as in normal use: a shared process would share the heap and
the caches. Each round runs every configuration once, one after the other, so that variations of the
machine's speed affect all of them. Printed are the median of the rounds, the time to load the model, and
the ratio to CTranslate2 with the same beam and precision, where it is installed.

    scripts/bench_decode.py runs/en-de --src test.en
    scripts/bench_decode.py runs/en-de --src test.en --engines torch --beams 1
    scripts/bench_decode.py runs/en-de --src test.en --grow docs/decoding-cost.png
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bench_common import format_fields, peak_rss_mib, timed

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.data.text import read_lines
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.engines import LineTranslator, ModelRequest, open_model
from transformer_cli.runtime import select_device, tune_process

PLAIN = TranslationRequest(scored=False)
"""As `translate` without scores."""


@dataclass(frozen=True)
class Engine:
    """A configuration to time; `options` are decoding options, `engine` among them."""

    run: Path
    src: Path
    device: str
    options: dict[str, Any]

    def open(self) -> LineTranslator:
        """Load the model."""
        request = ModelRequest(self.run, device=self.device, overrides=self.options, request=PLAIN)
        return open_model(request, print).translator


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


_loaded: list[tuple[LineTranslator, list[str], Tokenizer]] = []  # in the process of an engine: set by `_load`


def _load(engine: Engine) -> float:
    """Load the engine in its process; return the seconds."""
    lines, _ = read_lines(engine.src)
    seconds, translator = timed(engine.open)
    _loaded.append((translator, lines, open_model_source(engine.run, "best").vocabularies.tgt))
    return seconds


def _translate() -> tuple[float, list[int]]:
    """Translate the text once, from raw lines to raw lines."""
    translator, lines, tokenizer = _loaded[0]
    seconds, translations = timed(lambda: translator.translate(lines))
    return seconds, [len(ids) for ids in tokenizer.encode([t.text for t in translations])]


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
            translator = loaded.translator(options, PLAIN)
            translator.translate(text)  # warm-up
            seconds = min(timed(lambda: translator.translate(text))[0] for _ in range(2))  # noqa: B023
            costs.append(round(1000 * seconds / len(text), 2))
            rows.append({label: x, "ms_per_sentence": costs[-1]})
        axes.plot([x for x, _, _ in points], costs, marker="o")
        axes.set(xlabel=label, ylabel="milliseconds per sentence", ylim=(0, None))
        axes.grid(alpha=0.3)
        if points[-1][0] / points[0][0] > 8:
            axes.set_xscale("log", base=2)
    figure.savefig(picture, dpi=120)
    return rows


def list_engines(args: argparse.Namespace) -> dict[str, Engine]:
    """The engines that the options select, by name. CTranslate2's are left out where it is not installed."""
    engines: dict[str, Engine] = {}
    installed = importlib.util.find_spec("ctranslate2") is not None
    names = [name for name in args.engines if name != "ctranslate2" or installed]
    for engine, beam, precision in itertools.product(names, args.beams, args.precisions):
        modes = args.compiled if engine == "torch" else ["auto"]
        for tokens, shortlist, compiled in itertools.product(args.batch_tokens, args.shortlists, modes):
            if shortlist and engine == "ctranslate2":
                continue
            options = {
                "engine": engine,
                "beam": beam,
                "precision": precision,
                "batch_tokens": tokens or None,
                "shortlist": shortlist,
                "compiled": compiled,
            }
            name = f"{engine}, beam {beam}, {precision}" + f", {tokens} tokens" * bool(tokens)
            name += f", shortlist {shortlist}" * bool(shortlist)
            name += f", compiled {compiled}" * (len(modes) > 1)
            engines[name] = Engine(args.run, args.src, args.device, options)
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
    parser.add_argument("--engines", nargs="+", default=["torch", "ctranslate2"])
    parser.add_argument("--compiled", nargs="+", default=["always"], help="values of decoding.compiled to compare")
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
    rows = measure_speed(list_engines(args), args.rounds)
    for name, row in rows.items():
        reference = rows.get("ctranslate2, " + ", ".join(name.split(", ")[1:3]))
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
