#!/usr/bin/env python
"""Break each guard on purpose: a test must turn red. A guard whose loss no test notices is no guard.

Works on a copy; takes some minutes.

    scripts/mutation_gate.py            # all
    scripts/mutation_gate.py hash lock  # those whose name holds one of these words
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("transformer_cli", "tests", "scripts", "configs", "data", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """`old` in `file` becomes `new`; one of `tests` must fail then, and none before."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "a file is synced before it gets its name",
        "durable.py",
        "            rest = rest[ops.write(descriptor, rest) :]\n        ops.fsync(descriptor)",
        "            rest = rest[ops.write(descriptor, rest) :]",
        "tests/test_durable.py",
    ),
    Mutation(
        "a file is written under a temporary name",
        "durable.py",
        'temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")',
        "temporary = path",
        "tests/test_durable.py",
    ),
    Mutation(
        "the directory is synced after a rename",
        "durable.py",
        "            raise\n        sync_directory(path.parent, ops)\n\n\ndef write_output",
        "            raise\n\n\ndef write_output",
        "tests/test_durable.py",
    ),
    Mutation(
        "the random state comes back",
        "training/state.py",
        "        self._restore_random(optimizer, progress.step)\n",
        "",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "the position in the data comes back",
        "training/loop.py",
        "        progress.position = self.stream.position\n",
        "",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "only \\n ends a line",
        "data/text.py",
        "enumerate(stream, start=1)",
        'enumerate(stream.read().decode("utf-8", "replace").splitlines(), start=1)',
        "tests/data/test_text.py",
    ),
    Mutation(
        "one line of output stays one line",
        "data/text.py",
        'return FORBIDDEN.sub(" ", text.replace("\\n", " "))',
        "return text",
        "tests/data/test_text.py",
    ),
    Mutation(
        "the hash of each file is checked",
        "training/checkpoint.py",
        'if found != facts["sha256"]:',
        "if False:",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "the hashes of tokenizer, model and corpus are checked",
        "training/checkpoint.py",
        'if manifest["identity"].get(key) != value:',
        "if False:",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "a file of a checkpoint is no link",
        "training/checkpoint.py",
        "if file.is_symlink() or not file.is_file():",
        "if not file.is_file():",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "a newer format is refused",
        "training/checkpoint.py",
        "if version != FORMAT:",
        "if False:",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "an update without finite gradient is left out",
        "training/update.py",
        "if not torch.isfinite(norm):",
        "if False:",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "a score that is no number is never the best",
        "training/loop.py",
        "best = math.isfinite(metric) and (progress",
        "best = (progress",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "one training at a time holds the lock",
        "artifacts/run_directory.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "tests/artifacts/test_run_directory.py",
    ),
    Mutation(
        "another configuration is no continuation",
        "artifacts/run_directory.py",
        "        if changed:\n",
        "        if False:\n",
        "tests/artifacts/test_run_directory.py",
    ),
    Mutation(
        "files of unequal length are refused",
        "data/corpus.py",
        "raise _unequal_lengths_error(src_path",
        "_unequal_lengths_error(src_path",
        "tests/data/test_corpus.py",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only guards whose name holds one of these words")
    args = parser.parse_args()
    chosen = [m for m in MUTATIONS if not args.words or any(word in m.name for word in args.words)]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        whole = " ".join(sorted({test for m in chosen for test in m.tests.split()}))
        if passes(copy, whole) is not True:
            print("the tests are not green without a mutation; nothing was tried", file=sys.stderr)
            return 1
        survived = [m.name for m in tqdm(chosen, desc="guards") if not is_noticed(m, copy)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} broken guards were noticed")
    return bool(survived)


def is_noticed(mutation: Mutation, copy: Path) -> bool:
    """Whether a test turns red; the copy is whole again afterwards."""
    file = copy / "transformer_cli" / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        tqdm.write(
            f"STALE    {mutation.name}: its text occurs {text.count(mutation.old)} times in {mutation.file}"
        )
        return False
    began = time.monotonic()
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        green = passes(copy, mutation.tests)
    finally:
        file.write_text(text, encoding="utf-8")
    verdict = {True: "SURVIVED", False: "noticed ", None: "BROKEN  "}[green]
    tqdm.write(f"{verdict} {mutation.name} ({time.monotonic() - began:.0f} s)")
    return green is False


def passes(copy: Path, tests: str) -> bool | None:
    """Whether these tests are green; None if they could not be run, which proves nothing."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=900)
    return {0: True, 1: False}.get(done.returncode)


if __name__ == "__main__":
    raise SystemExit(main())
