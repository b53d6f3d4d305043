#!/usr/bin/env python
"""Training speed: non-padding target tokens per second, and the share of what the matrix product gives.

The matrix product is probed before, between and after the timed rounds of the same run, for machines are
shared and their speed swings. Warm-up is discarded, start-up reported apart, the median and the spread printed.

    scripts/bench_train.py --src train.en --tgt train.de

    scripts/bench_train.py --device cuda [--src ... --tgt ... --valid-src ... --valid-tgt ...]

On a GPU, without --set, this is the whole plan of scripts/bench_gpu.py, whose options it takes: attention, loss,
steps of base and big, decoding, time to a BLEU.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import bench_gpu
import torch
from bench_gpu import synchronize

from transformer_cli.config import load_config
from transformer_cli.data.batching import BatchStream
from transformer_cli.data.corpus import read_parallel
from transformer_cli.data.store import encode_corpus
from transformer_cli.data.tokenizer import train_tokenizer
from transformer_cli.models.registry import build_model
from transformer_cli.runtime import matmul_precision, resolve_precision, select_device, tune_process
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.optimizer import clip_gradient
from transformer_cli.training.state import TrainState

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "model.preset=small",
    "tokenizer.vocab_size=8000",
    "data.batch_tokens=4096",
    "training.precision=fp32",
]


def matrix_product(device: torch.device, size: int = 2048, seconds: float = 0.7) -> float:
    """FLOP/s of a square fp32 product, best of several."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, default=ROOT / "data/sample/train.en")
    parser.add_argument("--tgt", type=Path, default=ROOT / "data/sample/train.de")
    parser.add_argument(
        "--set", action="append", default=[], help="configuration, as for train; default: the small model"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12, help="updates a round")
    parser.add_argument("--json", action="store_true")
    args, others = parser.parse_known_args()

    tune_process()
    device = select_device(args.device)
    if device.type == "cuda" and not args.set:
        bench_gpu.main(sys.argv[1:])
        return
    if others:
        parser.error(f"only for the plan of a GPU: {' '.join(others)}")
    config = load_config(None, [*SMALL, *args.set])
    precision = resolve_precision(device, config.training.precision, config.model.d_model)
    began = time.perf_counter()
    text = read_parallel([args.src], [args.tgt])
    tokenizer, _ = train_tokenizer(text.src + text.tgt, config.tokenizer)
    corpus = encode_corpus(text, tokenizer, tokenizer, config.data)
    start_up = time.perf_counter() - began

    torch.manual_seed(1)
    model = build_model(config.model, tokenizer.vocab_size, tokenizer.vocab_size).to(device)
    state = TrainState(model, config.optim, config.training)
    stream = BatchStream(lambda epoch: corpus, config.data.batch_tokens, 1)
    padded = {"cells": 0, "tokens": 0}

    def update() -> int:
        batch = next(stream).collate().to(device)
        padded["cells"] += batch.src.numel() + batch.tgt_in.numel()
        padded["tokens"] += batch.src_layout.tokens + batch.tokens
        model.zero_grad(set_to_none=True)
        with matmul_precision(device, precision):
            loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
        torch.autograd.backward(loss / batch.tokens)
        clip_gradient(model, 1.0)
        with matmul_precision(device, precision):
            state.optimizer.step()
        return batch.tokens

    for _ in range(6):
        update()
    speeds, shares, products = [], [], [matrix_product(device)]
    parameters = sum(p.numel() for p in model.parameters())
    for _ in range(args.rounds):
        synchronize(device)
        began = time.perf_counter()
        tokens = sum(update() for _ in range(args.steps))
        synchronize(device)
        speeds.append(tokens / (time.perf_counter() - began))
        products.append(matrix_product(device))
        # 2 multiply-adds forward and 4 backward for each weight and token.
        shares.append(6 * parameters * speeds[-1] / statistics.mean(products[-2:]))
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "model": f"d {config.model.d_model}, FFN {config.model.d_ff}, "
        f"{config.model.encoder_layers}+{config.model.decoder_layers}, V {tokenizer.vocab_size}",
        "precision": precision,
        "parameters": parameters,
        "batch_tokens": config.data.batch_tokens,
        "start_up_seconds": round(start_up, 2),
        "target_tokens_per_second": {
            "median": round(statistics.median(speeds)),
            "min": round(min(speeds)),
            "max": round(max(speeds)),
        },
        "matrix_product_gflops": {
            "median": round(statistics.median(products) / 1e9, 1),
            "min": round(min(products) / 1e9, 1),
            "max": round(max(products) / 1e9, 1),
        },
        "share_of_matrix_product": round(statistics.median(shares), 3),
        "padding_share": round(1 - padded["tokens"] / padded["cells"], 3),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return
    for key, value in result.items():
        print(f"{key:26} {value}")


if __name__ == "__main__":
    main()
