"""The GPU's plan, carried out in small on the CPU, so that it does not fail where a GPU's minutes are counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from conftest import load_script


def test_the_plan_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = load_script("bench_gpu")
    out = tmp_path / "bench"
    small = [
        "--device",
        "cpu",
        "--presets",
        "tiny",
        "--tokens",
        "512",
        "--lengths",
        "9",
        "--vocab",
        "100",
        "--rounds",
        "1",
        "--sentences",
        "4",
    ]
    bench.main([*small, "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())
    eager, graph, compiled = found["steps"]
    assert eager["tokens/s"] > 0 and 0 < eager["share of the product"] < 1
    assert "needs CUDA" in graph["tokens/s"] and compiled["update"] == "one graph, compiled layers"
    assert found["attention"][0]["padded, ms"] > 0 and found["loss"]["ours, ms"] > 0
    assert len(found["decoding"]) == 8 and found["decoding"][1]["tokens/s"] > 0
    assert "| tiny | 512 |" in out.with_suffix(".md").read_text()
    assert "## steps" in capsys.readouterr().out


def test_the_batches_of_a_measurement_are_of_one_corpus() -> None:
    """As in training: it is sent to the device once."""
    batches = load_script("bench_gpu")._batches(9, 200, 50, 4)
    assert len({(id(pairs.src), id(pairs.tgt)) for pairs in batches}) == 1
    assert all(0 < pairs.tokens <= 200 for pairs in batches)
    assert sum(map(len, batches)) == len(batches[0].src)


def test_on_a_gpu_the_training_benchmark_is_the_whole_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = load_script("bench_train")
    given: list[list[str]] = []
    monkeypatch.setattr(bench, "select_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(bench.bench_gpu, "main", given.append)
    arguments = ["--src", "train.en", "--tgt", "train.de", "--out", "bench"]
    monkeypatch.setattr(sys, "argv", ["bench_train.py", *arguments])
    bench.main()
    assert given == [arguments]
