"""Regional compilation: `torch.compile` applied to each layer instead of the whole model.

The compiler fuses the operations between the matrix products of a layer. All layers of one kind share
the compiled code, so compilation takes as long as for one encoder layer and one decoder layer. The
code is specialized for its input shapes; therefore only updates with static shapes use it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from transformer_cli.models.layers import LayerStack


class CompiledLayers:
    """Compiled versions of the layers of a model; they share the weights of the originals."""

    def __init__(self, model: nn.Module, backend: str = "inductor") -> None:
        """Wrap the layers; they are compiled at the first forward pass. `backend`: see `torch.compile`."""
        self.stacks = [module for module in model.modules() if isinstance(module, LayerStack)]
        self.compiled = [[_compile(layer, backend) for layer in stack.layers] for stack in self.stacks]

    @contextlib.contextmanager
    def use_compiled(self) -> Iterator[None]:
        """Context manager: replace the layers of the model by the compiled ones.

        On exit the original layers are restored, for inputs of other shapes and for saving.
        """
        originals = [stack.layers for stack in self.stacks]
        try:
            for stack, compiled in zip(self.stacks, self.compiled, strict=True):
                stack.layers = nn.ModuleList(compiled)
            yield
        finally:
            for stack, layers in zip(self.stacks, originals, strict=True):
                stack.layers = layers


def _compile(layer: nn.Module, backend: str) -> nn.Module:
    # fullgraph: a graph break would silently cost all of the speed-up; this way it raises an error.
    compiled: Any = torch.compile(layer, fullgraph=True, dynamic=False, backend=backend)
    assert isinstance(compiled, nn.Module)
    return compiled
