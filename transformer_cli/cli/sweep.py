"""`sweep`: the combinations of some settings, with several seeds."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transformer_cli.cli.options import Device, Json, Settings, Src, Tgt, value
from transformer_cli.cli.terminal import notify, print_json, print_line

if TYPE_CHECKING:
    from transformer_cli.experiment.sweep import SweepResult

EXAMPLES = (
    "transformer-cli sweep --grid optim.lr=1e-3,3e-3 --src my.en --tgt my.de --run sweeps/lr --max-steps 500",
    "transformer-cli sweep my.yaml --grid model.dropout=0.1,0.3 --seeds 3 --src my.en --tgt my.de --run sweeps/do",
)


def sweep(
    run: Annotated[Path, value("--run", "DIR", "Directory of the sweep; each member is a run directory in it.")],
    grid: Annotated[
        list[str],
        value("--grid", "KEY=V,V,...", "A configuration key and its values; repeat it for several keys."),
    ],
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="YAML configuration. Default: a recipe by corpus size.")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="Train each combination so often.")
    ] = 1,
    src: Src = None,
    tgt: Tgt = None,
    valid_src: Annotated[Path | None, value("--valid-src", "FILE", "Validation source, as in train.")] = None,
    valid_tgt: Annotated[Path | None, value("--valid-tgt", "FILE", "Validation target.")] = None,
    settings: Settings = None,
    max_steps: Annotated[int | None, value("--max-steps", "N", "Updates of each member.", min=1)] = None,
    max_minutes: Annotated[float | None, value("--max-minutes", "X", "Minutes of each member.")] = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Train every combination of some settings, each with several seeds, and compare their validation scores.

    Each member is a normal run. The same command resumes a sweep; a member that fails does not stop the others.
    The results are also written to DIR, as sweep.json, sweep.csv and sweep.png.
    """
    from transformer_cli.experiment.sweep import plan, run_sweep

    members = plan(run, grid, seeds)
    arguments: list[str] = [] if config is None else [str(config)]
    for flag, values in (("--src", src), ("--tgt", tgt), ("--set", settings)):
        arguments += [word for one in values or [] for word in (flag, str(one))]
    single = {
        "--valid-src": valid_src,
        "--valid-tgt": valid_tgt,
        "--max-steps": max_steps,
        "--max-minutes": max_minutes,
        "--device": device,
    }
    arguments += [word for flag, one in single.items() if one is not None for word in (flag, str(one))]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = run_sweep(run, members, arguments, notify)
    if json:
        print_json(result.to_json())
    else:
        _print(result)
    if any(member.exit_code for member in result.members):
        raise typer.Exit(1)


def _print(result: SweepResult) -> None:
    print_line(f"validation {result.metric}, greedy, the best of each run; the best combination first")
    for c in result.combinations:
        sd = "" if c.sd is None else f" ± {c.sd:.2f} sd"
        score = "none" if c.mean is None else f"{c.mean:.2f}{sd}"
        failed = f", {c.failed} failed" if c.failed else ""
        print_line(f"{score:>18}  {' '.join(c.settings)}  ({c.members} runs{failed}, {c.minutes:.1f} minutes)")
