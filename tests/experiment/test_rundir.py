from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from transformer_cli.config import load_config
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.experiment.recipe import choose_recipe
from transformer_cli.experiment.rundir import RunDirectory, model_hash

HOLD = """
import sys, time
from pathlib import Path
from transformer_cli.experiment.rundir import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_training_at_a_time_and_no_stale_lock(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="another training"), run.locked():
            pass
        other.kill()
        other.wait()
    time.sleep(0.05)
    with run.locked():
        pass


def test_a_run_may_change_its_limits_but_not_its_model(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_config(load_config(None))
    run.refuse_other_config(load_config(None, ["training.max_steps=5", "decoding.beam=2", "training.patience=3"]))
    with pytest.raises(ConfigError) as caught:
        run.refuse_other_config(load_config(None, ["model.dropout=0.5", "training.seed=7"]))
    assert "model.dropout: 0.1 there, 0.5 now" in str(caught.value) and "training.seed" in str(caught.value)


def test_an_empty_directory_is_no_stranger(tmp_path: Path) -> None:
    RunDirectory(tmp_path).refuse_foreign()
    (tmp_path / "notes.tmp").touch()
    with pytest.raises(CheckpointError, match="nothing in it was touched"):
        RunDirectory(tmp_path).refuse_foreign()


@pytest.mark.parametrize("pairs", [10, 4_999, 30_000, 200_000, 5_000_000])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_recipe_is_a_valid_config_with_reasons(pairs: int, on_gpu: bool) -> None:
    recipe = choose_recipe(pairs, pairs * 12, on_gpu=on_gpu)
    config = load_config(None, base=recipe.values)
    assert config.optim.warmup_steps < config.training.max_steps
    assert len(recipe.reasons) >= 5


def test_new_keys_of_other_architectures_do_not_rename_a_model() -> None:
    """A run directory of the first version is still found to be its own."""
    first, model = "2a85380e6184395d3e29cdadae23e04105d10cc908975f41393e9f23c5f08210", ["model.dropout=0.15"]
    assert model_hash(load_config(None, model)) == first
    assert model_hash(load_config(None, [*model, "model.cell=lstm", "model.window=3"])) == first
    assert model_hash(load_config(None, ["model.encoder=rnn", "model.cell=lstm"])) != model_hash(
        load_config(None, ["model.encoder=rnn"])
    )
