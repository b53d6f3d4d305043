"""Regional compilation: torch fuses what lies between the products of a layer, and leaves the rest of an update.

The code made for one layer serves all of its kind, so compiling takes as long as for one encoder and one decoder
layer. It depends on the shapes, which is why only updates of fixed shape ask for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from transformer_cli.models.layers import LayerStack


class CompiledLayers:
    """Compiled twins of a model's layers, with the same weights."""

    def __init__(self, model: nn.Module, backend: str = "inductor") -> None:
        """Compiles nothing yet: that is done at the first forward pass. `backend`: as `torch.compile` has it."""
        self.stacks = [part for part in model.modules() if isinstance(part, LayerStack)]
        self.twins = [[_compiled(layer, backend) for layer in stack.layers] for stack in self.stacks]

    @contextlib.contextmanager
    def use_compiled(self) -> Iterator[None]:
        """Within, the model computes with the twins; outside it is as it was, for other shapes and for saving."""
        layers = [stack.layers for stack in self.stacks]
        try:
            for stack, twins in zip(self.stacks, self.twins, strict=True):
                stack.layers = nn.ModuleList(twins)
            yield
        finally:
            for stack, own in zip(self.stacks, layers, strict=True):
                stack.layers = own


def _compiled(layer: nn.Module, backend: str) -> nn.Module:
    # Whole or not at all: a layer in pieces gains nothing, and nobody would know.
    twin: Any = torch.compile(layer, fullgraph=True, dynamic=False, backend=backend)
    assert isinstance(twin, nn.Module)
    return twin
