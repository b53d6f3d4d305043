#!/usr/bin/env python
"""Show where the time of a GPU goes: kernels of one update and of one search, and the time it waits for the host.

    scripts/profile_gpu.py --preset base --tokens 65536 --out profile       # writes profile.md, about two minutes

For each part the wall-clock time, the time in which the device was busy, and the kernels that take most of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_gpu import DECODED_LENGTH, MAX_LENGTH, sample_lengths, synthetic_batches
from torch.profiler import ProfilerActivity, profile

from transformer_cli import durable
from transformer_cli.batch import collate_sentences
from transformer_cli.config import load_config
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.static_search import StaticSearch
from transformer_cli.decoding.search.base import run_to_end
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.runtime import select_device, tune_process
from transformer_cli.token_ids import EOS
from transformer_cli.training.state import TrainState
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.training.update import EagerUpdate, Update

WARMUP = 6
"""Calls before the measurement: kernels are selected, graphs captured."""


def main(arguments: list[str] | None = None) -> None:
    """Profile all parts; `arguments` replaces the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens per batch of the update")
    parser.add_argument("--sentences", type=int, default=1024, help="sentences of the search")
    parser.add_argument("--vocab", type=int, default=32_000)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--rows", type=int, default=25, help="kernels in each table")
    parser.add_argument("--out", type=Path, default=Path("profile_gpu"), help="writes OUT.md")
    args = parser.parse_args(arguments)
    tune_process()
    device = select_device(args.device)
    parts = update_parts(args, device)
    parts += [(f"search, beam {beam}", search_part(args, device, beam)) for beam in (1, 5)]
    text = "\n".join(profile_part(name, work, device, args.calls, args.rows) for name, work in parts)
    durable.write_text(args.out.with_suffix(".md"), text)
    print(text)


def update_parts(args: argparse.Namespace, device: torch.device) -> list[tuple[str, Callable[[], object]]]:
    """An eager update, and a captured one where the device supports it."""
    settings = [
        f"model.preset={args.preset}",
        f"data.batch_tokens={args.tokens}",
        f"data.max_length={min(MAX_LENGTH, args.tokens)}",
    ]
    config = load_config(None, settings)
    (pairs, *_) = synthetic_batches(30, args.tokens, args.vocab, 1)
    parts: list[tuple[str, Callable[[], object]]] = []
    for kind in ("eager", "captured"):
        torch.manual_seed(1)
        model = build_model(config.model, args.vocab, args.vocab).to(device).train()
        state = TrainState(model, config.optim, config.training)
        update: Update = EagerUpdate(state, config, print)
        if kind == "captured":
            if static_unsupported_reason(state, config):
                continue
            update = StaticUpdate(
                EagerUpdate(state, config, print), token_budget(config, pairs.src, pairs.tgt), print
            )
        parts.append((f"update, {kind}", partial(update, [pairs], pairs.tokens, 1e-4, lambda nll: None)))
    return parts


def search_part(args: argparse.Namespace, device: torch.device, beam: int) -> Callable[[], object]:
    """Encoder and static search of one batch; an untrained model generates the maximum length."""
    torch.manual_seed(1)
    on_gpu = device.type == "cuda"
    config = load_config(None, [f"model.preset={args.preset}"]).model
    model = build_model(config, args.vocab, args.vocab).to(device).eval()
    model = prepare_for_inference(model, "bf16" if on_gpu else "fp32")
    rng, lengths = np.random.default_rng(1), sample_lengths(DECODED_LENGTH, 2 * DECODED_LENGTH * args.sentences, 1)
    sources = [np.append(rng.integers(4, args.vocab, n - 1), EOS) for n in lengths[: args.sentences]]
    ids, layout = collate_sentences(sources)
    ids, layout = ids.to(device), layout.to(device)
    pool = GraphPool(use_graphs=on_gpu)
    static: Any = run_to_end(StaticSearch)

    @torch.inference_mode()
    def search() -> object:
        memory = model.encode(ids, layout)
        return static(
            model, memory, layout.lengths, source=layout.max_seqlen, beam=beam, scored=beam > 1, graph_pool=pool
        )

    return search


def profile_part(name: str, work: Callable[[], object], device: torch.device, calls: int, rows: int) -> str:
    """A table of the kernels of `work`, in milliseconds per call."""
    for _ in range(WARMUP):
        work()
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _synchronize(device)
    wall = 1e3 * (time.perf_counter() - start) / calls
    activities = [ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=activities) as recorded:
        for _ in range(calls):
            work()
        _synchronize(device)
    kernels = [
        (1e-3 * (event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total), event)
        for event in recorded.key_averages()
    ]
    kernels.sort(key=lambda kernel: -kernel[0])
    busy = sum(milliseconds for milliseconds, _ in kernels) / calls
    count = sum(event.count for _, event in kernels) / calls
    lines = [
        f"## {name}",
        "",
        f"{wall:.2f} ms per call; the device is busy for {busy:.2f} ms ({busy / wall:.0%}); {count:,.0f} kernels",
        "",
        "| kernel | ms per call | share | calls | us each |",
        "|---|---|---|---|---|",
    ]
    for milliseconds, event in kernels[:rows]:
        own = milliseconds / calls
        each = 1e3 * milliseconds / event.count
        label = event.key.replace("|", "/")[:100]
        lines.append(f"| `{label}` | {own:.3f} | {own / busy:.1%} | {event.count / calls:,.0f} | {each:.1f} |")
    return "\n".join([*lines, ""])


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
