"""The compiled functions are loaded when a text is long enough, and not before."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from transformer_cli.decoding.execution.compiled import searcher as module
from transformer_cli.decoding.execution.compiled.searcher import CompiledSearcher
from transformer_cli.decoding.search.hypothesis import Scorer
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig


class Loads:
    """Takes the place of `load_search`, and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, compiled: bool, weight: float = 1.0) -> None:
        self.count, self.compiled = 0, compiled
        decoder = SimpleNamespace(weights=np.array([weight]))
        self.module = SimpleNamespace(
            PackedTransformer=lambda model, config, int8: SimpleNamespace(decoder=decoder),
            CompiledGreedySearch=lambda *args, **options: SimpleNamespace(num_active=0),
        )
        monkeypatch.setattr(module, "cache_directory", lambda: Path("/nowhere"))
        monkeypatch.setattr(module, "is_compiled", lambda directory, name: self.compiled)
        monkeypatch.setattr(module, "mark_compiled", lambda directory, name: setattr(self, "compiled", True))
        monkeypatch.setattr(module, "load_search", self)

    def __call__(self, directory: Path) -> Any:
        self.count += 1
        return self.module


def searcher(always: bool = False) -> CompiledSearcher:
    config = ModelConfig(d_model=16, num_heads=1, d_ff=16, encoder_layers=1, decoder_layers=1)
    model = build_model(config, 20, 20)
    return CompiledSearcher(model, config, beam=1, n_best=1, scorer=Scorer(), scored=True, always=always)


def is_started(searcher: CompiledSearcher) -> bool:
    return searcher.start([np.array([5])], [3]) is not None


def test_a_short_text_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loads, s = Loads(monkeypatch, compiled=True), searcher()
    for _ in range(4):
        s.expect(module.MIN_SENTENCES // 5)
        assert not is_started(s)
    s.expect(module.MIN_SENTENCES // 5)
    assert is_started(s)
    s.expect(10_000)
    assert loads.count == 1


def test_compiling_needs_a_longer_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads, s = Loads(monkeypatch, compiled=False), searcher()
    s.expect(module.MIN_SENTENCES_TO_COMPILE - 1)
    assert not loads.count and not is_started(s)
    s.expect(module.MIN_SENTENCES_TO_COMPILE)
    assert is_started(s) and loads.compiled
    assert "compiling" in capsys.readouterr().err


def test_many_small_requests_never_stop_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    loads, s = Loads(monkeypatch, compiled=False), searcher()
    for _ in range(2 * module.MIN_SENTENCES_TO_COMPILE // 100):
        s.expect(100)
    assert not loads.count


def test_always(monkeypatch: pytest.MonkeyPatch) -> None:
    _, s = Loads(monkeypatch, compiled=False), searcher(always=True)
    s.expect(1)
    assert is_started(s)


@pytest.mark.parametrize("obstacle", ["no directory", "weights"])
def test_an_obstacle_leaves_the_text_to_torch(monkeypatch: pytest.MonkeyPatch, obstacle: str) -> None:
    _, s = (
        Loads(monkeypatch, compiled=True, weight=np.nan if obstacle == "weights" else 1.0),
        searcher(always=True),
    )
    if obstacle == "no directory":
        monkeypatch.setattr(module, "cache_directory", lambda: None)
    s.expect(10_000)
    assert not is_started(s)
