"""Command-line options: those that commands share, those of `translate`, and those generated from the schema."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from transformer_cli.options import Option, Section, options_of
from transformer_cli.schema import CONSTRAINTS, REQUIRES
from transformer_cli.schema.data import NormalizationConfig

INPUT, OUTPUT, MODEL = "Input", "Output", "Model and device"
"""Panels of the help screen, in addition to those of `schema`."""


class Command(TyperCommand):
    """A command whose help screen shows flags without a value and required arguments without braces."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_values(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class Group(TyperGroup):
    """A group of commands with a help screen like that of `Command`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_values(super().get_params(ctx))


def _without_values(parameters: list[Any]) -> list[Any]:
    """The parameters; flags get an empty placeholder, also those that Typer adds, such as `--help`."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def value(flag: str, metavar: str, help: str, panel: str | None = None, **more: Any) -> Any:
    """An option with a value."""
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, show_default=False, **more)


def switch(flag: str, help: str, panel: str | None = None) -> Any:
    """An option without a value."""
    return typer.Option(flag, help=help, rich_help_panel=panel)


Src = Annotated[list[Path] | None, value("--src", "FILE", "Source text; several files may be given.")]
Tgt = Annotated[list[Path] | None, value("--tgt", "FILE", "Target text, in the same order.")]
Data = Annotated[
    list[Path] | None,
    value("--data", "FILE", "File with both languages: CSV, TSV, JSON lines or TMX; several may be given."),
]
Columns = Annotated[
    str | None,
    value(
        "--columns",
        "SRC,TGT",
        "Source and target column, field or language of --data, by name or number. Default: the first two.",
        INPUT,
    ),
]
DataFormat = Annotated[
    str | None,
    value(
        "--data-format",
        "csv|tsv|jsonl|tmx|text",
        "Form of --data; text: take --src and --tgt as plain text. Default: recognised by name and content.",
        INPUT,
    ),
]
Normalize = Annotated[
    str | None,
    value(
        "--normalize",
        "NAME,...",
        f"Change the text: {', '.join(NormalizationConfig.model_fields)}; default: none.",
    ),
]
Settings = Annotated[
    list[str] | None,
    value("--set", "KEY=VALUE", "Set a configuration key, such as data.filters.numbers=false; repeatable."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, or a bundle.")]
Input = Annotated[
    Path | None,
    typer.Argument(metavar="INPUT", help="Text, one sentence per line, or a document. Default: stdin (-)."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Output file. Default: stdout (-).")
]
To = Annotated[
    str,
    value("--to", "LANG", "Target language, such as fr, of a model that has several.", MODEL),
]
Checkpoint = Annotated[
    str, value("--checkpoint", "NAME", "best (default), last, average, or the directory name of a step.", MODEL)
]
Device = Annotated[str, value("--device", "NAME", "auto (default), cpu, cuda or mps.", MODEL)]
Json = Annotated[bool, switch("--json", "Print the result as JSON.")]
StrictUtf8 = Annotated[
    bool, switch("--strict-utf8", "Refuse text that is not UTF-8 instead of replacing bytes.", INPUT)
]
Shard = Annotated[
    str | None,
    value(
        "--shard",
        "K/N",
        "Translate only part K of N of INPUT; the outputs of all parts, concatenated, are the whole translation.",
        INPUT,
    ),
]
Ensemble = Annotated[
    list[str] | None,
    value(
        "--ensemble",
        "RUN@NAME",
        "Another model with the same vocabularies, averaged with the first; @NAME, a checkpoint, is optional. "
        "Repeatable.",
        MODEL,
    ),
]
Format = Annotated[
    str,
    value(
        "--format",
        "text|jsonl",
        "text (default), or jsonl: source, translation, score, token_log_probs, status and seconds of each line.",
        OUTPUT,
    ),
]
NBest = Annotated[
    int,
    value(
        "--n-best",
        "N",
        "The N best distinct translations of each line; as text: 'line number from 0 ||| text ||| score'. "
        "At most the beam width, or --mbr-samples.",
        OUTPUT,
        min=1,
    ),
]
Alignments = Annotated[
    Path | None,
    value("--alignments", "FILE", "Write word alignments, from attention, in Pharaoh format.", OUTPUT),
]
Prefix = Annotated[
    Path | None,
    value(
        "--prefix",
        "FILE",
        "The beginning of each translation, line by line; a blank line leaves it free.",
        CONSTRAINTS,
    ),
]
Terms = Annotated[
    Path | None,
    value(
        "--terms",
        "FILE",
        "Terminology, lines of 'source TAB target': where the source term occurs, the translation contains the "
        "target term as whole words. Requires beam search (--beam 2 or more); not with --sample, --mbr-samples, "
        "--shortlist or --diversity-groups.",
        CONSTRAINTS,
    ),
]
Avoid = Annotated[
    Path | None,
    value(
        "--avoid",
        "FILE",
        "Phrases, one per line, that no translation contains as words or at the beginning of a word.",
        CONSTRAINTS,
    ),
]
DocumentFormat = Annotated[
    str | None,
    value(
        "--document-format",
        "text|srt|po|html|docx|xliff",
        "Form of INPUT; documents keep their structure, text is translated line by line. Default: recognised by "
        "name and content.",
        INPUT,
    ),
]
SourceLang = Annotated[
    str,
    value("--source-lang", "CODE", "Language of a document, for splitting it into sentences.", INPUT),
]
TargetLang = Annotated[
    str,
    value("--target-lang", "CODE", "Language that the translated document says it is in, such as de.", OUTPUT),
]
Retranslate = Annotated[
    bool,
    switch("--retranslate", "Replace also finished translations in a PO or XLIFF document.", INPUT),
]
CheckInvariance = Annotated[
    bool,
    switch(
        "--check-invariance",
        "Instead of translating, measure on INPUT whether batches change any translation.",
        INPUT,
    ),
]


PLACEHOLDERS = {int: "N", float: "X", str: "TEXT", bool: None}
"""What stands for a value of each type on the help screen."""


def examples(*commands: str) -> str:
    """The epilog of a help screen."""
    return "\n".join(["[bold]Examples[/bold]", *(f"[dim]$[/dim] {command}" for command in commands)])


def schema_options(
    section: type[Section], *names: str, defaults: bool = True, parameter: str = "overrides"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: give a command an option for each of these keys of a section.

    Name, type, range and help text of the options come from the declarations in `schema`. The command receives
    the values given by the user as one of its parameters, a dictionary by key; on the help screen the options
    appear in the place of that parameter.

    Args:
        defaults: show the defaults of the schema; False where the command has its own.
        parameter: the name of that parameter.
    """
    options = [option for option in options_of(section) if option.name in names]
    assert {option.name for option in options} == set(names), "a key that the section does not have"

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for declared in signature.parameters.values():
            if declared.name == parameter:
                parameters += [_parameter(option, show_default=defaults) for option in options]
            else:
                parameters.append(declared.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def with_overrides(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in names}
            arguments[parameter] = {name: value for name, value in given.items() if value is not None}
            command(**arguments)

        with_overrides.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_overrides.__annotations__ = {p.name: p.annotation for p in parameters}
        return with_overrides

    return decorate


def _parameter(option: Option, *, show_default: bool) -> inspect.Parameter:
    """A keyword parameter as Typer reads it; None = not given."""
    has_default = show_default and option.type is not bool and option.default is not None
    facts = [f"default {option.default_text}"] if has_default else []
    if option.range and not option.choices:
        facts.append(option.range)
    required = " or ".join(f"--{name.replace('_', '-')}" for name in REQUIRES.get(option.name, ()))
    text = f"{option.help} Requires {required}." if required else option.help
    declaration = typer.Option(
        option.flag,
        metavar="|".join(option.choices) or PLACEHOLDERS[option.type],
        help=f"{text} [dim]({'; '.join(facts)})[/dim]" if facts else text,
        rich_help_panel=option.panel or None,
        show_default=False,
    )
    annotation: Any = Annotated[option.type | None, declaration]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
