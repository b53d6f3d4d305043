"""The mutation gate finds the code that it mutates, and detects whether a test fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, load_script


@pytest.fixture(scope="module")
def gate() -> Any:
    return load_script("mutation_gate")


def test_every_mutation_matches_its_file_once(gate: Any) -> None:
    for mutation in gate.MUTATIONS:
        text = (ROOT / "transformer_cli" / mutation.file).read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, mutation.name
        assert mutation.new != mutation.old
        assert all((ROOT / test).exists() for test in mutation.tests.split())


def test_killed_and_surviving_mutations_are_distinguished(gate: Any, tmp_path: Path) -> None:
    (tmp_path / "transformer_cli").mkdir()
    (tmp_path / "transformer_cli/guard.py").write_text("GUARDED = True\nUNTESTED = True\n")
    (tmp_path / "test_guard.py").write_text(
        "from transformer_cli.guard import GUARDED\n\n\ndef test_it():\n    assert GUARDED\n"
    )

    def mutation(old: str) -> Any:
        return gate.Mutation(old, "guard.py", f"{old} = True", f"{old} = False", "test_guard.py")

    assert gate.is_killed(mutation("GUARDED"), tmp_path)
    assert not gate.is_killed(mutation("UNTESTED"), tmp_path)
    assert not gate.is_killed(mutation("MISSING"), tmp_path)
    assert (tmp_path / "transformer_cli/guard.py").read_text() == "GUARDED = True\nUNTESTED = True\n"
