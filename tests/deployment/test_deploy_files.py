"""The files of `deploy/` are valid, and do what their comments say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, cli

UNIT, DOCKERFILE = ROOT / "deploy/transformer-cli.service", ROOT / "deploy/Dockerfile"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = re.findall(r"^ExecStart=(\S+) serve ", UNIT.read_text(), re.MULTILINE)
    assert program == ["/opt/transformer-cli/bin/transformer-cli"]
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(program[0], "/bin/true"))  # it must exist
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_unit_has_a_sandbox() -> None:
    for line in (
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ):
        assert line in UNIT.read_text().split("\n")


def test_the_image_runs_serve_without_root() -> None:
    text = DOCKERFILE.read_text()
    stages = text.split("\nFROM ")
    assert "USER 10001:10001" in stages[-1] and "--read-only" in text
    entry = re.findall(r'^ENTRYPOINT \["transformer-cli", (.*)\]$', text, re.MULTILINE)
    command, *options = (word.strip('"') for word in entry[0].split(", "))
    help_screen = cli(command, "--help").stdout.decode()
    assert command == "serve" and all(o in help_screen for o in options if o.startswith("--"))
    extras = re.findall(r'"\.\[(.*)\]"', text)
    assert extras and set(extras[0].split(",")) >= {"serve"}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    assert all((ROOT / name).exists() for names in copied for name in names.split())


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
