"""The GPU benchmark, run on the CPU with small sizes, so that it does not fail on a device where time is limited."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from conftest import load_script

SMALL = [
    *("--device", "cpu"),
    *("--presets", "tiny"),
    *("--tokens", "512"),
    *("--lengths", "9"),
    *("--vocab", "100"),
    *("--rounds", "1"),
    *("--sentences", "4"),
]


def test_all_measurements_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = load_script("bench_gpu")
    out = tmp_path / "bench"
    bench.main([*SMALL, "--out", str(out)])
    result = json.loads(out.with_suffix(".json").read_text())
    eager, graph, compiled = result["steps"]
    assert eager["tokens/s"] > 0 and 0 < eager["share of the product"] < 1
    assert "need a CUDA device" in graph["tokens/s"] and compiled["update"] == "CUDA graph, compiled layers"
    assert result["attention"][0]["padded, ms"] > 0 and result["loss"]["ours, ms"] > 0
    assert len(result["decoding"]) == 8 and result["decoding"][1]["tokens/s"] > 0
    assert "| tiny | 512 |" in out.with_suffix(".md").read_text()
    assert "## steps" in capsys.readouterr().out


def test_synthetic_batches_share_one_corpus() -> None:
    """As in training, where the corpus is copied to the device once."""
    batches = load_script("bench_gpu").synthetic_batches(9, 200, 50, 4)
    assert len({(id(pairs.src), id(pairs.tgt)) for pairs in batches}) == 1
    assert all(0 < pairs.tokens <= 200 for pairs in batches)
    assert sum(map(len, batches)) == len(batches[0].src)


def test_bench_train_runs_the_gpu_benchmark_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load_script("bench_train")
    calls: list[list[str]] = []
    monkeypatch.setattr(bench, "select_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(bench.bench_gpu, "main", calls.append)
    arguments = ["--src", "train.en", "--tgt", "train.de", "--out", "bench"]
    monkeypatch.setattr(sys, "argv", ["bench_train.py", *arguments])
    bench.main()
    assert calls == [arguments]


def test_the_profile_runs(tmp_path: Path) -> None:
    out = tmp_path / "profile"
    sizes = [
        "--preset",
        "tiny",
        "--tokens",
        "300",
        "--sentences",
        "2",
        "--vocab",
        "60",
        "--calls",
        "1",
        "--rows",
        "2",
    ]
    load_script("profile_gpu").main([*sizes, "--device", "cpu", "--out", str(out)])
    text = out.with_suffix(".md").read_text()
    assert text.count("ms per call") == 6 and "## update, eager" in text and "## search, beam 5" in text
