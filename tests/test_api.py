"""The Python API gives what the commands give, and importing it costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_RUN, cli, toy_pairs

import transformer_cli
from transformer_cli import Translation, Translator, UserError, train

LINES = ["The cat sees the house today.", "", *(s for s, _ in toy_pairs(6, seed=4))]


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, transformer_cli; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_stable_names_exist() -> None:
    assert all(hasattr(transformer_cli, name) for name in transformer_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Tokenizer'"):
        transformer_cli.Tokenizer  # noqa: B018


def test_translations_are_those_of_the_command(toy_run: Path) -> None:
    translator = Translator.load(toy_run)
    for options in ({}, {"beam": 1}, {"beam": 3, "length_penalty": 0.0}):
        arguments = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
        done = cli("translate", toy_run, *arguments, stdin="".join(line + "\n" for line in LINES).encode())
        texts = [translation.text for translation in translator.translate(LINES, **options)]
        assert done.stdout.decode().split("\n")[:-1] == texts
    blank = translator.translate(LINES)[1]
    assert isinstance(blank, Translation) and (blank.text, blank.status) == ("", "empty")


def test_what_can_be_asked(toy_run: Path) -> None:
    translator = Translator.load(str(toy_run), checkpoint="last", device="cpu")
    (first, *_) = translator.translate(LINES, n_best=3, align=True, terms=[("cat", "Vogel")])
    assert len(first.alternatives) == 3 and first.alternatives[0].text == first.text and "Vogel" in first.text
    assert first.links and first.token_log_probs
    assert translator.translate(LINES[:1], prefixes=["Heute"])[0].text.startswith("Heute")
    assert "Vogel" not in translator.translate(LINES[:1], avoid=["Vogel"], beam=4)[0].text
    (joined,) = translator.translate(["The cat\nsees the house."])
    assert joined.text and "\n" not in joined.text
    assert translator.config.model.d_model == 32
    finished: list[int] = []
    translator.translate(LINES, progress=finished.append)
    assert sum(finished) == len(LINES) - 1


def test_mistakes_are_user_errors(toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        Translator.load(tmp_path / "none")
    for options in ({"beam": 0}, {"beams": 5}, {"temperature": 2.0}, {"n_best": 9}, {"engine": "c"}):
        with pytest.raises(UserError):
            Translator.load(toy_run).translate(LINES, **options)  # type: ignore[arg-type]


def _parse(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def test_training_from_a_program(toy: Path, tmp_path: Path) -> None:
    settings = {key: _parse(value) for key, value in (setting.split("=") for setting in TINY_RUN)}
    messages: list[str] = []
    arguments = dict(valid_src=toy / "valid.en", valid_tgt=str(toy / "valid.de"), notify=messages.append)
    outcome = train(
        tmp_path / "run",
        toy / "train.en",
        [toy / "train.de"],
        settings={**settings, "training.max_steps": 6},
        **arguments,  # type: ignore[arg-type]
    )
    assert (outcome.steps, outcome.progress.step) == (6, 6) and messages
    outcome = train(
        str(tmp_path / "run"),
        [toy / "train.en"],
        toy / "train.de",
        settings={**settings, "training.max_steps": 8},
        **arguments,  # type: ignore[arg-type]
    )
    assert (outcome.steps, outcome.progress.step) == (2, 8)
    assert Translator.load(tmp_path / "run", checkpoint="last").translate(["A cat."])[0].status == "ok"
    with pytest.raises(UserError):
        train(tmp_path / "run2", toy / "train.en", toy / "train.de", settings={"model.d_modle": 3})
