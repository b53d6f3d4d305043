from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.plots import draw_sweep
from transformer_cli.experiment.sweep import collect, plan
from transformer_cli.schema import Config


def test_plan_has_every_combination_and_seed(tmp_path: Path) -> None:
    members = plan(tmp_path, ["optim.lr=1e-3,3e-3", "optim.betas=[0.9, 0.98],[0.8,0.9]"], 2)
    assert len(members) == 8 and len({m.run for m in members}) == 8
    assert members[0].settings == ("optim.lr=1e-3", "optim.betas=[0.9, 0.98]")
    assert members[0].run == tmp_path / "lr=1e-3_betas=-0.9--0.98-_seed=1"
    assert [m.seed for m in members[:2]] == [1, 2]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["optim.lr"], "expected KEY=VALUE"),
        (["optim.lr=1,,2"], "expected KEY=VALUE"),
        (["optim.lr=1", "optim.lr=2"], "each key once"),
        (["training.seed=1,2"], "use --seeds"),
        (["model.d_model=1/2,1-2"], "same name"),
        ([f"optim.lr={','.join(map(str, range(600)))}"], "more than 1,000"),
    ],
)
def test_grids_that_cannot_be_used(grid: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, grid, 2)


def test_results_are_those_of_the_runs(tmp_path: Path) -> None:
    members = plan(tmp_path, ["optim.lr=1e-3,3e-3,9e-3"], 2)
    for number, member in enumerate(members[:5]):
        run = RunDirectory(member.run)
        member.run.mkdir()
        run.write_config(Config())
        scores = [(10, 5.0 + number), (20, 9.0 - number)]
        records = [{"kind": "validation", "step": s, "bleu": b, "seconds": 60.0 * s} for s, b in scores]
        run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = collect(members, {members[3].run: 3, members[4].run: 0, members[5].run: 2})
    assert result.metric == "bleu" and [m.score for m in result.members] == [9.0, 8.0, 7.0, 8.0, 9.0, None]
    assert [m.step for m in result.members] == [20, 20, 10, 10, 10, 0]
    best, second, third = result.combinations
    assert best.settings == ("optim.lr=9e-3",) and best.mean == 9.0 and best.sd is None and best.failed == 1
    assert second.settings == ("optim.lr=1e-3",) and second.mean == 8.5
    assert second.sd == pytest.approx(0.5**0.5) and second.minutes == 40
    assert third.mean == 7.0 and third.failed == 1
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [row["bleu"] for row in rows] == ["9.0000", "8.0000", "7.0000", "8.0000", "9.0000", ""]
    assert json.loads(json.dumps(result.to_json()))["combinations"][0]["mean"] == 9.0


def test_plot_with_and_without_scores() -> None:
    buffer = io.BytesIO()
    draw_sweep([("lr=$1", [1.0, 2.0]), ("lr=2", [])], "BLEU", buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")
