"""Compiled layers against the layers that they stand in for; without a compiler, for tracing is what can go wrong here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import VOCAB, trainer, weights
from test_static_update import PLAIN, fixed, nothing, packed
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.compilers import nop
from torch._subclasses.fake_tensor import FakeTensorMode

from transformer_cli.batch import TokenBudget
from transformer_cli.config import load_config
from transformer_cli.models.protocol import Memory
from transformer_cli.models.registry import build_model
from transformer_cli.ops import attention
from transformer_cli.ops.varlen import is_varlen_available
from transformer_cli.training import static_update
from transformer_cli.training.compiled import CompiledLayers

TRACED = partial(CompiledLayers, backend="aot_eager")
"""Traced, forward and backward, and run by torch's own operations."""


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    torch.compiler.reset()


def test_an_update_with_compiled_layers_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_update, "CompiledLayers", TRACED)
    plain, compiled = (
        trainer(tmp_path / n, *PLAIN, f"training.compile={c}") for n, c in (("a", "false"), ("b", "true"))
    )
    names = [name for name, _ in compiled.state.model.named_parameters()]
    said: list[str] = []
    compiled.notify = said.append
    updates = fixed(plain), fixed(compiled)
    for i in range(4):
        a, b = (update([packed(i)], packed(i).tokens, 1e-3, nothing) for update in updates)
        torch.testing.assert_close(a.nll, b.nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights(plain), weights(compiled), rtol=1e-4, atol=1e-5)
    assert said == ["compiling the layers, once: about a minute"] and updates[1].layers is not None
    assert [name for name, _ in compiled.state.model.named_parameters()] == names


def fails(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
    raise OSError("no compiler on this machine")


@pytest.mark.parametrize("backend", [fails, aot_autograd(fw_compiler=nop, bw_compiler=fails)])
def test_layers_that_cannot_be_compiled_run_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    """Forward or backward."""
    monkeypatch.setattr(static_update, "CompiledLayers", partial(CompiledLayers, backend=backend))
    plain, compiled = (
        trainer(tmp_path / n, *PLAIN, f"training.compile={c}") for n, c in (("a", "false"), ("b", "true"))
    )
    said: list[str] = []
    compiled.notify = said.append
    one, other = fixed(plain), fixed(compiled)
    found = [
        [update([packed(i)], packed(i).tokens, 1e-3, nothing).nll for i in range(3)] for update in (one, other)
    ]
    torch.testing.assert_close(*found)
    assert len(said) == 2 and "cannot be compiled" in said[1] and "no compiler" in said[1]
    assert other.layers is None


def test_layers_of_a_kind_share_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is compiled anew in later updates, or after a validation."""
    made: list[int] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        made.append(1)
        return graph

    monkeypatch.setattr(static_update, "CompiledLayers", partial(CompiledLayers, backend=counting))
    layers = ["model.encoder_layers=3", "model.decoder_layers=3", "training.compile=true"]
    t = trainer(tmp_path, *PLAIN, *layers)
    update = fixed(t)
    for i in range(4):
        update([packed(i)], packed(i).tokens, 1e-3, nothing)
        t.state.model.eval()
        t.state.model(packed(9).collate())
        t.state.model.train()
    assert len(made) == 2


@pytest.mark.skipif(not is_varlen_available(), reason="this torch has no attention for packed sentences")
def test_layers_with_the_attention_of_a_gpu_are_traced_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel itself needs CUDA; its place in the graph does not."""
    monkeypatch.setattr(attention, "supports_varlen", lambda q: True)
    config = load_config(None, ["model.preset=tiny", "model.dropout=0.0"]).model
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model = build_model(config, VOCAB, VOCAB)
        layout = TokenBudget(40, 9, 16).static_layout(torch.tensor([3, 9, 4]))
        x = torch.empty(40, config.d_model)
        layers = CompiledLayers(model, backend=backend)  # type: ignore[arg-type]
        with layers.use_compiled():
            model.encoder.layers[0](x, layout)  # type: ignore[attr-defined]
            model.decoder.layers[0](x, layout, Memory(x, layout))  # type: ignore[attr-defined]
    assert sum("varlen" in target for target in seen) == 3  # self, self, cross
