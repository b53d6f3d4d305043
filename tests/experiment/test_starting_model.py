"""A run that starts from the weights of another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import TINY_RUN, toy_pairs

from transformer_cli.artifacts.loading import load_model
from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.errors import ConfigError
from transformer_cli.experiment.starting_model import matching_tokens
from transformer_cli.experiment.training import TrainingOutcome, TrainRequest, run_training
from transformer_cli.schema import TokenizerConfig
from transformer_cli.training.loop import StopRequest

CPU = torch.device("cpu")


def fine_tune(
    toy: Path, run: Path, start: Path | None, *settings: str, steps: int = 6, **request: Path
) -> tuple[TrainingOutcome, list[str]]:
    messages: list[str] = []
    outcome = run_training(
        TrainRequest(
            run,
            [toy / "train.en"],
            [toy / "train.de"],
            toy / "valid.en",
            toy / "valid.de",
            settings=[f"training.max_steps={steps}", "training.validate_every=100", *settings],
            device="cpu",
            starting_model=start,
            **request,  # type: ignore[arg-type]
        ),
        messages.append,
        StopRequest(),
    )
    return outcome, messages


def weights(run: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    return load_model(run, CPU, checkpoint).model.state_dict()


def test_the_first_checkpoint_is_the_other_model(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    outcome, messages = fine_tune(toy, tmp_path / "run", toy_run)
    first, other = weights(tmp_path / "run", "step_000000000"), weights(toy_run, "best")
    assert all(torch.equal(first[name], other[name]) for name in other)
    assert any(not torch.equal(w, other[name]) for name, w in weights(tmp_path / "run", "last").items())
    entries = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    scores = [e for e in entries if e["kind"] == "validation"]
    assert [s["step"] for s in scores] == [0, 6] and scores[0]["bleu"] > 20
    assert outcome.progress.best_score is not None
    config, start = (RunDirectory(path).load_config() for path in (tmp_path / "run", toy_run))
    assert config.model == start.model and config.optim.lr == pytest.approx(0.3 * start.optim.lr)
    assert any("starting from" in message for message in messages)


def test_an_interrupted_run_resumes_exactly(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    fine_tune(toy, tmp_path / "whole", toy_run, "optim.schedule=constant", steps=8)
    fine_tune(toy, tmp_path / "parts", toy_run, "optim.schedule=constant", steps=3)
    fine_tune(toy, tmp_path / "parts", None, steps=8)
    whole, parts = (weights(tmp_path / name, "last") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_another_vocabulary_keeps_the_tokens_that_both_have(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    text = [line.replace("cat", "yak").replace("Katze", "Yak") for pair in toy_pairs(300) for line in pair]
    tokenizer, _ = train_tokenizer(text, TokenizerConfig(vocab_size=95, byte_fallback=False))
    file = tmp_path / "other.model"
    file.write_bytes(tokenizer.model)
    _, messages = fine_tune(toy, tmp_path / "run", toy_run, tokenizer=file)
    new, old = Tokenizer.load(file), Tokenizer.load(toy_run / "tokenizer.model")
    rows, old_rows = matching_tokens(new, old)
    assert 50 < len(rows) < new.vocab_size
    assert [new.vocabulary[i] for i in rows[4:]] == [old.vocabulary[i] for i in old_rows[4:]]
    first, other = weights(tmp_path / "run", "step_000000000"), weights(toy_run, "best")
    for name, weight in first.items():
        if name.endswith("embedding.weight") or name == "output.weight":
            assert torch.equal(weight[rows], other[name][old_rows])
        else:
            assert torch.equal(weight, other[name])
    assert any(f"{len(rows)} of {new.vocab_size} target tokens keep their embedding" in m for m in messages)


def test_another_architecture_is_refused(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.d_model 32 in .*, 64 here"):
        fine_tune(toy, tmp_path / "run", toy_run, "model.d_model=64")
    with pytest.raises(ConfigError, match="norm_type 'layer' in"):
        fine_tune(toy, tmp_path / "run", toy_run, "model.norm_type=rms")
    assert not (tmp_path / "run").exists()
    fine_tune(toy, tmp_path / "run", toy_run, "model.dropout=0.4", steps=1)


def test_a_run_cannot_start_from_itself_or_change_its_start(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is the run itself"):
        fine_tune(toy, toy_run, toy_run)
    fine_tune(toy, tmp_path / "run", toy_run, steps=1)
    fine_tune(toy, tmp_path / "run", toy_run, steps=2)  # the same again resumes
    fine_tune(toy, tmp_path / "other", None, *TINY_RUN, steps=1)
    with pytest.raises(ConfigError, match="was started from"):
        fine_tune(toy, tmp_path / "run", tmp_path / "other", steps=3)


def test_a_run_without_a_checkpoint_does_not_forget_its_start(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    fine_tune(toy, tmp_path / "run", toy_run, steps=1)
    for path in (tmp_path / "run/checkpoints").iterdir():  # as if killed before the first save
        path.unlink() if path.is_symlink() else path.rename(tmp_path / path.name)
    with pytest.raises(ConfigError, match="was begun with --from"):
        fine_tune(toy, tmp_path / "run", None)
