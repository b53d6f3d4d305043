"""Compiled layers compared with the original layers.

The backends trace without generating code, because the project depends on tracing and not on a particular compiler.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import VOCAB, make_trainer, weights
from test_static_update import PLAIN, no_reduce, packed, static
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
"""Traces forward and backward and runs the graphs with the eager operations of torch."""


@pytest.fixture(autouse=True)
def _reset_compiler() -> None:
    torch.compiler.reset()


def test_updates_with_compiled_layers_equal_eager_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_update, "CompiledLayers", TRACED)
    plain, compiled = (
        make_trainer(tmp_path / n, *PLAIN, f"training.compile={c}") for n, c in (("a", "false"), ("b", "true"))
    )
    names = [name for name, _ in compiled.state.model.named_parameters()]
    messages: list[str] = []
    compiled.notify = messages.append
    updates = static(plain), static(compiled)
    for i in range(4):
        a, b = (update([packed(i)], packed(i).tokens, 1e-3, no_reduce) for update in updates)
        torch.testing.assert_close(a.nll, b.nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights(plain), weights(compiled), rtol=1e-4, atol=1e-5)
    assert messages == ["compiling the layers: takes about a minute, once"] and updates[1].layers is not None
    assert [name for name, _ in compiled.state.model.named_parameters()] == names


def failing(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
    raise OSError("no compiler on this machine")


@pytest.mark.parametrize("backend", [failing, aot_autograd(fw_compiler=nop, bw_compiler=failing)])
def test_layers_run_eagerly_if_compilation_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    """Compilation of the forward or the backward pass fails."""
    monkeypatch.setattr(static_update, "CompiledLayers", partial(CompiledLayers, backend=backend))
    plain, compiled = (
        make_trainer(tmp_path / n, *PLAIN, f"training.compile={c}") for n, c in (("a", "false"), ("b", "true"))
    )
    messages: list[str] = []
    compiled.notify = messages.append
    updates = static(plain), static(compiled)
    losses = [[update([packed(i)], packed(i).tokens, 1e-3, no_reduce).nll for i in range(3)] for update in updates]
    torch.testing.assert_close(*losses)
    assert len(messages) == 2 and "torch.compile failed" in messages[1] and "no compiler" in messages[1]
    assert updates[1].layers is None


def test_layers_of_one_kind_share_compiled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later updates and updates after a validation do not recompile."""
    compilations: list[int] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        compilations.append(1)
        return graph

    monkeypatch.setattr(static_update, "CompiledLayers", partial(CompiledLayers, backend=counting))
    layers = ["model.encoder_layers=3", "model.decoder_layers=3", "training.compile=true"]
    t = make_trainer(tmp_path, *PLAIN, *layers)
    update = static(t)
    for i in range(4):
        update([packed(i)], packed(i).tokens, 1e-3, no_reduce)
        t.state.model.eval()
        t.state.model(packed(9).collate())
        t.state.model.train()
    assert len(compilations) == 2


@pytest.mark.skipif(not is_varlen_available(), reason="needs torch.nn.attention.varlen")
def test_layers_with_packed_attention_are_traced_without_graph_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running the attention kernel needs CUDA; tracing it does not."""
    monkeypatch.setattr(attention, "supports_varlen", lambda q: True)
    config = load_config(None, ["model.preset=tiny", "model.dropout=0.0"]).model
    targets: list[str] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        targets.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model = build_model(config, VOCAB, VOCAB)
        layout = TokenBudget(40, 9, 16).static_layout(torch.tensor([3, 9, 4]))
        x = torch.empty(40, config.d_model)
        layers = CompiledLayers(model, backend=backend)  # type: ignore[arg-type]
        with layers.use_compiled():
            model.encoder.layers[0](x, layout)  # type: ignore[attr-defined]
            model.decoder.layers[0](x, layout, Memory(x, layout))  # type: ignore[attr-defined]
    assert (
        sum("varlen" in target for target in targets) == 3
    )  # encoder self-attention, decoder self-attention, cross-attention
