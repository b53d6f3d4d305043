"""Command-line words: several files after one option, and what other tools call our options."""

from __future__ import annotations

MULTI_VALUE = ("--src", "--tgt", "--input", "--data", "--exclude")
"""Options that take several files, as a shell expands `--src part*.en`."""

FOREIGN = {
    "--source": "--src",
    "--target": "--tgt",
    "--reference": "--ref",
    "--references": "--ref",
    "--hypothesis": "--hyp",
    "--hypotheses": "--hyp",
    "--valid-source": "--valid-src",
    "--valid-target": "--valid-tgt",
    "--beam-size": "--beam",
    "--beam-width": "--beam",
    "--num-beams": "--beam",
    "--nbest": "--n-best",
}
"""Options of other tools -> the one of ours that means the same."""
FOREIGN_TRAIN = {
    "--seed": "--set training.seed=N",
    "--lr": "--set optim.lr=RATE",
    "--learning-rate": "--set optim.lr=RATE",
    "--batch-size": "--set data.batch_tokens=N",
    "--batch-tokens": "--set data.batch_tokens=N",
    "--max-tokens": "--set data.batch_tokens=N",
    "--dropout": "--set model.dropout=P",
    "--vocab-size": "--set tokenizer.vocab_size=N",
    "--epochs": "--max-steps N or --max-minutes M",
    "--max-epoch": "--max-steps N or --max-minutes M",
    "--max-update": "--max-steps N",
    "--output": "--run DIR",
    "--output-dir": "--run DIR",
    "--save-dir": "--run DIR",
}
"""The same for `train`, where most settings are configuration keys."""


def expand_multi_value_options(arguments: list[str]) -> list[str]:
    """`--src a b` -> `--src a --src b`, for the commands that read several files.

    A configuration file (`*.yaml`) is a positional argument wherever it appears.
    """
    if _command(arguments) not in ("train", "sweep", "check", "clean", "tokenizer"):
        return arguments
    expanded: list[str] = []
    option, values = "", 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = argument if argument in MULTI_VALUE else "", 0
        elif option:
            values += 1
            if argument.endswith((".yaml", ".yml")) and values > 1:
                option = ""
            elif values > 1:
                expanded.append(option)
        expanded.append(argument)
    return expanded


def equivalent_option(option: str, command: str) -> str:
    """What other tools call `option` is called here; empty if unknown."""
    known = {**FOREIGN, **FOREIGN_TRAIN} if command == "train" else FOREIGN
    return known.get(option, "")


def _command(arguments: list[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")
