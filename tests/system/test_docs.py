"""The transformer-cli commands and the Python examples of README and docs run, with trainings shortened."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import docx
import pytest
from conftest import ROOT, load_script, toy_pairs, write_pairs

PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
TESTED_ELSEWHERE = {
    "scripts/": "tests/scripts, and the quickstart below",
    ".ci/run": "CI itself",
    ". .venv/bin/activate": "the environment of these tests",
    "torchrun ": "tests/training/test_distributed.py",
    "git ": "not a command of this project",
    "#SBATCH ": "needs a Slurm cluster",
    "head=$(scontrol ": "needs a Slurm cluster",
    "srun ": "needs a Slurm cluster",
    "data=": "the variables of the next two lines",
    "options=": "the variables of the next two lines",
    "transformer-cli train configs/multi30k-en-de.yaml --run runs/transformer ": "as the next line",
    "transformer-cli sweep ": "several trainings; tests/cli/test_sweep_command.py does it in small",
    "for a in rnn tcn gat; ": "trains for an hour; tests/scripts/test_compare_architectures.py does it in small",
}
FRESH = ("README.md", "docs/training.md")
"""Pages that go on with the run that they train; the others use one that has learned something."""
BUDGET = 12
"""Updates of a training here: the words of the docs stay, the budget shrinks."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(page: str) -> list[str]:
    """The commands of a page that are run here."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").rstrip().split("\n")]
    return [line for line in lines if line.strip() and not line.startswith(tuple(TESTED_ELSEWHERE))]


@pytest.fixture
def desk(tmp_path: Path, toy_run: Path) -> Iterator[Path]:
    """A folder with the files that the docs speak of."""
    for name, count in (("my", 300), ("valid", 20), ("test", 10)):
        write_pairs(tmp_path, name, toy_pairs(count, seed=count))
    for side in ("en", "de"):
        shutil.copy(tmp_path / f"test.{side}", tmp_path / f"new.{side}")
    shutil.copy(tmp_path / "my.en", tmp_path / "big.en")
    shutil.copy(tmp_path / "test.de", tmp_path / "translations.de")
    table = [("Nr", "English", "German"), *((str(i), *pair) for i, pair in enumerate(toy_pairs(300)))]
    (tmp_path / "corpus.csv").write_text("".join(";".join(row) + "\n" for row in table), encoding="utf-8")
    (tmp_path / "terms.tsv").write_text("house\tHaus\n")
    (tmp_path / "avoid.txt").write_text("Pferd\n")
    (tmp_path / "starts.txt").write_text("heute\n" + "\n" * 9)
    (tmp_path / "page.html").write_text('<html lang="en"><p>The cat <b>sees</b> the house now.')
    (tmp_path / "film.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nThe cat sees the house now.\n")
    (tmp_path / "app.po").write_text('msgid "The cat sees the house now."\nmsgstr ""\n')
    (tmp_path / "app.xlf").write_text(
        '<xliff version="1.2"><file><body><trans-unit><source>A</source></trans-unit></body></file></xliff>'
    )
    letter = docx.Document()
    letter.add_paragraph("The cat sees the house now.")
    letter.save(str(tmp_path / "letter.docx"))
    shutil.copytree(toy_run, tmp_path / "runs/mine", symlinks=True)
    yield tmp_path
    pids = tmp_path / "server.pids"
    for pid in pids.read_text().split() if pids.exists() else ():
        os.kill(int(pid), signal.SIGTERM)


def port_of(desk: Path) -> int:
    """A port for the servers of a page, another one for each page."""
    return 20_000 + zlib.crc32(str(desk).encode()) % 10_000


def run(command: str, desk: Path) -> subprocess.CompletedProcess[str]:
    """The command in a shell whose `transformer-cli train` stops early, and whose servers run in the background."""
    program = Path(sys.executable).parent / "transformer-cli"
    (desk / "bin").mkdir(exist_ok=True)
    port = f'case "$*" in *--port*) ;; *) set -- "$@" --port {port_of(desk)};; esac; '
    serve = f'{port}exec {program} "$@" > /dev/null 2>> server.log & echo $! >> server.pids; '
    demo = f'exec {program} "$@" --no-browser > /dev/null 2>> server.log & echo $! >> server.pids; '
    late = "n=$((n+1)); [ $n -lt 300 ] || { cat server.log >&2; exit 1; }"
    wait = f'n=0; until grep -q "http://127" server.log; do {late}; sleep 0.2; done; rm server.log'
    (desk / "bin/transformer-cli").write_text(
        f'#!/bin/sh\ncase "$1" in\ntrain) exec {program} "$@" --max-steps {BUDGET};;\n'
        f'serve) {serve}{wait};;\ndemo) {demo}{wait};;\n*) exec {program} "$@";;\nesac\n'
    )
    command = command.replace("localhost:5000", f"localhost:{port_of(desk)}")
    command = command.replace("--port 8080", f"--port {port_of(desk) + 1}")
    (desk / "bin/transformer-cli").chmod(0o755)
    environment = {**os.environ, "PATH": f"{desk / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-euc", command], cwd=desk, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("page", [*(page for page in PAGES if commands(page)), "docs/python.md"])
def test_every_command_of_a_page_works(page: str, desk: Path) -> None:
    trained = desk / "runs/mine"
    if page in FRESH:
        shutil.rmtree(trained)
    for command in commands(page):
        aside = command.startswith("transformer-cli train ") and "--from" not in command
        aside = aside and trained.exists() and page not in FRESH
        if aside:
            trained.rename(desk / "aside")
        done = run(command, desk)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if command.startswith("curl "):
            assert done.stdout and '"error"' not in done.stdout, f"{command}\n{done.stdout}"
        if aside:
            shutil.rmtree(trained, ignore_errors=True)
            (desk / "aside").rename(trained)
    for program in blocks(page, "python"):
        program = program.replace('"training.max_minutes": 30', f'"training.max_steps": {BUDGET}')
        done = subprocess.run([sys.executable, "-c", program], cwd=desk, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_two_commands_are_the_first_screen() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = blocks("README.md", "sh")[0]
    words = [line.split("#")[0].strip() for line in first.strip().split("\n")]
    assert words == ["scripts/quickstart", "scripts/check"]
    assert readme.index(first) < 1500
    for command in words:
        assert os.access(ROOT / command, os.X_OK)
    assert "scripts/check" in (ROOT / ".ci/run").read_text()


def test_links_and_pictures_exist() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            assert "://" in target or ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_files_named_in_the_docs_exist() -> None:
    """Paths in backticks that begin with a folder of the project."""
    for page in PAGES:
        if page == "docs/log.md":  # history
            continue
        for path in re.findall(
            r"`((?:transformer_cli|tests|scripts|configs|docs)/[\w./-]*)", (ROOT / page).read_text()
        ):
            assert (ROOT / path).exists(), f"{page}: {path}"


def test_the_reference_is_up_to_date() -> None:
    generator = load_script("generate_reference")
    assert generator.REFERENCE.read_text(encoding="utf-8") == generator.reference(), (
        "run scripts/generate_reference.py"
    )


@pytest.mark.slow
def test_quickstart_reaches_its_bound(tmp_path: Path) -> None:
    """The real command, from another folder; then once more. On a busy machine it may take its time here."""
    command = [str(ROOT / "scripts/quickstart"), str(tmp_path / "run"), "--max-minutes", "40"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=3000)
    output = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    bleu = float(re.findall(r"^BLEU ([\d.]+)", output, re.MULTILINE)[0])
    assert bleu >= 90, output
    assert "With your own text" in output
    again = subprocess.run(command, cwd="/", capture_output=True, timeout=300)
    assert again.returncode == 0 and b"resuming from" in again.stderr
    assert f"BLEU {bleu:.2f}" in again.stdout.decode()
