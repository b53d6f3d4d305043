"""`config`: every configuration key with its default, range and meaning."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from transformer_cli.cli.terminal import print_line
from transformer_cli.errors import ConfigError

EXAMPLES = (
    "transformer-cli config training.label_smoothing optim",
    "transformer-cli config --yaml > my.yaml   # edit it, then: transformer-cli train my.yaml ...",
)


def config(
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY", help="Sections or keys to show, such as optim or model.dropout. Default: all."
        ),
    ] = None,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the default configuration as a commented YAML file.")
    ] = False,
) -> None:
    """Show the configuration keys: default, range and meaning of each."""
    from transformer_cli.options import as_yaml, options_of
    from transformer_cli.schema import Config

    options = list(options_of(Config))
    for key in keys or []:
        if not any(f"{option.path}.".startswith(f"{key}.") for option in options):
            raise ConfigError(f"{key}: no such section or key", hint="transformer-cli config shows all of them")
    shown = [o for o in options if not keys or any(f"{o.path}.".startswith(f"{key}.") for key in keys)]
    if yaml:
        print_line(as_yaml(shown).rstrip("\n"))
        return
    for option in shown:
        limits = f"   ({option.range})" if option.range else ""
        print_line(f"{option.path} = {option.default_text}{limits}")
        print_line(textwrap.indent(textwrap.fill(option.help, 92), "    "))
