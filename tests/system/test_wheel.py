"""The wheel, installed without the checkout, works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from conftest import ROOT, toy_pairs, write_pairs


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build leaves files next to the sources."""
    place, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "transformer_cli", source / "transformer_cli", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(place),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (found,) = place.glob("transformer_cli-*.whl")
    return found


def test_metadata_and_content(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        facts = Parser().parsestr(archive.read(metadata).decode())
    assert "transformer_cli/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"transformer_cli"}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "transformer_cli").rglob("*.py")}
    assert modules <= set(names)
    assert facts["Name"] == "transformer-cli" and facts["License-Expression"] == "MIT" and facts["Keywords"]
    assert "Typing :: Typed" in facts.get_all("Classifier", [])
    assert "torch>=2.11" in facts.get_all("Requires-Dist", [])
    assert facts.get_payload().startswith("# transformer-cli")


def test_it_trains_and_translates_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are those of this environment; the package is the wheel's alone."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    installed = subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", str(wheel)], capture_output=True, text=True
    )
    assert installed.returncode == 0, installed.stderr
    # A path in a .pth file: modules are found there, editable installs are not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    write_pairs(tmp_path, "my", toy_pairs(100))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def run(*words: str, stdin: str = "") -> str:
        program = tmp_path / "env/bin/transformer-cli"
        done = subprocess.run(
            [program, *words],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import transformer_cli; print(transformer_cli.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site))
    assert run("--version").startswith("transformer-cli ")
    run("train", "--src", "my.en", "--tgt", "my.de", "--run", "run", "--max-steps", "5")
    assert run("translate", "run", stdin="The cat sees the book now.\n\n").count("\n") == 2
