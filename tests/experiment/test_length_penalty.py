"""The length penalty is chosen on the validation set and kept in the configuration of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from transformer_cli.artifacts.loading import load_model
from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.data.corpus import ParallelText, read_corpus
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.experiment import length_penalty
from transformer_cli.experiment.length_penalty import LADDER, climb, tune_length_penalty
from transformer_cli.experiment.training import TrainRequest, run_training
from transformer_cli.training.loop import StopRequest


@pytest.mark.parametrize(
    ("scores", "best", "tried"),
    [
        ({1.0: 30, 1.4: 31, 2.0: 32, 3.0: 31.5}, 2.0, {1.0, 1.4, 2.0, 3.0}),
        ({1.0: 30, 1.4: 31, 2.0: 32, 3.0: 33}, 3.0, {1.0, 1.4, 2.0, 3.0}),
        ({1.0: 30, 1.4: 29, 0.6: 31, 0.0: 30}, 0.6, {0.0, 0.6, 1.0, 1.4}),
        ({1.0: 30, 1.4: 30.01, 0.6: 30.02}, 1.0, {0.6, 1.0, 1.4}),  # noise
        ({1.0: 40.09, 1.4: 40.24, 2.0: 40.32, 3.0: 40.34}, 1.4, {1.0, 1.4, 2.0, 3.0}),
        ({1.0: 30, 1.4: 29, 0.6: 29}, 1.0, {0.6, 1.0, 1.4}),
        (dict.fromkeys(LADDER, 0.0), 1.0, {0.6, 1.0, 1.4}),
    ],
)
def test_climb(scores: dict[float, float], best: float, tried: set[float]) -> None:
    found = climb(lambda penalty: scores[penalty])
    assert set(found) == tried
    assert length_penalty.best_penalty(found) == best


@pytest.fixture
def run(toy_run_copy: Path) -> RunDirectory:
    (toy_run_copy / "evaluation/length_penalty.json").unlink(missing_ok=True)
    return RunDirectory(toy_run_copy)


def valid_text(toy: Path) -> ParallelText:
    return read_corpus(CorpusFiles([toy / "valid.en"], [toy / "valid.de"]))


def test_the_choice_is_written_to_the_configuration(
    toy: Path, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {1.0: 30.0, 1.4: 31.0, 2.0: 30.5}
    monkeypatch.setattr(length_penalty, "climb", lambda score: scores)
    messages: list[str] = []
    config, text = run.load_config(), valid_text(toy)
    arguments = (text, torch.device("cpu"), messages.append)
    assert tune_length_penalty(run, config, *arguments) == 1.4
    assert run.load_config().decoding.length_penalty == 1.4
    assert run.load_config().model_dump(exclude={"decoding"}) == config.model_dump(exclude={"decoding"})
    kept = json.loads((run.evaluation / "length_penalty.json").read_text())
    assert kept["bleu"] == {"1": 30.0, "1.4": 31.0, "2": 30.5} and kept["length_penalty"] == 1.4
    assert "length penalty 1.4 chosen" in messages[-1]

    monkeypatch.setattr(length_penalty, "climb", lambda score: pytest.fail("searched again"))
    run.write_config(config)  # as `train --config` does
    assert tune_length_penalty(run, config, *arguments) == 1.4
    assert run.load_config().decoding.length_penalty == 1.4


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[1]", '{"checkpoint": "CHECKPOINT", "beam": 5}'])
def test_damaged_results_are_replaced(
    toy: Path, run: RunDirectory, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(length_penalty, "climb", lambda score: {1.0: 30.0, 1.4: 31.0})
    file = run.evaluation / "length_penalty.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(content.replace("CHECKPOINT", (run.checkpoints / "best").resolve().name))
    device = torch.device("cpu")
    assert tune_length_penalty(run, run.load_config(), valid_text(toy), device, lambda message: None) == 1.4


def test_scores_are_those_of_beam_search(toy: Path, run: RunDirectory) -> None:
    config, text = run.load_config(), valid_text(toy)
    chosen = tune_length_penalty(run, config, text, torch.device("cpu"), lambda message: None)
    kept = json.loads((run.evaluation / "length_penalty.json").read_text())
    translator = load_model(run.path, torch.device("cpu")).translator({"length_penalty": 1.4})
    translations = [t.text for t in translator.translate(text.src)]
    assert kept["bleu"]["1.4"] == round(quick_scores(translations, text.tgt)[0], 2)
    assert chosen == kept["length_penalty"]


@pytest.mark.parametrize("after", [0, 1])
def test_a_stop_changes_nothing(toy: Path, run: RunDirectory, after: int) -> None:
    calls = iter([False] * after + [True] * 10)
    config, before = run.load_config(), run.config.read_bytes()
    chosen = tune_length_penalty(
        run, config, valid_text(toy), torch.device("cpu"), lambda message: None, lambda: next(calls)
    )
    assert chosen is None and run.config.read_bytes() == before
    assert not (run.evaluation / "length_penalty.json").exists()


def test_train_without_a_configuration_tunes_unless_a_penalty_is_given(toy: Path, tmp_path: Path) -> None:
    files = ([toy / "train.en"], [toy / "train.de"], toy / "valid.en", toy / "valid.de")
    for name, settings in (("tuned", []), ("given", ["decoding.length_penalty=0.7"])):
        size = ["tokenizer.vocab_size=400", "model.d_model=32", "model.d_ff=64", "training.max_steps=4"]
        request = TrainRequest(tmp_path / name, *files, settings=[*size, *settings], device="cpu")
        run_training(request, lambda message: None, StopRequest())
        kept = tmp_path / name / "evaluation/length_penalty.json"
        assert kept.exists() == (name == "tuned")
        penalty = RunDirectory(tmp_path / name).load_config().decoding.length_penalty
        assert penalty == (json.loads(kept.read_text())["length_penalty"] if kept.exists() else 0.7)
