#!/usr/bin/env python
"""The claims made for attention, measured on every architecture: what docs/architectures.md shows.

    scripts/compare_architectures.py tasks speed        # gradients, copying, speed: made-up data, no corpus
    scripts/compare_architectures.py runs --run "Transformer=runs/a" --run "GRU=runs/b" --src val.en --ref val.de

Pictures and `figures.json` go to docs/architectures; each part replaces its own figures only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from architecture_pictures import Map, draw, draw_maps
from bench_gpu import synchronize
from numpy.typing import NDArray
from tqdm import tqdm

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.batch import BOS, EOS, Batch, TokenIds, collate
from transformer_cli.config import load_config
from transformer_cli.data.text import read_lines
from transformer_cli.decoding.alignment import cross_attention
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.segments import TranslationRequest
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.models.protocol import Memory
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.ops.recurrence import Cell
from transformer_cli.runtime import select_device, tune_process
from transformer_cli.schema import ModelConfig
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.optimizer import clip_gradient

ROOT = Path(__file__).resolve().parents[1]
RNN = {"encoder": "rnn", "decoder": "rnn", "input_feeding": False}
SMALL: dict[str, dict[str, Any]] = {
    "Transformer, rotary": {"positions": "rotary"},
    "Transformer, sinusoids": {"positions": "sinusoidal"},
    "GATv2 encoder": {"encoder": "gat"},
    "TCN": {"encoder": "tcn", "decoder": "tcn", "encoder_layers": 4, "decoder_layers": 4, "d_ff": 52},
    "GRU, additive attention": {**RNN, "cell": "gru", "rnn_attention": "additive", "d_model": 76},
    "LSTM, no attention": {**RNN, "cell": "lstm", "rnn_attention": "none", "d_model": 72},
    "GRU, no attention": {**RNN, "cell": "gru", "rnn_attention": "none", "d_model": 84},
    "tanh, no attention": {**RNN, "cell": "tanh", "rnn_attention": "none", "d_model": 124},
}
"""Small models of about 0.16M parameters, for made-up data."""
CONFIGS = {
    "Transformer": ROOT / "configs/multi30k-en-de.yaml",
    "GATv2 encoder": ROOT / "configs/architectures/gat.yaml",
    "TCN": ROOT / "configs/architectures/tcn.yaml",
    "GRU, additive attention": ROOT / "configs/architectures/rnn.yaml",
}
"""Models of about 2.1M parameters, as trained on Multi30k."""
VOCAB = 20
LONGEST = 12
"""Longest sequence of the training on copying and reversing."""
PROBE = 40
"""Source positions over which gradients are measured."""
PREFIX = 8
"""Target positions before the last one when gradients are measured."""
LENGTHS = (4, 8, 12, 16, 20, 30, 40)

Rng = np.random.Generator
Figures = dict[str, Any]


def small_model(overrides: dict[str, Any]) -> Seq2Seq:
    sizes = dict(d_model=64, num_heads=4, d_ff=128, encoder_layers=2, decoder_layers=2, dropout=0.0)
    torch.manual_seed(1)
    return build_model(ModelConfig(**{**sizes, **overrides}), VOCAB, VOCAB)


def parameters(model: Seq2Seq) -> int:
    return sum(p.numel() for p in model.parameters())


def pairs(task: str, lengths: NDArray[np.int64], rng: Rng) -> tuple[list[TokenIds], list[TokenIds]]:
    """Sequences to copy or to reverse."""
    words = [rng.integers(4, VOCAB, n) for n in lengths]
    said = words if task == "copy" else [w[::-1] for w in words]
    return [np.append(w, EOS) for w in words], [np.append(w, EOS) for w in said]


def source_gradients(model: Seq2Seq, sequences: int = 32) -> list[float]:
    """Norm of ∂ loss of the last target position / ∂ source embedding, for each source position.

    Source and target are drawn at random, so that a trained model, too, has something left to be told: the
    curve shows which positions the answer hears from, not how well it has learned.
    """
    rng = np.random.default_rng(7)
    src, tgt = ([rng.integers(4, VOCAB, n) for _ in range(sequences)] for n in (PROBE, PREFIX + 1))
    batch = collate(src, tgt)
    embedded = model.src_embedding(batch.src).detach().requires_grad_()
    memory = Memory(model.encoder(embedded, batch.src_layout), batch.src_layout)
    states = model.decoder(model.tgt_embedding(batch.tgt_in), batch.tgt_layout, memory)
    last = model.logits(batch.tgt_layout.flatten(states)).view(sequences, PREFIX + 1, -1)[:, -1]
    loss = F.cross_entropy(last, torch.from_numpy(np.stack(tgt))[:, -1], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, embedded)
    found: list[float] = gradient.norm(dim=-1).mean(dim=0).tolist()
    return found


def spectral_radii(model: Seq2Seq) -> dict[str, float]:
    """Largest absolute eigenvalue of each recurrent matrix; of gated cells, of the map to the new content."""
    content = {1: 0, 3: 2, 4: 2}  # the gate of each kind of cell that makes the new content
    found = {}
    for name, cell in model.named_modules():
        if isinstance(cell, Cell):
            matrix = cell.recurrent.detach().chunk(cell.gates)[content[cell.gates]]
            found[name] = round(float(torch.linalg.eigvals(matrix).abs().max()), 3)
    return found


def learn(model: Seq2Seq, task: str, steps: int, bar: tqdm[Any]) -> float:
    """Train on sequences of up to `LONGEST`; returns seconds."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    rng, began = np.random.default_rng(0), time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50, (steps - step) / (steps / 2))
        batch = collate(*pairs(task, np.full(64, rng.integers(1, LONGEST + 1)), rng))
        loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.0)
        model.zero_grad()
        torch.autograd.backward(loss / batch.tokens)
        clip_gradient(model, 1.0)
        optimizer.step()
        bar.update()
    model.eval()
    return round(time.perf_counter() - began, 1)


@torch.no_grad()
def success(model: Seq2Seq, task: str, length: int, sequences: int = 100) -> tuple[float, float]:
    """(Share of positions that are right, share of sequences that are), greedy."""
    src, tgt = pairs(task, np.full(sequences, length), np.random.default_rng(100 + length))
    batch = collate(src, tgt)
    limits = torch.full((sequences,), length + 5)
    found = [h for [h] in greedy_search(model, model.encode(batch.src, batch.src_layout), limits)]
    right = [
        sum(a == b for a, b in zip(h.tokens, t[:-1].tolist(), strict=False)) / length
        for h, t in zip(found, tgt, strict=True)
    ]
    whole = [h.tokens == t[:-1].tolist() for h, t in zip(found, tgt, strict=True)]
    return round(statistics.mean(right), 3), round(statistics.mean(map(float, whole)), 3)


def measure_tasks(steps: int) -> Figures:
    """Copy and reverse: trained short, tested long; gradients and spectral radii before and after."""
    rows: dict[str, Any] = {}
    with tqdm(total=2 * steps * len(SMALL), unit="step", desc="tasks") as bar:
        for name, task in itertools.product(SMALL, ("copy", "reverse")):
            model = small_model(SMALL[name]).eval()
            row = rows.setdefault(name, {"parameters": parameters(model)})
            row.setdefault("at initialisation", probes(model))
            seconds = learn(model, task, steps, bar)
            row[task] = {"seconds": seconds, "lengths": {n: success(model, task, n) for n in LENGTHS}}
            row[f"after {task}"] = probes(model)
    return {"steps": steps, "longest": LONGEST, "models": rows}


def probes(model: Seq2Seq) -> Figures:
    return {"gradients": source_gradients(model), "spectral radii": spectral_radii(model)}


def measure_speed(device: torch.device, tokens: int, updates: int) -> Figures:
    """Target tokens a second of forward, backward and update against sentence length."""
    lengths = [n for n in (8, 16, 32, 64, 128, 256) if n <= tokens]
    cases = {name: load_config(path).model for name, path in CONFIGS.items()}
    fed = cases["GRU, additive attention"]
    cases["GRU, additive attention, no input feeding"] = fed.model_copy(update={"input_feeding": False})
    rows: dict[str, Any] = {name: {} for name in cases}
    for name, length in tqdm(list(itertools.product(cases, lengths)), desc="speed"):
        torch.manual_seed(1)
        model = build_model(cases[name], 4000, 4000).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        batch = of_length(length, tokens // length).to(device)
        seconds = [timed(lambda: update(model, optimizer, batch), device) for _ in range(updates + 1)]  # noqa: B023
        rows[name][length] = round(batch.tokens / statistics.median(seconds[1:]))  # the first warms up
    return {"device": str(device), "batch_tokens": tokens, "target tokens a second": rows}


def of_length(length: int, sentences: int) -> Batch:
    rng = np.random.default_rng(0)
    sides = ([rng.integers(4, 4000, length) for _ in range(sentences)] for _ in range(2))
    return collate(*sides)


def update(model: Seq2Seq, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
    model.zero_grad()
    torch.autograd.backward(loss / batch.tokens)
    optimizer.step()


def timed(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def measure_runs(
    runs: dict[str, LoadedModel], places: dict[str, Path], src: list[str], ref: list[str], device: torch.device
) -> Figures:
    """BLEU and speed of trained runs, greedy and with their beam."""
    rows: dict[str, Any] = {}
    for name, loaded in tqdm(runs.items(), desc="runs"):
        last = list(validations(places[name]))[-1]
        row: Figures = {
            "parameters": parameters(loaded.model),
            "updates": last["step"],
            "minutes": round(last["seconds"] / 60, 1),
            "validation loss": round(last["loss"], 3),
        }
        for label, options in {"greedy": {"beam": 1}, "beam": {}}.items():
            translator = loaded.translator(options, TranslationRequest(scored=False))
            list(translator.translate(src[:50]))  # warm-up
            said: list[str] = []
            seconds = timed(lambda: said.extend(t.text for t in translator.translate(src)), device)  # noqa: B023
            row[label] = {
                "BLEU": round(quick_scores(said, ref)[0], 2),
                "sentences a second": round(len(src) / seconds, 1),
            }
        row["spectral radii"] = spectral_radii(loaded.model)
        rows[name] = row
    return rows


def validations(run: Path) -> Iterator[Figures]:
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n"):
        if line and (entry := json.loads(line))["kind"] == "validation":
            yield entry


def map_of(loaded: LoadedModel, sentence: str) -> Map | None:
    """Cross-attention of a sentence and its translation, `[T + 1, S + 1]`, and the names of both sides."""
    target = loaded.translator().translate([sentence])[0].text
    (src,), (tgt,) = loaded.vocabularies.src.encode([sentence]), loaded.vocabularies.tgt.encode([target])
    try:
        (weights,) = cross_attention(loaded.model, [src], [tgt])
    except ConfigError:
        return None
    rows = [loaded.vocabularies.tgt.vocabulary[i] for i in [BOS, *tgt]]
    return torch.from_numpy(weights), rows, [loaded.vocabularies.src.vocabulary[i] for i in [*src, EOS]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["tasks", "speed", "runs"])
    parser.add_argument("--steps", type=int, default=1500, help="updates of each small model")
    parser.add_argument("--tokens", type=int, default=2048, help="target tokens of a batch, for speed")
    parser.add_argument("--updates", type=int, default=3, help="timed updates of each length, for speed")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=RUN")
    parser.add_argument("--src", type=Path)
    parser.add_argument("--ref", type=Path)
    parser.add_argument("--sentence", default="A man in a blue shirt is standing on a ladder cleaning a window.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/architectures")
    args = parser.parse_args()
    if "runs" in args.parts and not (args.run and args.src and args.ref):
        parser.error("runs needs --run NAME=RUN, --src and --ref")

    tune_process()
    device = select_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    book = args.out / "figures.json"
    figures = json.loads(book.read_text()) if book.exists() else {}
    if "tasks" in args.parts:
        figures["tasks"] = measure_tasks(args.steps)
    if "speed" in args.parts:
        figures[f"speed on {device.type}"] = measure_speed(device, args.tokens, args.updates)
    if "runs" in args.parts:
        places = {name: Path(place) for name, _, place in (given.partition("=") for given in args.run)}
        runs = {name: load_model(place, device) for name, place in places.items()}
        src, ref = read_lines(args.src)[0], read_lines(args.ref)[0]
        figures["runs"] = measure_runs(runs, places, src, ref, device)
        maps = {name: map_of(loaded, args.sentence) for name, loaded in runs.items()}
        draw_maps({name: found for name, found in maps.items() if found}, args.out / "attention.png")
    # As it will be read again: keys of numbers become strings.
    figures = json.loads(json.dumps(figures))
    book.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    draw(figures, args.out)
    print(f"figures: {book}")


if __name__ == "__main__":
    main()
