"""What the program never does: run what it reads, call a shell, use the network. Read from its own source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

SOURCES = sorted((ROOT / "transformer_cli").rglob("*.py"))
MODULES = {
    "pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code", "runpy",
    "subprocess", "pty", "socket", "urllib", "http", "requests", "ftplib", "smtplib", "webbrowser", "yaml",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
METHODS = {"os.system", "os.popen", "torch.load", "torch.save", "torch.hub.load", "dist.broadcast_object_list",
           "dist.all_gather_object", "dist.gather_object"}  # fmt: skip


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from (name for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in CALLS or name in METHODS:
                yield name
            given = {k.arg: k.value for k in node.keywords}
            if (
                name in ("np.load", "numpy.load")
                and getattr(given.get("allow_pickle"), "value", None) is not False
            ):
                yield f"{name} without allow_pickle=False"
            if name == "YAML" and getattr(given.get("typ"), "value", "rt") not in ("rt", "safe"):
                yield "YAML that makes objects"
            if getattr(given.get("shell"), "value", False):
                yield "shell=True"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_read_is_executed(path: Path) -> None:
    assert not list(offences(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import urllib.request", "eval('1')", "import os\nos.system('ls')",
        "torch.load('x')", "np.load('x')", "np.load('x', allow_pickle=True)", "YAML(typ='unsafe')", "run('ls', shell=True)",
        "dist.broadcast_object_list(x)",
    ],
)  # fmt: skip
def test_the_guard_sees(source: str) -> None:
    assert list(offences(source))
