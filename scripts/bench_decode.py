#!/usr/bin/env python
"""Translation speed of a trained run: sentences and target pieces per second, greedy and beam.

Loading is timed apart; each setting runs several times and the median and the spread are printed.

    scripts/bench_decode.py runs/en-de --src test.en
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from transformer_cli.data.text import read_lines
from transformer_cli.experiment.inference import load_run
from transformer_cli.runtime import pick_device, tune_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--src", type=Path, required=True)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[0], help="0 = the run's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    tune_process()
    lines, _ = read_lines(args.src)
    began = time.perf_counter()
    loaded = load_run(args.run, pick_device(args.device))
    load_seconds = time.perf_counter() - began
    rows: list[dict[str, Any]] = []
    for beam in args.beams:
        for batch_tokens in args.batch_tokens:
            translator = loaded.translator({"beam": beam, "batch_tokens": batch_tokens or None})
            translator.translate(lines[:64])
            seconds = []
            for _ in range(args.rounds):
                began = time.perf_counter()
                translations = translator.translate(lines)
                seconds.append(time.perf_counter() - began)
            pieces = sum(len(ids) for ids in loaded.vocabularies.tgt.encode([t.text for t in translations]))
            rows.append(
                {
                    "beam": beam,
                    "batch_tokens": translator.options.batch_tokens,
                    "sentences_per_second": round(len(lines) / statistics.median(seconds), 1),
                    "slowest": round(len(lines) / max(seconds), 1),
                    "fastest": round(len(lines) / min(seconds), 1),
                    "target_pieces_per_second": round(pieces / statistics.median(seconds)),
                }
            )
    facts = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "lines": len(lines),
        "load_seconds": round(load_seconds, 2),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if args.json:
        print(json.dumps({**facts, "rows": rows}, indent=2))
        return
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
