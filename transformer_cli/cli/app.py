"""The command line: one Typer application, one file a command, errors as one message and an exit code.

torch and everything that needs it are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from transformer_cli import __version__
from transformer_cli.cli import average, check, evaluate, export, inspect, score, tokenizer, train, translate
from transformer_cli.errors import DiskError, UserError

app = typer.Typer(
    name="transformer-cli",
    help="Two text files in, a translator out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(tokenizer.app, name="tokenizer")
app.command("check")(check.check)
app.command("train")(train.train)
app.command("translate")(translate.translate)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("inspect")(inspect.inspect)
app.command("average")(average.average)
app.command("export")(export.export)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"transformer-cli {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end."),
    ] = False,
) -> None:
    """Two text files in, a translator out."""


MAX_CANDIDATES = ("--src", "--tgt", "--input")
"""Options that take several files, as a shell's `--src part*.en` gives them."""


def expand_multi_value_options(arguments: list[str]) -> list[str]:
    """`--src a b` -> `--src a --src b`, for the commands that read several files.

    A configuration (`*.yaml`) is an argument of its own wherever it stands.
    """
    commands = [a for a in arguments if not a.startswith("-")]
    if commands[:1] not in (["train"], ["check"], ["tokenizer"]):
        return arguments
    found: list[str] = []
    option, values = "", 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = argument if argument in MAX_CANDIDATES else "", 0
        elif option:
            values += 1
            if argument.endswith((".yaml", ".yml")) and values > 1:
                option = ""
            elif values > 1:
                found.append(option)
        found.append(argument)
    return found


def main() -> NoReturn:
    """Run the command line; every way out has its exit code.

    0 ok, 1 failure, 2 usage or configuration, 3 data, 4 checkpoint, 5 disk, 129, 130 and 143 signals.
    """
    if sys.stderr is None:  # closed by the shell: what is said goes nowhere
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        app(args=expand_multi_value_options(sys.argv[1:]))
    except UserError as error:
        _fail(f"error: {error}", error.exit_code)
    except OSError as error:
        _fail(f"error: {error.filename or 'a file'}: {error.strerror or error}", DiskError.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        if _is_out_of_memory(error):
            _fail("error: out of memory\n  lower data.batch_tokens (training) or --batch-tokens (translation)", 1)
        _fail(
            f"error: this is a defect: {type(error).__name__}: {error}\n  run again with --debug for details",
            1,
        )
    sys.exit(0)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from transformer_cli.memory import is_out_of_memory

    return is_out_of_memory(error)


def _fail(message: str, code: int) -> NoReturn:
    if "--debug" in sys.argv and sys.exc_info()[0] is not None:
        import traceback

        traceback.print_exc()
    print(message, file=sys.stderr)
    sys.exit(code)
