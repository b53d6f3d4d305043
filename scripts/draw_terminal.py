#!/usr/bin/env python
"""Draw the pictures of the README from a real run: docs/images/terminal.svg and docs/images/attention.png.

    scripts/draw_terminal.py [--minutes 5]

Trains on data/sample with the default recipe, then translates and evaluates. Of the training output,
the beginning, the last progress line, the last validation and the end are shown; `...` marks what is omitted.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PROGRAM = str(Path(sys.executable).parent / "transformer-cli")
WIDTH = 112
SENTENCE = "The pupil who lost the key is looking for the new teacher."
GREEN, GREY, WHITE = (63, 185, 80), (110, 118, 129), (240, 246, 252)
COLOURS = [(13, 17, 23), (255, 123, 114), GREEN, (210, 153, 34), (88, 166, 255), (188, 140, 255), GREY, WHITE]
THEME = TerminalTheme((13, 17, 23), (201, 209, 217), COLOURS, COLOURS)


class Recording:
    """Commands and their output, as a terminal shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)

    def run(self, command: str, stdin: str = "") -> list[str]:
        """Show the prompt and run the command -> the lines that it prints, stderr first."""
        self.console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        words = shlex.split(command.partition(" | ")[2] or command)
        done = subprocess.run([PROGRAM, *words[1:]], cwd=self.folder, input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return [line for line in (done.stderr + done.stdout).split("\n") if line.strip()]

    def show(self, *lines: str) -> None:
        for line in lines:
            self.console.print(Text(line), highlight=False)

    def save(self, path: Path) -> None:
        svg = self.console.export_svg(title="transformer-cli", theme=THEME)
        svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # no fonts from the network
        path.write_text(svg.replace("Fira Code", "ui-monospace, Menlo, Consolas"), encoding="utf-8")


def excerpt(lines: list[str]) -> list[str]:
    """The output of a training, shortened."""
    first = next(i for i, line in enumerate(lines) if line.startswith("step "))
    progress = max(i for i, line in enumerate(lines) if re.match(r"step \d+ of ", line))
    validation = max(i for i, line in enumerate(lines) if re.match(r"step \d+: loss", line))
    end = next(i for i, line in enumerate(lines) if line.startswith("ended"))
    shown = [*lines[:first], "..."]
    if progress < validation:
        shown.append(lines[progress])
    return [*shown, *lines[validation : validation + 4], *lines[end : end + 2]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="of training (default 5)")
    args = parser.parse_args()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        recording = Recording(Path(place))
        for name, split in (("my", "train"), ("test", "test")):
            for side in ("en", "de"):
                content = (ROOT / f"data/sample/{split}.{side}").read_bytes()
                (recording.folder / f"{name}.{side}").write_bytes(content)
        minutes = f"{args.minutes:g}"
        command = f"transformer-cli train --src my.en --tgt my.de --run runs/mine --max-minutes {minutes}"
        recording.show(*excerpt(recording.run(command)), "")
        command = f'echo "{SENTENCE}" | transformer-cli translate runs/mine'
        recording.show(*recording.run(command, SENTENCE + "\n"), "")
        recording.show(*recording.run("transformer-cli evaluate runs/mine --src test.en --ref test.de"))
        recording.save(IMAGES / "terminal.svg")
        recording.run(f'transformer-cli inspect runs/mine "{SENTENCE}" -o {IMAGES / "attention.png"}')
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
