"""A model for translation only: weights packed for the processor, and other precisions.

int8 and packed fp32 products are for a CPU, bf16 is for a GPU, float64 for proofs.
Shapes: I inputs, O outputs of a linear map.
"""

from __future__ import annotations

import copy
import platform
import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transformer_cli.errors import ConfigError
from transformer_cli.models.layers import FeedForward

Model = TypeVar("Model", bound=nn.Module)

ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
"""torch's engines for int8, best first; which are there depends on the processor."""


class DynamicInt8Linear(nn.Module):
    """A linear map whose product is done in int8.

    Weights are rounded once, symmetrically, with a scale for each output; inputs at each call, with one scale for
    the whole tensor.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        self.packed = torch.ops.quantized.linear_prepack(round_weight(weight), bias)
        # Without VNNI two products are summed in 16 bits, which inputs of 8 bits would overflow.
        self.narrow = is_x86() and not torch.cpu._is_vnni_supported()
        self.levels = 127 if self.narrow else 255
        self.activation = "none"

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        relu = self.activation == "relu"
        product = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic
        out: Tensor = product(x, self.packed, self.narrow)
        return out


def round_weight(weight: Tensor) -> Tensor:
    """`[O, I]` -> the same in int8, with a scale for each output."""
    scales = weight.abs().amax(dim=1).clamp_min(1e-12) / 127.0
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        # The type of this tensor is deprecated; the packed product that it is made for has no other way in.
        warnings.simplefilter("ignore", UserWarning)
        return torch.quantize_per_channel(weight, scales.double(), zeros, axis=0, dtype=torch.qint8)


class PackedLinear(nn.Module):
    """A linear map whose weights are laid out once as oneDNN's product reads them.

    The general product rearranges the weights at every call, which costs as much as the product itself when
    the input has few rows, as in decoding.
    """

    ROWS = 64
    """The number of rows that the layout is chosen for; any number works."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        self.bias = bias
        self.activation = "none"
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, self.ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "")
        return out

    @staticmethod
    def suits(weight: Tensor) -> bool:
        """Whether weights of this kind can be laid out so."""
        return weight.device.type == "cpu" and weight.dtype == torch.float32 and PackedLinear.is_possible()

    @staticmethod
    def is_possible() -> bool:
        """Whether this torch and this processor have it."""
        has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return has_onednn and is_x86()


def is_x86() -> bool:
    """Whether the processor is of the kind that these products are written for."""
    return platform.machine() in ("x86_64", "AMD64")


def for_translation(model: Model, precision: str) -> Model:
    """A copy of the model that computes in this precision; not to be trained. May be the model itself.

    Raises:
        ConfigError: a precision that the device does not have.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if precision == "fp32":
        packs = PackedLinear.suits(next(model.parameters()))
        return _fused(_replaced(model, PackedLinear)) if packs else model
    if precision == "int8":
        if not on_cpu:
            raise ConfigError("precision int8 is for a CPU", hint="use --device cpu, or --precision bf16")
        if not choose_engine():
            raise ConfigError("precision int8: this torch has no engine for it", hint="use --precision fp32")
        return _fused(_replaced(model, DynamicInt8Linear))
    if precision == "fp64" and next(model.parameters()).device.type == "mps":
        raise ConfigError("precision fp64: this device has none", hint="use --device cpu")
    return copy.deepcopy(model).eval().to({"bf16": torch.bfloat16, "fp64": torch.float64}[precision])


def linear_map(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """`[O, I]` -> the map `[..., I]` -> `[..., O]`, as fast as the device has it."""
    if PackedLinear.suits(weight):
        return PackedLinear(weight)
    return lambda x: F.linear(x, weight)


def _fused(model: Model) -> Model:
    """The nonlinearity of a feed-forward network done in the product before it, while its result is at hand."""
    for module in model.modules():
        if not isinstance(module, FeedForward) or module.activation is not F.relu:
            continue
        if isinstance(module.up, PackedLinear | DynamicInt8Linear):
            module.up.activation = "relu"
            module.activation = _as_it_is
    return model


def _as_it_is(x: Tensor) -> Tensor:
    return x


def choose_engine() -> bool:
    """Make torch's int8 products use the best engine there is; False if there is none."""
    engine = next((e for e in ENGINES if e in torch.backends.quantized.supported_engines), None)
    if engine is not None:
        torch.backends.quantized.engine = engine
    return engine is not None


def _replaced(model: Model, kind: Callable[[Tensor, Tensor | None], nn.Module]) -> Model:
    """A copy whose linear maps are of another kind."""
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(
                    parent, name, kind(child.weight.detach(), None if child.bias is None else child.bias.detach())
                )
    return model
