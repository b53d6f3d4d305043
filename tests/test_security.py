"""Static check of the source: no execution of input data, no shell, no network."""

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


ALLOWED = {
    "cli/serve.py": {"webbrowser"},
    "deployment/server/documents.py": {"urllib.parse"},
    "experiment/sweep.py": {"subprocess"},
}
"""`demo` opens a browser; `urllib.parse` only quotes names; `sweep` runs `train` in its own processes, without a shell."""


def dotted(node: ast.expr) -> str:
    """The dotted name of an expression, or an empty string."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def violations(source: str) -> Iterator[str]:
    """Forbidden imports and calls in a module."""
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
            keywords = {k.arg: k.value for k in node.keywords}
            if (
                name in ("np.load", "numpy.load")
                and getattr(keywords.get("allow_pickle"), "value", None) is not False
            ):
                yield f"{name} without allow_pickle=False"
            if name == "YAML" and getattr(keywords.get("typ"), "value", "rt") not in ("rt", "safe"):
                yield "YAML that constructs objects"
            if getattr(keywords.get("shell"), "value", False):
                yield "shell=True"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_input_is_executed(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(ROOT / "transformer_cli")), set())
    assert not set(violations(path.read_text(encoding="utf-8"))) - allowed


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import urllib.request", "eval('1')", "import os\nos.system('ls')",
        "torch.load('x')", "np.load('x')", "np.load('x', allow_pickle=True)", "YAML(typ='unsafe')", "run('ls', shell=True)",
        "dist.broadcast_object_list(x)",
    ],
)  # fmt: skip
def test_the_check_finds_violations(source: str) -> None:
    assert list(violations(source))
