#!/usr/bin/env python
"""Training speed: target tokens per second without padding, and its share of the matrix product speed.

The speed of the matrix product is measured before the first round and after each round, because the speed
of a shared machine varies. Warm-up updates are discarded, and start-up time is reported separately. Each
figure is the median of the rounds, with minimum and maximum.

    scripts/bench_train.py --src train.en --tgt train.de

    scripts/bench_train.py --device cuda [--src ... --tgt ... --valid-src ... --valid-tgt ...]

On a CUDA device and without --set, this runs scripts/bench_gpu.py and accepts its options.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

import bench_gpu
import torch
from bench_common import matmul_flops, matmul_share, num_parameters, peak_rss_mib, timed

from transformer_cli.config import load_config
from transformer_cli.data.batching import BatchStream
from transformer_cli.data.corpus import read_parallel
from transformer_cli.data.store import EncodedCorpus, encode_corpus
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.models.registry import build_model
from transformer_cli.runtime import matmul_precision, resolve_precision, select_device, tune_process
from transformer_cli.schema import Config
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
WARMUP_UPDATES = 6


def main() -> None:
    """Parse the options, measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--src", type=Path, default=ROOT / "data/sample/train.en")
    parser.add_argument("--tgt", type=Path, default=ROOT / "data/sample/train.de")
    parser.add_argument(
        "--set", action="append", default=[], help="configuration override, as for train; default: the small model"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12, help="updates per round")
    parser.add_argument("--json", action="store_true")
    args, unknown = parser.parse_known_args()

    tune_process()
    device = select_device(args.device)
    if device.type == "cuda" and not args.set:
        bench_gpu.main(sys.argv[1:])
        return
    if unknown:
        parser.error(f"options of bench_gpu.py, only valid on a CUDA device without --set: {' '.join(unknown)}")
    result = measure(args, device)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    for key, value in result.items():
        print(f"{key:26} {value}")


def measure(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Train for the requested rounds; return the figures and the settings they belong to."""
    config = load_config(None, [*SMALL, *args.set])
    precision = resolve_precision(device, config.training.precision, config.model.d_model)
    start_up, (tokenizer, corpus) = timed(lambda: prepare_corpus(args.src, args.tgt, config))

    torch.manual_seed(1)
    model = build_model(config.model, tokenizer.vocab_size, tokenizer.vocab_size).to(device)
    state = TrainState(model, config.optim, config.training)
    stream = BatchStream(lambda epoch: corpus, config.data.batch_tokens, 1)
    source_and_target = {"padded": 0, "tokens": 0}

    def update() -> int:
        """Run one update; return the number of target tokens."""
        batch = next(stream).collate().to(device)
        source_and_target["padded"] += batch.src.numel() + batch.tgt_in.numel()
        source_and_target["tokens"] += batch.src_layout.tokens + batch.tokens
        model.zero_grad(set_to_none=True)
        with matmul_precision(device, precision):
            loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
        torch.autograd.backward(loss / batch.tokens)
        clip_gradient(model, 1.0)
        with matmul_precision(device, precision):
            state.optimizer.step()
        return batch.tokens

    for _ in range(WARMUP_UPDATES):
        update()
    speeds, shares, flops = [], [], [matmul_flops(device)]
    parameters = num_parameters(model)
    for _ in range(args.rounds):
        seconds, tokens = timed(lambda: sum(update() for _ in range(args.steps)), device)
        speeds.append(tokens / seconds)
        flops.append(matmul_flops(device))
        shares.append(matmul_share(parameters, speeds[-1], statistics.mean(flops[-2:])))
    return {
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
        "target_tokens_per_second": _summary(speeds, None),
        "matrix_product_gflops": _summary([f / 1e9 for f in flops], 1),
        "share_of_matrix_product": round(statistics.median(shares), 3),
        "padding_share": round(1 - source_and_target["tokens"] / source_and_target["padded"], 3),
        "peak_rss_mib": peak_rss_mib(),
    }


def prepare_corpus(src: Path, tgt: Path, config: Config) -> tuple[Tokenizer, EncodedCorpus]:
    """Read the corpus, train a joint tokenizer on it, and encode it."""
    text = read_parallel([src], [tgt])
    tokenizer, _ = train_tokenizer([*text.src, *text.tgt], config.tokenizer)
    return tokenizer, encode_corpus(text, tokenizer, tokenizer, config.data)


def _summary(values: list[float], digits: int | None) -> dict[str, float]:
    """Median, minimum and maximum; `digits` as for `round`."""
    summary = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in summary.items()}


if __name__ == "__main__":
    main()
