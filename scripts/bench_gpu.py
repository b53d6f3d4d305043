#!/usr/bin/env python
"""Benchmark a GPU: matrix product, attention, loss, updates, decoding, and time to a BLEU score on a corpus.

    scripts/bench_gpu.py --out bench                                   # bench.json and bench.md, some minutes
    scripts/bench_gpu.py --out bench --src train.en --tgt train.de --valid-src val.en --valid-tgt val.de

Sentence lengths are sampled with the mean of a type of corpus: 14 for Multi30k, 30 for WMT, 60 for long
sentences. Tokens are target tokens without padding. Each time is the median of the rounds after a warm-up.
"""

from __future__ import annotations

import argparse
import json
import platform
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
from bench_common import format_fields, matmul_flops, matmul_share, median_seconds, num_parameters
from torch import Tensor

from transformer_cli import durable
from transformer_cli.batch import BatchPlan, Sentences, collate_sentences
from transformer_cli.config import load_config
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.static_search import StaticSearch
from transformer_cli.decoding.search.base import run_to_end
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.layout import Layout
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.ops.attention import attend, fused_attention
from transformer_cli.ops.varlen import supports_varlen, varlen_attention
from transformer_cli.runtime import matmul_precision, resolve_precision, select_device, tune_process
from transformer_cli.token_ids import EOS
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.state import TrainState
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.training.update import EagerUpdate, Update

Row = dict[str, Any]
"""Column names and values of one row of a table."""
MAX_LENGTH = 200
DECODED_LENGTH = 30
"""Source and target tokens of a sentence in the decoding benchmark."""


def main(arguments: list[str] | None = None) -> None:
    """Run all benchmarks; `arguments` replaces the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("bench_gpu"), help="writes OUT.json and OUT.md")
    parser.add_argument("--presets", nargs="+", default=["base", "big"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[4_096, 16_384, 65_536], help="tokens per batch")
    parser.add_argument("--lengths", nargs="+", type=int, default=[14, 30, 60], help="mean lengths for attention")
    parser.add_argument("--vocab", type=int, default=32_000)
    parser.add_argument(
        "--sentences", nargs="+", type=int, default=[256, 1024], help="sentences per batch in decoding"
    )
    parser.add_argument("--rounds", type=int, default=5)
    for name in ("--src", "--tgt", "--valid-src", "--valid-tgt"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args(arguments)
    tune_process()
    device = select_device(args.device)
    flops = matmul_flops(device, _training_dtype(device))
    max_tokens = max(args.tokens)
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "matrix_product_tflops": round(flops / 1e12, 3),
        "attention": [measure_attention(device, n, max_tokens // 4, args.rounds) for n in args.lengths],
        "loss": measure_loss(device, max_tokens // 4, args.vocab, args.rounds),
        "steps": [
            row
            for preset in args.presets
            for tokens in args.tokens
            for row in measure_updates(
                device, preset, tokens, args.vocab, args.rounds, flops, with_compiled=tokens == max_tokens
            )
        ],
    }
    result["decoding"] = [
        row
        for preset in args.presets
        for beam in (1, 5)
        for count in args.sentences
        for row in measure_decoding(device, preset, beam, count, args.vocab, args.rounds)
    ]
    print(write_results(result, args.out))
    if args.src:
        result["corpus"] = measure_time_to_bleu(args, device)
        print(write_results(result, args.out))


def write_results(result: dict[str, Any], out: Path) -> str:
    """Write `OUT.json` and `OUT.md`; return the text of the latter."""
    text = format_markdown(result)
    durable.write_text(out.with_suffix(".json"), json.dumps(result, indent=2) + "\n")
    durable.write_text(out.with_suffix(".md"), text)
    return text


def format_markdown(result: dict[str, Any]) -> str:
    """Format the results as tables."""
    header = {name: result[name] for name in ("torch", "python", "device", "matrix_product_tflops")}
    text = ["# One device", "", format_fields(header), ""]
    for name in ("attention", "loss", "steps", "decoding", "corpus"):
        rows = result.get(name)
        if rows:
            rows = rows if isinstance(rows, list) else [rows]
            columns = list(dict.fromkeys(key for row in rows for key in row))
            text += [f"## {name}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
            text += ["| " + " | ".join(str(row.get(c, "")) for c in columns) + " |" for row in rows] + [""]
    return "\n".join(text)


def sample_lengths(mean: int, tokens: int, seed: int) -> list[int]:
    """Sample lengths with this mean from a gamma distribution; their sum is at most `tokens`."""
    lengths = (
        np.random.default_rng(seed).gamma(4.0, mean / 4.0, tokens).round().astype(int).clip(2, MAX_LENGTH - 1)
    )
    return [int(n) for n in lengths[: int(np.searchsorted(lengths.cumsum(), tokens, side="right"))]]


def measure_attention(device: torch.device, mean: int, tokens: int, rounds: int) -> Row:
    """Causal self-attention, 8 heads of size 64, forward and backward, on packed sentences.

    `padded` pads the sentences, `packed` is the variable-length kernel, `chosen` is what `attend` selects.
    """
    layout = Layout.packed(sample_lengths(mean, tokens, 1)).to(device)
    dtype = _training_dtype(device)
    q, k, v = (torch.randn(layout.tokens, 8, 64, device=device, dtype=dtype, requires_grad=True) for _ in "qkv")

    def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (layout.pad(x).transpose(1, 2) for x in (q, k, v))
        return layout.unpad(fused_attention(q, k, v, None, True).transpose(1, 2))

    def packed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return varlen_attention(q, k, v, layout, layout, causal=True)

    def chosen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v, layout, layout, causal=True)

    kernels = {"padded": padded, "chosen": chosen} | ({"packed": packed} if supports_varlen(q) else {})
    row: Row = {"mean length": mean, "tokens": layout.tokens}
    for name, kernel in kernels.items():
        work = _forward_and_backward(kernel, (q, k, v))
        row[f"{name}, ms"] = round(1e3 * median_seconds(work, device, rounds), 3)
    return row


def _forward_and_backward(kernel: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[[], object]:
    return lambda: torch.autograd.grad(kernel(*inputs).sum(), inputs)


def _training_dtype(device: torch.device) -> torch.dtype:
    """The data type of matrix products in training."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def measure_loss(device: torch.device, tokens: int, vocab: int, rounds: int, d_model: int = 512) -> Row:
    """Output projection and label-smoothed loss with both gradients: this project's, and torch's functions."""
    h = torch.randn(tokens, d_model, device=device, requires_grad=True)
    w = torch.randn(vocab, d_model, device=device, requires_grad=True)
    y = torch.randint(0, vocab, (tokens,), device=device)
    precision = resolve_precision(device, "auto", d_model)

    def project_loss() -> object:
        with matmul_precision(device, precision):
            return torch.autograd.grad(label_smoothed_cross_entropy(h, w, y, 0.1)[0], (h, w))

    def torch_loss() -> object:
        with matmul_precision(device, precision):
            loss = F.cross_entropy(F.linear(h, w), y, label_smoothing=0.1, reduction="sum")
        return torch.autograd.grad(loss, (h, w))

    columns = {"ours, ms": project_loss, "torch, ms": torch_loss}
    return {"tokens": tokens, "vocabulary": vocab} | {
        name: round(1e3 * median_seconds(work, device, rounds, 2), 2) for name, work in columns.items()
    }


def measure_updates(
    device: torch.device, preset: str, tokens: int, vocab: int, rounds: int, flops: float, with_compiled: bool
) -> Iterator[Row]:
    """Whole updates of a model at one batch size; each type of update has a new model.

    Args:
        flops: Speed of the matrix product, for the share of it that an update reaches.
        with_compiled: Also measure compiled layers, whose first update takes a minute.
    """
    settings = [f"model.preset={preset}", f"data.batch_tokens={tokens}", f"data.max_length={MAX_LENGTH}"]
    config = load_config(None, settings)
    batches = synthetic_batches(30, tokens, vocab, 4)
    for kind in ["eager", "CUDA graph"] + ["CUDA graph, compiled layers"] * with_compiled:
        torch.manual_seed(1)
        model = build_model(config.model, vocab, vocab).to(device)
        model.train()
        state = TrainState(model, config.optim, config.training)
        update: Update = EagerUpdate(state, config, print)
        row: Row = {"preset": preset, "batch": tokens, "update": kind}
        if kind != "eager":
            reason = static_unsupported_reason(state, config)
            if reason:
                yield row | {"tokens/s": reason}
                continue
            compiled = load_config(None, [*settings, "training.compile=true"])
            eager = EagerUpdate(state, config if kind == "CUDA graph" else compiled, print)
            update = StaticUpdate(eager, token_budget(config, batches[0].src, batches[0].tgt), print)
        speed = _tokens_per_second(update, batches, device, rounds)
        if isinstance(update, StaticUpdate):
            row["update"] += _fallbacks(update)
        share = matmul_share(num_parameters(model), speed, flops)
        memory = round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else None
        yield row | {"tokens/s": round(speed), "share of the product": round(share, 3), "memory, MiB": memory}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)


def _fallbacks(update: StaticUpdate) -> str:
    """The fallbacks that a static update resorted to, in parentheses."""
    fallbacks = {"no memory": not update.fits, "no graph": update.graph is None}
    fallbacks["not compiled"] = update.config.training.compile and update.layers is None
    return "".join(f" ({name})" for name, used in fallbacks.items() if used)


def _tokens_per_second(update: Update, batches: list[BatchPlan], device: torch.device, rounds: int) -> float:
    def update_all() -> None:
        for pairs in batches:
            update([pairs], pairs.tokens, 1e-4, lambda nll: None)

    return sum(pairs.tokens for pairs in batches) / median_seconds(update_all, device, rounds, 2)


def synthetic_batches(mean: int, tokens: int, vocab: int, count: int) -> list[BatchPlan]:
    """Packed batches of one random corpus; source and target of a pair are equally long."""
    rng = np.random.default_rng(0)
    lengths = [sample_lengths(mean, tokens, seed) for seed in range(count)]
    src, tgt = (Sentences.pack([rng.integers(4, vocab, n - 1) for batch in lengths for n in batch]) for _ in "st")
    ends = np.cumsum([len(batch) for batch in lengths])
    return [BatchPlan(src, tgt, rows, packed=True) for rows in np.split(np.arange(ends[-1]), ends[:-1])]


def measure_decoding(
    device: torch.device, preset: str, beam: int, count: int, vocab: int, rounds: int
) -> Iterator[Row]:
    """Encoder and search, without tokenization, of one batch with an untrained model.

    An untrained model practically never generates EOS, so every hypothesis reaches its maximum length: the
    length of its source. Sources have 30 tokens each, or varying lengths with that mean, so that the number
    of active hypotheses shrinks and static search changes its bucket.
    """
    torch.manual_seed(1)
    config = load_config(None, [f"model.preset={preset}"]).model
    precision = "bf16" if device.type == "cuda" else "fp32"
    model = prepare_for_inference(build_model(config, vocab, vocab).to(device).eval(), precision)
    rng = np.random.default_rng(1)
    eager: Callable[..., Any] = (
        partial(beam_search, beam=beam) if beam > 1 else partial(greedy_search, scored=False)
    )
    for name in ("30 each", "mean 30"):
        lengths = (
            [DECODED_LENGTH] * count
            if name == "30 each"
            else sample_lengths(DECODED_LENGTH, 2 * DECODED_LENGTH * count, 1)[:count]
        )
        ids, layout = collate_sentences([np.append(rng.integers(4, vocab, n - 1), EOS) for n in lengths])
        inputs = ids.to(device), layout.to(device), layout.lengths.to(device)
        static = partial(run_to_end(StaticSearch), source=layout.max_seqlen, beam=beam, scored=beam > 1)
        searches: dict[str, Callable[..., Any]] = {
            "eager": eager,
            "static shapes, no graph": partial(static, graph_pool=GraphPool(use_graphs=False)),
        }
        if device.type == "cuda":
            searches["static shapes, CUDA graphs"] = partial(static, graph_pool=GraphPool())
        for kind, search in searches.items():
            work = partial(_decode, model, search, *inputs)
            work()  # graphs are captured by the second call, which is in the warm-up round
            seconds = median_seconds(work, device, rounds, 2)
            row = {"preset": preset, "beam": beam, "sentences": count, "lengths": name, "search": kind}
            yield row | {"sentences/s": round(count / seconds), "tokens/s": round(sum(lengths) / seconds)}


def _decode(model: Any, search: Callable[..., Any], ids: Tensor, layout: Layout, max_lengths: Tensor) -> None:
    with torch.inference_mode():
        search(model, model.encode(ids, layout), max_lengths)


def measure_time_to_bleu(args: argparse.Namespace, device: torch.device) -> list[Row]:
    """Train for one minute with the command line: BLEU against seconds since the start of the process."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        files = {name: getattr(args, name) for name in ("src", "tgt", "valid_src", "valid_tgt")}
        command = [sys.executable, "-m", "transformer_cli", "train", "--run", str(run), "--device", str(device)]
        for name, path in files.items():
            command += [f"--{name.replace('_', '-')}", str(path)] if path else []
        config = Path(__file__).resolve().parents[1] / "configs/multi30k-en-de.yaml"
        command += [str(config), "--max-minutes", "1", "--set", "training.validate_every=1000"]
        start = time.time()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        total = time.time() - start
        entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        # The seconds in the metrics count training only; attribute all other time to the start.
        overhead = total - max(entry["seconds"] for entry in entries)
        return [
            {
                "seconds": round(overhead + entry["seconds"], 1),
                "updates": entry["step"],
                "BLEU, greedy": round(entry["bleu"], 2),
            }
            for entry in entries
            if entry["kind"] == "validation"
        ]


if __name__ == "__main__":
    main()
