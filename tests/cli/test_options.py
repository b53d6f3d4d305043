"""The options that come from the schema, and the help screens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from conftest import cli, load_script
from typer.testing import CliRunner

from transformer_cli.cli.app import app
from transformer_cli.cli.options import schema_options
from transformer_cli.config import load_config
from transformer_cli.models.registry import DECODERS, ENCODERS
from transformer_cli.options import options_of
from transformer_cli.schema import Config, DecodingConfig, TrainingConfig

COMMANDS = (
    "train",
    "check",
    "clean",
    "average",
    "config",
    "translate",
    "evaluate",
    "compare",
    "report",
    "score",
    "inspect",
    "export",
)
WIDE = {"COLUMNS": "200", "TERM": "dumb"}


def help_of(*command: str) -> str:
    done = CliRunner().invoke(app, [*command, "--help"], env=WIDE)
    assert done.exit_code == 0
    return re.sub(r"\s+", " ", done.output.replace("│", " "))


def test_command_receives_only_given_options() -> None:
    received: list[Any] = []
    program = typer.Typer()

    @program.command()
    @schema_options(DecodingConfig, "beam", "sample", "precision", "length_penalty")
    def command(name: Annotated[str, typer.Argument()], overrides: dict[str, Any], loud: bool = False) -> None:
        """Do it."""
        received.append((name, overrides, loud))

    run = CliRunner().invoke
    assert run(program, ["x", "--beam", "3", "--length-penalty", "0.5", "--loud"]).exit_code == 0
    assert run(program, ["y", "--sample", "--precision", "int8"]).exit_code == 0
    assert run(program, ["z"]).exit_code == 0
    assert received == [
        ("x", {"beam": 3, "length_penalty": 0.5}, True),
        ("y", {"sample": True, "precision": "int8"}, False),
        ("z", {}, False),
    ]
    assert run(program, ["x", "--beam", "wide"]).exit_code == 2


def test_unknown_key_fails_an_assertion() -> None:
    with pytest.raises(AssertionError, match="does not have"):
        schema_options(TrainingConfig, "max_step")


def test_every_decoding_key_is_an_option_of_translate() -> None:
    text = help_of("translate")
    for option in options_of(DecodingConfig):
        assert f"{option.flag} " in text and option.help in text
        assert option.type is bool or f"(default {option.default_text}" in text
        assert not option.panel or f"─ {option.panel} ─" in text


def test_help_shows_one_sided_ranges_and_no_types_of_flags() -> None:
    text = help_of("translate")
    assert (
        "Requires --sample or --mbr-samples. (default 1; above 0, at most 1)" in text
        and "(default 0; at least 0)" in text
    )
    assert "translate [OPTIONS] RUN [INPUT]" in text
    for command in ((), ("tokenizer",), ("tokenizer", "train"), ("translate",), ("config",)):
        assert "<bool>" not in help_of(*command), command


def test_values_of_architectures_are_those_of_the_registry() -> None:
    values = {option.path: option.range for option in options_of(Config)}
    assert values["model.encoder"] == ", ".join(ENCODERS) and values["model.decoder"] == ", ".join(DECODERS)
    assert all(values[option.path] or option.type is bool for option in options_of(Config))


def test_reference_marks_required_options_and_shows_defaults() -> None:
    text = load_script("generate_reference").reference()
    assert "| `--to` bundle\\|ctranslate2 | Format of the exported model. Required. |" in text
    assert "Default: attention.png." in text and "Default: cross." in text and "Default: text." in text


def test_every_key_has_a_help_text() -> None:
    options = list(options_of(Config))
    assert len({option.path for option in options}) == len(options) > 70
    assert all(option.help.endswith(".") and len(option.help) < 200 for option in options)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_examples_and_a_summary(command: str) -> None:
    screen = help_of(command)
    assert screen.count("$ transformer-cli ") in (2, 3)
    summary = re.findall(rf"{command} ([A-Z].*?\.) ", help_of())
    assert summary and summary[0] in screen and "..." not in summary[0]


def test_train_names_the_sections_of_set() -> None:
    assert all(section in help_of("train") for section in Config.model_fields)


def test_colours_require_a_terminal() -> None:
    assert b"\x1b[" not in cli("translate", "--help").stdout
    assert b"\x1b[" in cli("translate", "--help", FORCE_COLOR="1").stdout


def test_config_shows_every_key_with_default_and_range() -> None:
    text = cli("config").stdout.decode()
    for option in options_of(Config):
        assert f"{option.path} = {option.default_text}" in text
    some = cli("config", "optim.betas", "tokenizer").stdout.decode()
    assert "optim.betas = [0.9, 0.98]" in some and "tokenizer.joint = true" in some and "decoding" not in some
    assert "vocab_size = 8000   (8 to 256,000)" in some and "unigram, bpe, char" in some


def test_config_as_yaml_is_the_default_configuration(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_bytes(cli("config", "--yaml").stdout)
    assert load_config(tmp_path / "all.yaml") == Config()
    (tmp_path / "some.yaml").write_bytes(cli("config", "--yaml", "data.filters", "optim").stdout)
    assert load_config(tmp_path / "some.yaml") == Config()
    assert "# " in (tmp_path / "all.yaml").read_text()


def test_completion_can_be_installed(tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "transformer-cli")
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run([program, "--install-completion", "bash"], env=environment, capture_output=True)
    assert done.returncode == 0 and (tmp_path / ".bashrc").exists(), done.stderr.decode()
    script = next(tmp_path.glob(".bash_completions/*"))
    assert "_TRANSFORMER_CLI_COMPLETE" in script.read_text()
    words = {"_TRANSFORMER_CLI_COMPLETE": "complete_bash", "COMP_WORDS": "transformer-cli tra", "COMP_CWORD": "1"}
    completed = subprocess.run([program], env={**environment, **words}, capture_output=True)
    assert completed.stdout.split() == [b"train", b"translate"]
