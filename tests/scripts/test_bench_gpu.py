"""The GPU's plan, carried out in small on the CPU, so that it does not fail where a GPU's minutes are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
