"""The command line: one Typer application, one file per command, errors as one message and an exit code.

torch and everything that depends on it are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from transformer_cli import __version__
from transformer_cli.cli import (
    average,
    check,
    clean,
    compare,
    config,
    evaluate,
    export,
    inspect,
    report,
    score,
    serve,
    tokenizer,
    train,
    translate,
)
from transformer_cli.cli.arguments import equivalent_option, expand_multi_value_options
from transformer_cli.cli.options import Command, Group, examples
from transformer_cli.errors import ConfigError, DiskError, UserError

TRAIN, USE, DEPLOY = "Train", "Translate and evaluate", "Deploy"
"""Panels of the help screen."""

app = typer.Typer(
    name="transformer-cli",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "transformer-cli train --src my.en --tgt my.de --run runs/mine",
        "transformer-cli translate runs/mine < new.en > new.de",
        "transformer-cli evaluate runs/mine --src test.en --ref test.de",
    ),
)


def _add(command: Callable[..., None], panel: str, lines: Sequence[str]) -> None:
    app.command(command.__name__, cls=Command, epilog=examples(*lines), rich_help_panel=panel)(command)


_add(train.train, TRAIN, train.EXAMPLES)
_add(check.check, TRAIN, check.EXAMPLES)
_add(clean.clean, TRAIN, clean.EXAMPLES)
app.add_typer(tokenizer.app, name="tokenizer", rich_help_panel=TRAIN)
_add(average.average, TRAIN, average.EXAMPLES)
_add(config.config, TRAIN, config.EXAMPLES)
_add(translate.translate, USE, translate.EXAMPLES)
_add(evaluate.evaluate, USE, evaluate.EXAMPLES)
_add(compare.compare, USE, compare.EXAMPLES)
_add(report.report, USE, report.EXAMPLES)
_add(score.score, USE, score.EXAMPLES)
_add(inspect.inspect, USE, inspect.EXAMPLES)
_add(export.export, DEPLOY, export.EXAMPLES)
_add(serve.serve, DEPLOY, serve.EXAMPLES)
_add(serve.demo, DEPLOY, serve.DEMO_EXAMPLES)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"transformer-cli {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train a translator on two text files, translate with it, and measure it."""


def main() -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 ok, 1 failure, 2 usage or configuration, 3 data, 4 checkpoint, 5 disk, 129, 130, 143: stopped by
    SIGHUP, SIGINT, SIGTERM.
    """
    if sys.stderr is None:  # closed by the shell: messages are discarded
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    arguments = sys.argv[1:]
    try:
        code = app(args=expand_multi_value_options(arguments), standalone_mode=False)
    except UserError as error:
        _fail(f"error: {error}", error.exit_code)
    except OSError as error:
        _fail(f"error: {error.filename or 'a file'}: {error.strerror or error}", DiskError.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's usage errors
            _fail_usage(error)
        if _is_out_of_memory(error):
            _fail("error: out of memory\n  lower data.batch_tokens (training) or --batch-tokens (translation)", 1)
        _fail(
            f"error: unexpected {type(error).__name__}: {error}\n"
            "  this is a bug in transformer-cli: run again with --debug and report the traceback",
            1,
        )
    sys.exit(code if isinstance(code, int) else 0)


def _fail_usage(error: Any) -> NoReturn:
    """Report a usage error of Typer in the format of the other errors."""
    if type(error).__name__ == "NoArgsIsHelpError":  # the help screen has been printed
        sys.exit(ConfigError.exit_code)
    message, context = str(error.format_message()), getattr(error, "ctx", None)
    path = context.command_path if context is not None else "transformer-cli"
    option = getattr(error, "option_name", "")
    if option and getattr(error, "possibilities", None) is not None:
        similar = equivalent_option(option, path.split()[-1]) or "".join(
            difflib.get_close_matches(option, error.possibilities, n=1)
        )
        message = f"no such option: {option}" + (f"; did you mean {similar}?" if similar else "")
    _fail(f"error: {message[:1].lower()}{message[1:]}\n  see: {path} --help", ConfigError.exit_code)


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
