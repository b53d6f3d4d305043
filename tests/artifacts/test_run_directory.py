from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from transformer_cli.artifacts.run_directory import RunDirectory, hash_architecture
from transformer_cli.config import load_config
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.survey import survey_text
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.experiment.recipe import choose_recipe


def compete_for_lock(run: RunDirectory, start: int, result: int) -> None:
    """In a child process: wait for the start, try to lock, report `w` (won) or `l` (lost), hold until killed."""
    os.read(start, 1)
    try:
        with run.locked():
            os.write(result, b"w")
            signal.pause()
    except CheckpointError:
        os.write(result, b"l")
    finally:
        os._exit(0)


def test_lock_is_exclusive_and_never_stale(tmp_path: Path) -> None:
    run, processes = RunDirectory(tmp_path / "run"), 3
    for _ in range(50):
        start_out, start_in = os.pipe()
        result_out, result_in = os.pipe()
        children = []
        for _ in range(processes):
            child = os.fork()
            if child == 0:
                compete_for_lock(run, start_out, result_in)
            children.append(child)
        try:
            os.write(start_in, b"." * processes)
            results = b"".join(os.read(result_out, 1) for _ in range(processes))
            assert sorted(results) == sorted(b"w" + b"l" * (processes - 1))
            with pytest.raises(CheckpointError, match="another transformer-cli process"), run.locked():
                pass
        finally:  # the winner waits until it is killed, and would keep the stdout of the tests open
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        with run.locked():  # the lock of a killed process is released immediately
            pass
        for descriptor in (start_out, start_in, result_out, result_in):
            os.close(descriptor)


def test_resuming_may_change_limits_but_not_the_model(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.write_config(load_config(None))
    run.require_same_config(load_config(None, ["training.max_steps=5", "decoding.beam=2", "training.patience=3"]))
    with pytest.raises(ConfigError) as caught:
        run.require_same_config(load_config(None, ["model.dropout=0.5", "training.seed=7"]))
    assert "model.dropout: 0.1 in the run, 0.5 given" in str(caught.value) and "training.seed" in str(caught.value)


def test_empty_directories_are_accepted(tmp_path: Path) -> None:
    RunDirectory(tmp_path).require_run_or_empty()
    (tmp_path / "notes.tmp").touch()
    with pytest.raises(CheckpointError, match="nothing in it was changed"):
        RunDirectory(tmp_path).require_run_or_empty()


@pytest.mark.parametrize("pairs", [10, 4_999, 30_000, 200_000, 1_100_000])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_recipe_is_a_valid_config_with_reasons(pairs: int, on_gpu: bool) -> None:
    recipe = choose_recipe(pairs, 12 * pairs, 0, on_gpu=on_gpu)
    config = load_config(None, base=recipe.values)
    assert config.optim.warmup_steps < config.training.max_steps
    assert len(recipe.reasons) >= 5


def test_languages_without_spaces_get_a_similar_number_of_updates() -> None:
    """Split at spaces, a Chinese sentence would be one word, and the run ten times too short."""
    texts = ["Heute ist das Wetter sehr schön und alle gehen nach draußen."], ["今天天气很好,所有人都出去玩。"]
    surveys = [survey_text(ParallelText(text * 30_000, text * 30_000)) for text in texts]
    recipes = [choose_recipe(s.pairs, s.words, s.characters, on_gpu=False) for s in surveys]
    steps = [recipe.values["training"]["max_steps"] for recipe in recipes]
    assert 0.4 < steps[1] / steps[0] < 1.6


def test_architecture_hash_ignores_keys_of_other_architectures() -> None:
    """Run directories of the first version keep their hash."""
    first, model = "2a85380e6184395d3e29cdadae23e04105d10cc908975f41393e9f23c5f08210", ["model.dropout=0.15"]
    assert hash_architecture(load_config(None, model)) == first
    assert hash_architecture(load_config(None, [*model, "model.cell=lstm", "model.window=3"])) == first
    assert hash_architecture(load_config(None, ["model.encoder=rnn", "model.cell=lstm"])) != hash_architecture(
        load_config(None, ["model.encoder=rnn"])
    )
