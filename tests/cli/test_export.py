"""`export` as a user runs it, what can be done with what it writes, and what people do wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT, cli, tree

WITHOUT_CTRANSLATE2 = """
import sys
sys.modules["ctranslate2"] = None  # as if it were not installed
from transformer_cli.cli.app import main
main()
"""


def run_command(
    command: list[str], arguments: tuple[object, ...], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*command, *map(str, arguments)], input=stdin, capture_output=True, env=ENVIRONMENT, timeout=300
    )


def done(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A command that must succeed."""
    result = cli(*arguments, stdin=stdin)
    assert result.returncode == 0, result.stderr.decode()
    return result


@pytest.mark.parametrize("name", ["model.zip", "model_dir"])
def test_bundle_is_accepted_like_a_run(name: str, toy: Path, toy_run: Path, tmp_path: Path) -> None:
    model = tmp_path / name
    said = done("export", toy_run, "--to", "bundle", model).stderr.decode()
    assert f"next: transformer-cli translate {model}" in said
    before = tree(tmp_path)
    text = (toy / "test.en").read_bytes()
    assert done("translate", model, stdin=text).stdout == done("translate", toy_run, stdin=text).stdout
    assert tree(tmp_path) == before
    test_set = ["--src", toy / "test.en", "--ref", toy / "test.de", "--json"]
    of_bundle = json.loads(done("evaluate", model, *test_set).stdout)
    of_run = json.loads(done("evaluate", toy_run, *test_set, "-o", tmp_path / "out").stdout)
    assert of_bundle["scores"] == of_run["scores"] and of_bundle["checkpoint"] == of_run["checkpoint"]
    assert Path(of_bundle["hypotheses"]).parent == tmp_path / f"{name}.evaluation"
    assert {n: c for n, c in tree(tmp_path).items() if n in before} == before


def test_bundle_is_self_contained(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run, symlinks=True)
    done("export", run, "--to", "bundle", tmp_path / "model.zip", "--checkpoint", "last")
    shutil.rmtree(run)
    assert (
        done("translate", tmp_path / "model.zip", stdin=b"The cat sees the book now.\n").stdout.count(b"\n") == 1
    )


def test_commands_and_example_of_deployment_guide(toy_run: Path, tmp_path: Path) -> None:
    """docs/deploying.md, word for word."""
    pytest.importorskip("ctranslate2")
    section = (ROOT / "docs/deploying.md").read_text(encoding="utf-8")
    shell = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    (python,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert python.count("\n") == 9
    (tmp_path / "runs").mkdir()
    shutil.copytree(toy_run, tmp_path / "runs/mine", symlinks=True)
    (tmp_path / "new.en").write_text("The cat sees the book now.\n")
    environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in (["bash", "-euc", shell], [sys.executable, "-c", python]):
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment, timeout=300)
        assert result.returncode == 0, result.stderr.decode()
    assert result.stdout.decode().strip()
    assert (tmp_path / "new.de").read_text().count("\n") == 1


def test_ctranslate2_export_reports_agreement(toy_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    said = done("export", toy_run, "--to", "ctranslate2", tmp_path / "model").stderr.decode()
    assert "greedy: agreement 20/20, BLEU between the two 100.00" in said
    assert "beam 5: agreement 20/20" in said and "as deployed (beam 5, length penalty 1.0, " in said
    assert "warning" not in said
    # The output may also come before the option.
    done("export", toy_run, tmp_path / "again", "--to", "ctranslate2")
    assert tree(tmp_path / "again") == tree(tmp_path / "model")


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom transformer_cli.cli.app import app\napp(['export', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'ctranslate2', 'numpy'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr.decode()
    assert b"--quantization" in result.stdout and b"--checkpoint" in result.stdout


def test_missing_package_names_its_extra(toy_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_CTRANSLATE2]
    result = run_command(command, ("export", toy_run, "--to", "ctranslate2", tmp_path / "m"))
    said = result.stderr.decode()
    assert result.returncode == 2 and "[export]" in said and "pip install ctranslate2" in said
    assert "Traceback" not in said and not list(tmp_path.iterdir())
    # A bundle does not need it.
    assert run_command(command, ("export", toy_run, "--to", "bundle", tmp_path / "m.zip")).returncode == 0


def mistakes(toy: Path, run: Path, tmp: Path) -> dict[str, tuple[int, str, list[object]]]:
    """Name -> (exit code, words of the message, arguments)."""
    test, new, good = toy / "test.en", tmp / "new", tmp / "good.zip"
    done("export", run, "--to", "bundle", good)
    content = good.read_bytes()
    (tmp / "cut.zip").write_bytes(content[: len(content) // 2])
    middle = len(content) // 2
    (tmp / "flipped.zip").write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    shutil.copy(good, tmp / "slip.zip")
    with zipfile.ZipFile(tmp / "slip.zip", "a") as archive:
        archive.writestr("../../evil.txt", "boo")
    (tmp / "taken").mkdir()
    (tmp / "taken/thesis.txt").write_text("mine")
    (tmp / "blank").write_text("\n\n")
    done("export", run, "--to", "bundle", tmp / "bundle_dir")
    return {
        "unknown format": (2, "known: ctranslate2, bundle", ["export", run, "--to", "onnx", new]),
        "no format": (2, "--to", ["export", run, new]),
        "no output": (2, "OUTPUT", ["export", run, "--to", "bundle"]),
        "unknown quantization": (2, "int8_float32", ["export", run, "--to", "ctranslate2", new, "--quantization", "int4"]),
        "quantized bundle": (2, "belong to --to ctranslate2", ["export", run, "--to", "bundle", new, "--quantization", "int8"]),
        "proved bundle": (2, "belong to --to ctranslate2", ["export", run, "--to", "bundle", new, "--proof", test]),
        "existing directory": (2, "exists already", ["export", run, "--to", "ctranslate2", tmp / "taken"]),
        "existing zip": (2, "exists already", ["export", run, "--to", "bundle", good]),
        "no run": (4, "no such run", ["export", tmp / "none", "--to", "bundle", new]),
        "not a run": (4, "not a run directory", ["export", tmp / "taken", "--to", "bundle", new]),
        "no checkpoint": (4, "no checkpoint 'best2'", ["export", run, "--to", "bundle", new, "--checkpoint", "best2"]),
        "checkpoint elsewhere": (4, "no checkpoint", ["export", run, "--to", "bundle", new, "--checkpoint", "../.."]),
        "missing proof": (3, "no such file", ["export", run, "--to", "ctranslate2", new, "--proof", tmp / "none"]),
        "blank proof": (3, "no text to verify", ["export", run, "--to", "ctranslate2", new, "--proof", tmp / "blank"]),
        "bundle without proof": (3, "--proof FILE", ["export", good, "--to", "ctranslate2", new]),
        "output below a file": (5, "cannot be written", ["export", run, "--to", "bundle", test / "model.zip"]),
        "truncated": (4, "truncated", ["translate", tmp / "cut.zip", test]),
        "flipped": (4, "damaged", ["translate", tmp / "flipped.zip", test]),
        "zip slip": (4, "nothing was read", ["translate", tmp / "slip.zip", test]),
        "text for a model": (4, "not a bundle", ["translate", test, test]),
        "other checkpoint of a bundle": (4, "holds one model", ["translate", good, test, "--checkpoint", "last"]),
        "evaluate a damaged one": (4, "damaged", ["evaluate", tmp / "flipped.zip", "--src", test, "--ref", test]),
        "export a damaged one": (4, "truncated", ["export", tmp / "cut.zip", "--to", "bundle", new]),
        "average a bundle": (4, "not a run directory", ["average", tmp / "bundle_dir"]),
        "train into a bundle": (4, "holds files but no run", ["train", "--run", tmp / "bundle_dir", "--src", test, "--tgt", test]),
        "train into a zip": (4, "is a file", ["train", "--run", good, "--src", test, "--tgt", test]),
    }  # fmt: skip


def test_export_errors_change_nothing(toy: Path, toy_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    directory = tmp_path / "a/b"
    directory.mkdir(parents=True)
    cases = mistakes(toy, toy_run, directory)
    before = tree(tmp_path), tree(toy_run)
    for name, (code, words, arguments) in cases.items():
        result = cli(*arguments)
        said = result.stderr.decode()
        assert result.returncode == code, f"{name}: {said}"
        assert words in said, f"{name}: {said}"
        assert "Traceback" not in said and "defect" not in said, name
        assert (tree(tmp_path), tree(toy_run)) == before, name
