#!/usr/bin/env python
"""Mutation testing of safety checks: remove each check in turn; at least one of its tests must fail.

Works on a copy of the project; takes some minutes.

    scripts/mutation_gate.py            # all mutations
    scripts/mutation_gate.py hash lock  # mutations whose name contains one of these words
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
    """Replace `old` with `new` in `file`: `tests` pass before, and at least one fails after."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "a file is synced before it is renamed",
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
        "the random state is restored",
        "training/state.py",
        "        self._restore_random(optimizer, progress.step)\n",
        "",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "the position in the data is saved",
        "training/loop.py",
        "        progress.position = self.stream.position\n",
        "",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "only \\n ends a line",
        "data/text.py",
        "        raw = stream.readline(MAX_LINE_BYTES)  # splits at \\n only\n",
        "        raw = stream.readline(3)\n",
        "tests/data/test_text.py",
    ),
    Mutation(
        "a translation contains no line break",
        "data/text.py",
        'return FORBIDDEN.sub(" ", text.replace("\\n", " "))',
        "return text",
        "tests/data/test_text.py",
    ),
    Mutation(
        "the hash of each file is verified",
        "manifest.py",
        'if digest != record["sha256"]:',
        "if False:",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "the hashes of tokenizer, model and corpus are verified",
        "manifest.py",
        'if manifest["identity"].get(key) != value:',
        "if False:",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "a symbolic link in a checkpoint is refused",
        "manifest.py",
        "if file.is_symlink() or not file.is_file():",
        "if not file.is_file():",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "a newer format is refused",
        "manifest.py",
        "if version != FORMAT:",
        "if False:",
        "tests/training/test_checkpoint.py",
    ),
    Mutation(
        "an update with a non-finite gradient is skipped",
        "training/update.py",
        "if not torch.isfinite(norm):",
        "if False:",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "a score that is not finite is never the best",
        "training/loop.py",
        "best = math.isfinite(metric) and (progress",
        "best = (progress",
        "tests/training/test_loop.py",
    ),
    Mutation(
        "the lock of a run directory is exclusive",
        "locking.py",
        "fcntl.LOCK_EX | (0 if wait",
        "fcntl.LOCK_SH | (0 if wait",
        "tests/artifacts/test_run_directory.py",
    ),
    Mutation(
        "resuming with another configuration is refused",
        "artifacts/run_directory.py",
        "        if changed:\n",
        "        if False:\n",
        "tests/artifacts/test_run_directory.py",
    ),
    Mutation(
        "files of unequal length are refused",
        "data/readers/corpus_files.py",
        "raise UnequalLengthsError(self.src, self.tgt, counts[0], counts[1])",
        "return",
        "tests/data/test_corpus.py",
    ),
    Mutation(
        "a table that is given as text is refused",
        "data/readers/corpus_files.py",
        "                refuse_pairs(path, text.stream.peek(BUFFER))\n",
        "                pass\n",
        "tests/data/readers/test_corpus_files.py",
    ),
    Mutation(
        "compressed data may not expand without limit",
        "data/readers/streams.py",
        "            if total > FREE_EXPANSION + MAX_EXPANSION * counting.count:\n",
        "            if False:\n",
        "tests/data/readers/test_streams.py",
    ),
    Mutation(
        "entities in TMX are refused",
        "data/readers/tmx.py",
        "    parser.EntityDeclHandler = _refuse_entities\n",
        "",
        "tests/data/readers/test_tmx.py",
    ),
    Mutation(
        "a pair is scored by the model that has not seen it",
        "data/filters/alignment.py",
        "zip(parts, reversed(halves), strict=True)",
        "zip(parts, halves, strict=True)",
        "tests/data/filters/test_alignment_filter.py",
    ),
    Mutation(
        "clean writes nothing that it reads",
        "experiment/cleaning.py",
        "        durable.check_writable(path, *request.files.paths, *request.excluded, create_parents=True)\n",
        "        durable.check_writable(path, create_parents=True)\n",
        "tests/cli/test_clean.py",
    ),
    Mutation(
        "the manifest must list the weights",
        "manifest.py",
        "assert {MODEL, STATE} <= set(files)",
        "assert True",
        "tests/test_untrusted.py",
    ),
    Mutation(
        "directories of a run are not links",
        "artifacts/run_directory.py",
        "            if directory.is_symlink():",
        "            if False:",
        "tests/test_untrusted.py",
    ),
    Mutation(
        "links are not read as files",
        "untrusted.py",
        "    if path.is_symlink():",
        "    if False:",
        "tests/test_untrusted.py",
    ),
    Mutation(
        "XML entities of a document are refused",
        "deployment/documents/xml.py",
        "    if dtd is not None and any(",
        "    if False and any(",
        "tests/deployment/documents/test_xliff.py",
    ),
    Mutation(
        "a translation does not become markup",
        "deployment/documents/html.py",
        "parts.append(_escape(piece))",
        "parts.append(piece)",
        "tests/deployment/documents/test_html.py",
    ),
    Mutation(
        "the parts of a Word document are bounded",
        "deployment/documents/docx_package.py",
        "        if len(content) > limit:",
        "        if False:",
        "tests/deployment/documents/test_docx.py",
    ),
]


def main() -> int:
    """Apply the selected mutations; return 1 if one of them survives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only mutations whose name contains one of these words")
    args = parser.parse_args()
    selected = [m for m in MUTATIONS if not args.words or any(word in m.name for word in args.words)]
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        tests = " ".join(sorted({test for m in selected for test in m.tests.split()}))
        if run_tests(copy, tests) is not True:
            print("the tests fail without a mutation; no mutation was tried", file=sys.stderr)
            return 1
        survived = [m.name for m in tqdm(selected, desc="mutations") if not is_killed(m, copy)]
    print(f"{len(selected) - len(survived)} of {len(selected)} mutations were killed")
    return bool(survived)


def is_killed(mutation: Mutation, copy: Path) -> bool:
    """Whether a test fails with this mutation; the copy is restored afterwards."""
    file = copy / "transformer_cli" / mutation.file
    text = file.read_text(encoding="utf-8")
    occurrences = text.count(mutation.old)
    if occurrences != 1:
        tqdm.write(f"STALE    {mutation.name}: its text occurs {occurrences} times in {mutation.file}, expected 1")
        return False
    start = time.monotonic()
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        passed = run_tests(copy, mutation.tests)
    finally:
        file.write_text(text, encoding="utf-8")
    verdict = {True: "SURVIVED", False: "killed  ", None: "ERROR   "}[passed]
    tqdm.write(f"{verdict} {mutation.name} ({time.monotonic() - start:.0f} s)")
    return passed is False


def run_tests(copy: Path, tests: str) -> bool | None:
    """Return whether these tests pass; None if pytest could not run them."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=900)
    return {0: True, 1: False}.get(process.returncode)


if __name__ == "__main__":
    raise SystemExit(main())
