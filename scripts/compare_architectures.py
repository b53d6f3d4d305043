#!/usr/bin/env python
"""Test common claims about attention on every architecture: the measurements of docs/architectures.md.

    scripts/compare_architectures.py tasks speed        # gradients, copying, speed: random data, no corpus
    scripts/compare_architectures.py runs --run "Transformer=runs/a" --run "GRU=runs/b" --src val.en --ref val.de

Writes pictures and `figures.json` to docs/architectures; each part replaces only its own figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from architecture_pictures import AttentionMap, draw, draw_maps
from bench_common import num_parameters, timed
from numpy.typing import NDArray
from tqdm import tqdm

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.batch import Batch, collate
from transformer_cli.config import load_config
from transformer_cli.data.text import read_lines
from transformer_cli.decoding.alignment import cross_attention
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.models.protocol import Memory
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.ops.recurrence import Cell
from transformer_cli.runtime import select_device, tune_process
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import BOS, EOS, TokenIds
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
"""Models of about 0.16M parameters, for random data."""
CONFIGS = {
    "Transformer": ROOT / "configs/multi30k-en-de.yaml",
    "GATv2 encoder": ROOT / "configs/architectures/gat.yaml",
    "TCN": ROOT / "configs/architectures/tcn.yaml",
    "GRU, additive attention": ROOT / "configs/architectures/rnn.yaml",
}
"""Models of about 2.1M parameters, trained on Multi30k."""
VOCAB = 20
TASKS = ("copy", "reverse")
MAX_TRAIN_LENGTH = 12
"""Longest sequence in training on copying and reversing."""
GRADIENT_SRC_LENGTH = 40
"""Source positions for which gradients are measured."""
GRADIENT_PREFIX_LENGTH = 8
"""Target positions before the last one when gradients are measured."""
TEST_LENGTHS = (4, 8, 12, 16, 20, 30, 40)

Rng = np.random.Generator
Figures = dict[str, Any]


def small_model(overrides: dict[str, Any]) -> Seq2Seq:
    """Build a model for random data; `overrides` replace values of the configuration."""
    sizes = dict(d_model=64, num_heads=4, d_ff=128, encoder_layers=2, decoder_layers=2, dropout=0.0)
    torch.manual_seed(1)
    return build_model(ModelConfig(**{**sizes, **overrides}), VOCAB, VOCAB)


def sample_pairs(task: str, lengths: NDArray[np.int64], rng: Rng) -> tuple[list[TokenIds], list[TokenIds]]:
    """Sample random sequences; return them with EOS, and the same copied or reversed."""
    sources = [rng.integers(4, VOCAB, n) for n in lengths]
    targets = sources if task == "copy" else [source[::-1] for source in sources]
    return [np.append(x, EOS) for x in sources], [np.append(x, EOS) for x in targets]


def source_gradients(model: Seq2Seq, sequences: int = 32) -> list[float]:
    """Return the norm of ∂ loss at the last target position / ∂ source embedding, per source position.

    Source and target are independent random sequences, so the loss of a trained model is not near zero. The
    gradients then show on which source positions the prediction depends, not how well the model has learned.
    """
    rng = np.random.default_rng(7)
    src_length, tgt_length = GRADIENT_SRC_LENGTH, GRADIENT_PREFIX_LENGTH + 1
    src, tgt = ([rng.integers(4, VOCAB, n) for _ in range(sequences)] for n in (src_length, tgt_length))
    batch = collate(src, tgt)
    embedded = model.src_embedding(batch.src).detach().requires_grad_()
    memory = Memory(model.encoder(embedded, batch.src_layout), batch.src_layout)
    states = model.decoder(model.tgt_embedding(batch.tgt_in), batch.tgt_layout, memory)
    logits = model.logits(batch.tgt_layout.flatten(states)).view(sequences, tgt_length, -1)  # [B, T, V]
    loss = F.cross_entropy(logits[:, -1], torch.from_numpy(np.stack(tgt))[:, -1], reduction="sum")
    (gradient,) = torch.autograd.grad(loss, embedded)
    norms: list[float] = gradient.norm(dim=-1).mean(dim=0).tolist()  # [S]
    return norms


def spectral_radii(model: Seq2Seq) -> dict[str, float]:
    """Return the largest absolute eigenvalue of each recurrent matrix.

    In gated cells, this is the matrix of the candidate state.
    """
    candidate_chunk = {1: 0, 3: 2, 4: 2}  # by number of chunks: tanh, GRU, LSTM
    radii = {}
    for name, cell in model.named_modules():
        if isinstance(cell, Cell):
            matrix = cell.recurrent.detach().chunk(cell.gates)[candidate_chunk[cell.gates]]
            radii[name] = round(float(torch.linalg.eigvals(matrix).abs().max()), 3)
    return radii


def train_on_task(model: Seq2Seq, task: str, steps: int, bar: tqdm[Any]) -> None:
    """Train on sequences of 1 to `MAX_TRAIN_LENGTH` tokens."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
    rng = np.random.default_rng(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50, (steps - step) / (steps / 2))
        batch = collate(*sample_pairs(task, np.full(64, rng.integers(1, MAX_TRAIN_LENGTH + 1)), rng))
        loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.0)
        model.zero_grad()
        torch.autograd.backward(loss / batch.tokens)
        clip_gradient(model, 1.0)
        optimizer.step()
        bar.update()
    model.eval()


@torch.no_grad()
def accuracy(model: Seq2Seq, task: str, length: int, sequences: int = 100) -> tuple[float, float]:
    """Return the accuracy of greedy search per position and per sequence."""
    src, tgt = sample_pairs(task, np.full(sequences, length), np.random.default_rng(100 + length))
    batch = collate(src, tgt)
    max_lengths = torch.full((sequences,), length + 5)
    hypotheses = [h for [h] in greedy_search(model, model.encode(batch.src, batch.src_layout), max_lengths)]
    per_position = [
        sum(a == b for a, b in zip(h.tokens, t[:-1].tolist(), strict=False)) / length
        for h, t in zip(hypotheses, tgt, strict=True)
    ]
    per_sequence = [float(h.tokens == t[:-1].tolist()) for h, t in zip(hypotheses, tgt, strict=True)]
    return round(statistics.mean(per_position), 3), round(statistics.mean(per_sequence), 3)


def measure_tasks(steps: int) -> Figures:
    """Train on short sequences, test on long ones; gradients and spectral radii before and after."""
    rows: dict[str, Any] = {}
    with tqdm(total=len(TASKS) * steps * len(SMALL), unit="step", desc="tasks") as bar:
        for name, task in itertools.product(SMALL, TASKS):
            model = small_model(SMALL[name]).eval()
            row = rows.setdefault(name, {"parameters": num_parameters(model)})
            row.setdefault("at initialisation", measure_dynamics(model))
            seconds, _ = timed(lambda: train_on_task(model, task, steps, bar))  # noqa: B023
            accuracies = {n: accuracy(model, task, n) for n in TEST_LENGTHS}
            row[task] = {"seconds": round(seconds, 1), "lengths": accuracies}
            row[f"after {task}"] = measure_dynamics(model)
    return {"steps": steps, "longest": MAX_TRAIN_LENGTH, "models": rows}


def measure_dynamics(model: Seq2Seq) -> Figures:
    """Measure the gradients at the source positions, and the spectral radii of recurrent matrices."""
    return {"gradients": source_gradients(model), "spectral radii": spectral_radii(model)}


def measure_speed(device: torch.device, tokens: int, updates: int) -> Figures:
    """Measure target tokens per second of whole updates against sentence length."""
    lengths = [n for n in (8, 16, 32, 64, 128, 256) if n <= tokens]
    cases = {name: load_config(path).model for name, path in CONFIGS.items()}
    gru = cases["GRU, additive attention"]
    cases["GRU, additive attention, no input feeding"] = gru.model_copy(update={"input_feeding": False})
    rows: dict[str, Any] = {name: {} for name in cases}
    for name, length in tqdm(list(itertools.product(cases, lengths)), desc="speed"):
        torch.manual_seed(1)
        model = build_model(cases[name], 4000, 4000).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        batch = random_batch(length, tokens // length).to(device)
        seconds = [timed(lambda: update(model, optimizer, batch), device)[0] for _ in range(updates + 1)]  # noqa: B023
        rows[name][length] = round(batch.tokens / statistics.median(seconds[1:]))  # the first is the warm-up
    return {"device": str(device), "batch_tokens": tokens, "target tokens a second": rows}


def random_batch(length: int, sentences: int) -> Batch:
    """Random pairs of this length on both sides, for a vocabulary of 4,000."""
    rng = np.random.default_rng(0)
    sides = ([rng.integers(4, 4000, length) for _ in range(sentences)] for _ in range(2))
    return collate(*sides)


def update(model: Seq2Seq, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Forward, backward and optimizer step."""
    loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
    model.zero_grad()
    torch.autograd.backward(loss / batch.tokens)
    optimizer.step()


def measure_runs(
    runs: dict[str, LoadedModel],
    directories: dict[str, Path],
    src: list[str],
    ref: list[str],
    device: torch.device,
) -> Figures:
    """Measure BLEU and speed of trained runs, with greedy search and with the beam of their configuration."""
    rows: dict[str, Any] = {}
    for name, loaded in tqdm(runs.items(), desc="runs"):
        last = list(validations(directories[name]))[-1]
        row: Figures = {
            "parameters": num_parameters(loaded.model),
            "updates": last["step"],
            "minutes": round(last["seconds"] / 60, 1),
            "validation loss": round(last["loss"], 3),
        }
        for label, options in {"greedy": {"beam": 1}, "beam": {}}.items():
            translator = loaded.translator(options, TranslationRequest(scored=False))
            list(translator.translate(src[:50]))  # warm-up
            seconds, translations = timed(lambda: [t.text for t in translator.translate(src)], device)  # noqa: B023
            row[label] = {
                "BLEU": round(quick_scores(translations, ref)[0], 2),
                "sentences a second": round(len(src) / seconds, 1),
            }
        row["spectral radii"] = spectral_radii(loaded.model)
        rows[name] = row
    return rows


def validations(run: Path) -> Iterator[Figures]:
    """Yield the entries of the run's validations, in order."""
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n"):
        if line and (entry := json.loads(line))["kind"] == "validation":
            yield entry


def attention_map(loaded: LoadedModel, sentence: str) -> AttentionMap | None:
    """Translate a sentence; return the cross-attention `[T + 1, S + 1]` and the tokens of both sides.

    None if the model has no cross-attention weights.
    """
    target = loaded.translator().translate([sentence])[0].text
    (src,), (tgt,) = loaded.vocabularies.src.encode([sentence]), loaded.vocabularies.tgt.encode([target])
    try:
        (weights,) = cross_attention(loaded.model, [src], [tgt])
    except ConfigError:
        return None
    queries = [loaded.vocabularies.tgt.vocabulary[i] for i in [BOS, *tgt]]
    keys = [loaded.vocabularies.src.vocabulary[i] for i in [*src, EOS]]
    return torch.from_numpy(weights), queries, keys


def main() -> None:
    """Parse the options, measure the requested parts, and write figures and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["tasks", "speed", "runs"])
    parser.add_argument("--steps", type=int, default=1500, help="updates per model and task, for tasks")
    parser.add_argument("--tokens", type=int, default=2048, help="target tokens per batch, for speed")
    parser.add_argument("--updates", type=int, default=3, help="timed updates per length, for speed")
    parser.add_argument("--run", action="append", default=[], metavar="NAME=RUN")
    parser.add_argument("--src", type=Path)
    parser.add_argument("--ref", type=Path)
    parser.add_argument("--sentence", default="A man in a blue shirt is standing on a ladder cleaning a window.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/architectures")
    args = parser.parse_args()
    if "runs" in args.parts and not (args.run and args.src and args.ref):
        parser.error("the part runs needs --run NAME=RUN, --src and --ref")

    tune_process()
    device = select_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    figures_file = args.out / "figures.json"
    figures = json.loads(figures_file.read_text()) if figures_file.exists() else {}
    if "tasks" in args.parts:
        figures["tasks"] = measure_tasks(args.steps)
    if "speed" in args.parts:
        figures[f"speed on {device.type}"] = measure_speed(device, args.tokens, args.updates)
    if "runs" in args.parts:
        directories = {name: Path(run) for name, _, run in (option.partition("=") for option in args.run)}
        runs = {name: load_model(run, device) for name, run in directories.items()}
        src, ref = read_lines(args.src)[0], read_lines(args.ref)[0]
        figures["runs"] = measure_runs(runs, directories, src, ref, device)
        maps = {name: attention_map(loaded, args.sentence) for name, loaded in runs.items()}
        draw_maps({name: weights for name, weights in maps.items() if weights}, args.out / "attention.png")
    # New figures get string keys, as those read from the file have.
    figures = json.loads(json.dumps(figures))
    figures_file.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    draw(figures, args.out)
    print(f"figures: {figures_file}")


if __name__ == "__main__":
    main()
