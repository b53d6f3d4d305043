#!/usr/bin/env python
"""The whole plan of a GPU in one go: matrix product, attention, loss, steps, decoding, Multi30k to its BLEU.

    scripts/bench_gpu.py --out bench                                   # bench.json and bench.md, some minutes
    scripts/bench_gpu.py --out bench --src train.en --tgt train.de --valid-src val.en --valid-tgt val.de

Lengths are drawn so that their mean is that of the corpus they stand for (14 Multi30k, 30 WMT, 60 long sentences);
tokens are target tokens without padding. Every figure is the median of rounds after a warm-up.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli import durable
from transformer_cli.batch import EOS, BatchPlan, Sentences, collate_sentences
from transformer_cli.config import load_config
from transformer_cli.decoding.search.base import run_to_end
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.static import GraphPool, StaticSearch
from transformer_cli.layout import Layout
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.ops.attention import attend, fused_attention
from transformer_cli.ops.varlen import supports_varlen, varlen_attention
from transformer_cli.runtime import matmul_precision, resolve_precision, select_device, tune_process
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.state import TrainState
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.training.update import EagerUpdate, Update

Table = dict[str, Any]
LONGEST = 200
LENGTH = 30
"""Tokens of a sentence that is decoded, source and target."""


def main(arguments: list[str] | None = None) -> None:
    """The plan; `arguments` instead of those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("bench_gpu"), help="OUT.json and OUT.md are written")
    parser.add_argument("--presets", nargs="+", default=["base", "big"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[4_096, 16_384, 65_536], help="of a batch")
    parser.add_argument("--lengths", nargs="+", type=int, default=[14, 30, 60], help="mean lengths for attention")
    parser.add_argument("--vocab", type=int, default=32_000)
    parser.add_argument("--sentences", nargs="+", type=int, default=[256, 1024], help="of a decoding batch")
    parser.add_argument("--rounds", type=int, default=5)
    for name in ("--src", "--tgt", "--valid-src", "--valid-tgt"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args(arguments)
    tune_process()
    device = select_device(args.device)
    flops = matrix_product(device)
    result: Table = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "matrix_product_tflops": round(flops / 1e12, 3),
        "attention": [attention(device, n, max(args.tokens) // 4, args.rounds) for n in args.lengths],
        "loss": loss_head(device, max(args.tokens) // 4, args.vocab, args.rounds),
        "steps": [
            row
            for preset in args.presets
            for tokens in args.tokens
            for row in steps(device, preset, tokens, args.vocab, args.rounds, flops, tokens == max(args.tokens))
        ],
    }
    result["decoding"] = [
        row
        for preset in args.presets
        for beam in (1, 5)
        for count in args.sentences
        for row in decoding(device, preset, beam, count, args.vocab, args.rounds)
    ]
    print(write(result, args.out))
    if args.src:
        result["corpus"] = to_bleu(args, device)
        print(write(result, args.out))


def write(result: Table, out: Path) -> str:
    """`OUT.json` and `OUT.md`; returns the latter's text."""
    text = markdown(result)
    durable.write_text(out.with_suffix(".json"), json.dumps(result, indent=2) + "\n")
    durable.write_text(out.with_suffix(".md"), text)
    return text


def seconds_of(work: Callable[[], object], device: torch.device, rounds: int, calls: int = 5) -> float:
    """Median seconds of one call."""
    times = []
    for _ in range(rounds + 1):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(device)
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times[1:])


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def matrix_product(device: torch.device) -> float:
    """FLOP/s of a square product in the precision that training uses."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / seconds_of(lambda: a @ b, device, 5)


def lengths_of(mean: int, tokens: int, seed: int) -> list[int]:
    """Lengths about their mean whose sum is at most `tokens`."""
    drawn = np.random.default_rng(seed).gamma(4.0, mean / 4.0, tokens).round().astype(int).clip(2, LONGEST - 1)
    return [int(n) for n in drawn[: int(np.searchsorted(drawn.cumsum(), tokens, side="right"))]]


def attention(device: torch.device, mean: int, tokens: int, rounds: int) -> Table:
    """Causal self-attention, 8 heads of 64, forward and backward: packed, and padded on the way."""
    layout = Layout.packed(lengths_of(mean, tokens, 1)).to(device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    q, k, v = (torch.randn(layout.tokens, 8, 64, device=device, dtype=dtype, requires_grad=True) for _ in "qkv")

    def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (layout.pad(x).transpose(1, 2) for x in (q, k, v))
        return layout.unpad(fused_attention(q, k, v, None, True).transpose(1, 2))

    def packed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return varlen_attention(q, k, v, layout, layout, causal=True)

    def chosen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, layout, layout, causal=True)

    kinds = {"padded": padded, "chosen": chosen} | ({"packed": packed} if supports_varlen(q) else {})
    row: Table = {"mean length": mean, "tokens": layout.tokens}
    for name, kernel in kinds.items():
        work = _forward_and_backward(kernel, (q, k, v))
        row[f"{name}, ms"] = round(1e3 * seconds_of(work, device, rounds), 3)
    return row


def _forward_and_backward(kernel: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: torch.autograd.grad(kernel(*inputs).sum(), inputs)


def loss_head(device: torch.device, tokens: int, vocab: int, rounds: int, size: int = 512) -> Table:
    """Output projection, smoothed loss and both gradients: ours, and torch's own parts."""
    h = torch.randn(tokens, size, device=device, requires_grad=True)
    w = torch.randn(vocab, size, device=device, requires_grad=True)
    y = torch.randint(0, vocab, (tokens,), device=device)
    precision = resolve_precision(device, "auto", size)

    def ours() -> object:
        with matmul_precision(device, precision):
            return torch.autograd.grad(label_smoothed_cross_entropy(h, w, y, 0.1)[0], (h, w))

    def theirs() -> object:
        with matmul_precision(device, precision):
            loss = F.cross_entropy(F.linear(h, w), y, label_smoothing=0.1, reduction="sum")
        return torch.autograd.grad(loss, (h, w))

    named = {"ours, ms": ours, "torch, ms": theirs}
    return {"tokens": tokens, "vocabulary": vocab} | {
        name: round(1e3 * seconds_of(work, device, rounds, 2), 2) for name, work in named.items()
    }


def steps(
    device: torch.device, preset: str, tokens: int, vocab: int, rounds: int, flops: float, compiles: bool
) -> Iterator[Table]:
    """Whole updates of one model at one size of batch, each kind of update with a model of its own.

    `compiles`: also with compiled layers, whose first update takes a minute.
    """
    settings = [f"model.preset={preset}", f"data.batch_tokens={tokens}", f"data.max_length={LONGEST}"]
    config = load_config(None, settings)
    batches = _batches(30, tokens, vocab, 4)
    kinds = ["operation by operation", "one graph"] + ["one graph, compiled layers"] * compiles
    for kind in kinds:
        torch.manual_seed(1)
        model = build_model(config.model, vocab, vocab).to(device)
        model.train()
        state = TrainState(model, config.optim, config.training)
        update: Update = EagerUpdate(state, config, print)
        row: Table = {"preset": preset, "batch": tokens, "update": kind}
        if kind != "operation by operation":
            reason = static_unsupported_reason(state, config)
            if reason:
                yield row | {"tokens/s": reason}
                continue
            chosen = config if kind == "one graph" else load_config(None, [*settings, "training.compile=true"])
            update = StaticUpdate(EagerUpdate(state, chosen, print), token_budget(config), print)
        speed = _speed(update, batches, device, rounds)
        if isinstance(update, StaticUpdate):
            row["update"] += _fallen_back(update)
        share = 6 * sum(p.numel() for p in model.parameters()) * speed / flops
        memory = round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None
        yield row | {"tokens/s": round(speed), "share of the product": round(share, 3), "memory, MiB": memory}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)


def _fallen_back(update: StaticUpdate) -> str:
    """What a captured update could not do after all."""
    lost = {"no memory": not update.fits, "no graph": update.graph is None}
    lost["not compiled"] = update.config.training.compile and update.layers is None
    return "".join(f" ({name})" for name, is_lost in lost.items() if is_lost)


def _speed(update: Update, batches: list[BatchPlan], device: torch.device, rounds: int) -> float:
    def once() -> None:
        for pairs in batches:
            update([pairs], pairs.tokens, 1e-4, lambda nll: None)

    return sum(pairs.tokens for pairs in batches) / seconds_of(once, device, rounds, 2)


def _batches(mean: int, tokens: int, vocab: int, count: int) -> list[BatchPlan]:
    """Packed batches of one corpus, each of pairs of like lengths."""
    rng = np.random.default_rng(0)
    lengths = [lengths_of(mean, tokens, seed) for seed in range(count)]
    src, tgt = (Sentences.pack([rng.integers(4, vocab, n - 1) for own in lengths for n in own]) for _ in "st")
    ends = np.cumsum([len(own) for own in lengths])
    return [BatchPlan(src, tgt, rows, packed=True) for rows in np.split(np.arange(ends[-1]), ends[:-1])]


def decoding(device: torch.device, preset: str, beam: int, count: int, vocab: int, rounds: int) -> Iterator[Table]:
    """Search alone, encoder included, of one batch by a model that knows nothing.

    Such a model does not end a sentence, so each goes on to its limit: as many tokens out as in, 30 each, or of
    many lengths with that mean, so that hypotheses move from bucket to bucket.
    """
    torch.manual_seed(1)
    config = load_config(None, [f"model.preset={preset}"]).model
    precision = "bf16" if device.type == "cuda" else "fp32"
    model = prepare_for_inference(build_model(config, vocab, vocab).to(device).eval(), precision)
    rng = np.random.default_rng(1)
    stepwise: Callable[..., Any] = (
        partial(beam_search, beam=beam) if beam > 1 else partial(greedy_search, scored=False)
    )
    for name in ("30 each", "mean 30"):
        lengths = [LENGTH] * count if name == "30 each" else lengths_of(LENGTH, 2 * LENGTH * count, 1)[:count]
        ids, layout = collate_sentences([np.append(rng.integers(4, vocab, n - 1), EOS) for n in lengths])
        given = ids.to(device), layout.to(device), layout.lengths.to(device)
        staged = partial(run_to_end(StaticSearch), source=layout.max_seqlen, beam=beam, scored=beam > 1)
        kinds: dict[str, Callable[..., Any]] = {
            "position by position": stepwise,
            "twin of the graph": partial(staged, graph_pool=GraphPool(captures=False)),
        }
        if device.type == "cuda":
            kinds["one graph a position"] = partial(staged, graph_pool=GraphPool())
        for kind, search in kinds.items():
            work = partial(_translate, model, search, *given)
            work()  # the second captures, and is warm-up too
            seconds = seconds_of(work, device, rounds, 2)
            row = {"preset": preset, "beam": beam, "sentences": count, "lengths": name, "search": kind}
            yield row | {"sentences/s": round(count / seconds), "tokens/s": round(sum(lengths) / seconds)}


def _translate(model: Any, search: Callable[..., Any], ids: Tensor, layout: Layout, limits: Tensor) -> None:
    with torch.inference_mode():
        search(model, model.encode(ids, layout), limits)


def to_bleu(args: argparse.Namespace, device: torch.device) -> list[Table]:
    """A training of one minute by the command line: BLEU over seconds since the process started."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        files = {name: getattr(args, name) for name in ("src", "tgt", "valid_src", "valid_tgt")}
        command = [sys.executable, "-m", "transformer_cli", "train", "--run", str(run), "--device", str(device)]
        for name, path in files.items():
            command += [f"--{name.replace('_', '-')}", str(path)] if path else []
        config = Path(__file__).resolve().parents[1] / "configs/multi30k-en-de.yaml"
        command += [str(config), "--max-minutes", "1", "--set", "training.validate_every=1000"]
        began = time.time()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.time() - began
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        curve = [line for line in lines if line["kind"] == "validation"]
        start = whole - max(line["seconds"] for line in lines)  # before training, and after its end
        return [
            {
                "seconds": round(start + line["seconds"], 1),
                "updates": line["step"],
                "BLEU, greedy": round(line["bleu"], 2),
            }
            for line in curve
        ]


def markdown(result: Table) -> str:
    """The figures as tables."""
    heads = ("torch", "python", "device", "matrix_product_tflops")
    text = ["# One device", "", ", ".join(f"{name} {result[name]}" for name in heads), ""]
    for name in ("attention", "loss", "steps", "decoding", "corpus"):
        rows = result.get(name)
        if rows:
            rows = rows if isinstance(rows, list) else [rows]
            columns = list(dict.fromkeys(key for row in rows for key in row))
            text += [f"## {name}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
            text += ["| " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for row in rows] + [""]
    return "\n".join(text)


if __name__ == "__main__":
    main()
