"""Imports go down only, and the sideways rules of the house hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from conftest import ROOT

PACKAGE = ROOT / "transformer_cli"
FLOORS = {
    "errors": 0, "tree": 0, "layout": 0, "batch": 0, "options": 0, "schema": 0, "config": 0, "durable": 0, "runtime": 0, "memory": 0, "untrusted": 0, "manifest": 0, "locking": 0, "token_ids": 0, "unicode_scripts": 0, "__init__": 0,
    "ops": 1,
    "models": 2, "data": 2,
    "decoding": 3, "training": 3, "evaluation": 3,
    "artifacts": 4,
    "deployment": 5,
    "experiment": 6,
    "cli": 7, "api": 7, "__main__": 8,
}  # fmt: skip
STRANGERS = {
    ("models", "data"),
    ("training", "data"),
    ("training", "decoding"),
    ("decoding", "data"),
}


def imports() -> list[tuple[Path, str, str]]:
    """(file, its room, the room it imports from) of every import inside the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == PACKAGE / "__init__.py":  # the public names, which are imported on first use
            continue
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                parts = name.split(".")
                if parts[0] == "transformer_cli" and len(parts) > 1:
                    found.append((path, room, parts[1] if parts[1] in FLOORS else "__init__"))
    return found


def test_every_room_has_a_floor() -> None:
    assert {room for _, room, _ in imports()} <= set(FLOORS)


def test_imports_go_down() -> None:
    up = [(str(path), to) for path, room, to in imports() if FLOORS[to] > FLOORS[room]]
    assert not up


def test_imports_inside_decoding_go_down() -> None:
    """Constraints and execution know search, and not each other; what is on top joins them."""
    floors = {"search": 0, "constraints": 1, "execution": 1}
    for path in (PACKAGE / "decoding").rglob("*.py"):
        rooms = path.relative_to(PACKAGE).parts[:-1]
        own = rooms[min(1, len(rooms) - 1)]
        for part in re.findall(r"transformer_cli\.decoding\.(\w+)", path.read_text(encoding="utf-8")):
            assert own == "decoding" or part == own or floors.get(part, 2) < floors[own], f"{path}: {part}"


def test_neighbours_that_do_not_meet() -> None:
    met = [(str(path), to) for path, room, to in imports() if {(room, to), (to, room)} & STRANGERS]
    assert not met


def test_files_stay_readable() -> None:
    long = {str(p): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().split("\n"))) > 330}
    assert not long


def test_no_pickle_no_shell_no_eval() -> None:
    forbidden = ("import pickle", "torch.load(", "eval(", "exec(", "shell=True", "allow_pickle=True", "yaml.load(")
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace(".eval()", "").replace("create_subprocess_exec(", "")
        assert not [word for word in forbidden if word in text], path
