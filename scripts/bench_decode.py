#!/usr/bin/env python
"""Translation speed of a trained run: sentences and target pieces per second, beside CTranslate2 if it is there.

Every setting runs once in each round, so that a slow minute of the machine hits all alike; the median of the
rounds is printed, and the ratio to CTranslate2 of the same beam and precision. Loading is timed apart.

    scripts/bench_decode.py runs/en-de --src test.en
    scripts/bench_decode.py runs/en-de --src test.en --ctranslate2     # exports the run and times both
    scripts/bench_decode.py runs/en-de --src test.en --grow docs/decoding-cost.png
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from transformer_cli.data.text import read_lines
from transformer_cli.decoding.lines import Wishes
from transformer_cli.experiment.export import ExportRequest, export_model
from transformer_cli.experiment.inference import LoadedRun, load_run
from transformer_cli.runtime import pick_device, tune_process

Translate = Callable[[], list[int]]
"""Translates the text once; returns the pieces of each translation."""


def ours(loaded: LoadedRun, lines: list[str], **options: Any) -> Translate:
    translator = loaded.translator(options, Wishes(scored=False))

    def run() -> list[int]:
        texts = [t.text for t in translator.translate(lines)]
        return [len(ids) for ids in loaded.vocabularies.tgt.encode(texts)]

    return run


def theirs(
    loaded: LoadedRun, directory: Path, lines: list[str], beam: int, compute: str, workers: int
) -> Translate:
    """CTranslate2 at its best here: workers of one thread, batches of 64 sentences sorted by length."""
    import ctranslate2

    translator = ctranslate2.Translator(
        str(directory), device="cpu", compute_type=compute, inter_threads=workers, intra_threads=1
    )
    pieces = loaded.vocabularies.src.pieces

    def run() -> list[int]:
        sources = [[pieces[i] for i in ids] for ids in loaded.vocabularies.src.encode(lines)]
        found = translator.translate_batch(sources, max_batch_size=64, beam_size=beam, max_decoding_length=100)
        return [len(result.hypotheses[0]) for result in found]

    return run


def time_rounds(settings: dict[str, Translate], rounds: int) -> dict[str, dict[str, float]]:
    """Sentences and pieces a second of each setting."""
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    lengths = {name: run() for name, run in settings.items()}  # warm-up
    for _ in range(rounds):
        for name, run in settings.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    rows = {}
    for name, times in seconds.items():
        median = statistics.median(times)
        rows[name] = {
            "sentences_per_second": round(len(lengths[name]) / median, 1),
            "slowest": round(len(lengths[name]) / max(times), 1),
            "fastest": round(len(lengths[name]) / min(times), 1),
            "pieces_per_second": round(sum(lengths[name]) / median),
            "pieces_per_sentence": round(sum(lengths[name]) / len(lengths[name]), 1),
        }
    return rows


def grow(loaded: LoadedRun, lines: list[str], picture: Path) -> list[dict[str, Any]]:
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
            found = time_rounds({"": ours(loaded, text, **options)}, 2)[""]
            rows.append({label: x, "ms_per_sentence": round(1000 / found["sentences_per_second"], 2)})
        own = rows[-len(points) :]
        axes.plot([r[label] for r in own], [r["ms_per_sentence"] for r in own], marker="o")
        axes.set(xlabel=label, ylabel="milliseconds a sentence", ylim=(0, None))
        axes.grid(alpha=0.3)
        if x / points[0][0] > 8:
            axes.set_xscale("log", base=2)
    figure.savefig(picture, dpi=120)
    return rows


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

    tune_process()
    lines, _ = read_lines(args.src)
    began = time.perf_counter()
    loaded = load_run(args.run, pick_device(args.device))
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "lines": len(lines),
        "load_seconds": round(time.perf_counter() - began, 2),
    }
    if args.grow:
        for row in grow(loaded, lines, args.grow):
            print(", ".join(f"{key} {value}" for key, value in row.items()))
        return
    with tempfile.TemporaryDirectory() as place:
        settings: dict[str, Translate] = {}
        for beam in args.beams:
            for precision in args.precisions:
                for size, listed in itertools.product(args.batch_tokens, args.shortlists):
                    options = {
                        "beam": beam,
                        "precision": precision,
                        "batch_tokens": size or None,
                        "shortlist": listed,
                    }
                    name = f"beam {beam}, {precision}" + f", {size} tokens" * bool(size)
                    settings[name + f", shortlist {listed}" * bool(listed)] = ours(loaded, lines, **options)
        if args.ctranslate2:
            directory = Path(place) / "model"
            export_model(ExportRequest(args.run, directory, "ctranslate2", None, "best", None), print)
            for beam in args.beams:
                for precision in args.precisions:
                    compute = {"fp32": "float32"}.get(precision, precision)
                    run = theirs(loaded, directory, lines, beam, compute, torch.get_num_threads())
                    settings[f"CTranslate2, beam {beam}, {precision}"] = run
        rows = time_rounds(settings, args.rounds)
    for name, row in rows.items():
        peer = rows.get("CTranslate2, " + ", ".join(name.split(", ")[:2]))
        if peer is not None:
            row["ratio_to_ctranslate2"] = round(row["sentences_per_second"] / peer["sentences_per_second"], 2)
    facts["peak_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if args.json:
        print(json.dumps({**facts, "rows": rows}, indent=2))
        return
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
