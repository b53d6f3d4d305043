"""A model for translation only: weights packed for the processor, and other precisions.

int8 and packed fp32 products are for a CPU, bf16 is for a GPU, float64 for proofs.
Shapes: I inputs, O outputs of a linear map.
"""

from __future__ import annotations

import contextlib
import copy
import platform
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transformer_cli.errors import ConfigError
from transformer_cli.models.layers import FeedForward
from transformer_cli.runtime import is_intel

Model = TypeVar("Model", bound=nn.Module)

ENGINES = ("x86", "onednn", "fbgemm", "qnnpack")
"""torch's engines for int8, best first; which are there depends on the processor."""
WIDE = 4096
"""Outputs from which on oneDNN's int8 product is the faster one, where the processor has VNNI."""


class DynamicInt8Linear(nn.Module):
    """A linear map whose product is done in int8.

    Weights are rounded once, symmetrically, with a scale for each output; inputs at each call, with one scale for
    the whole tensor.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        # Without VNNI two products are summed in 16 bits, which inputs of 8 bits would overflow.
        self.narrow = is_x86() and not torch.cpu._is_vnni_supported()
        wide = is_x86() and not self.narrow and len(weight) >= WIDE
        with _engine("onednn" if wide else torch.backends.quantized.engine):
            self.packed = torch.ops.quantized.linear_prepack(quantize_weight(weight), bias)
        self.levels = 127 if self.narrow else 255
        self.activation = "none"

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        relu = self.activation == "relu"
        product = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic
        out: Tensor = product(x, self.packed, self.narrow)
        return out


def quantize_weight(weight: Tensor) -> Tensor:
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
    def supports(weight: Tensor) -> bool:
        """Whether weights of this kind can be laid out so."""
        return weight.device.type == "cpu" and weight.dtype == torch.float32 and PackedLinear.is_available()

    @staticmethod
    def is_available() -> bool:
        """Whether this torch and this processor have it."""
        has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return has_onednn and is_x86()


class TransposedLinear(nn.Module):
    """A linear map whose weights lie as the product reads them: for Intel's own processors.

    MKL has no call overhead worth the name, and there it is ahead of oneDNN where inputs have few rows and weights
    are small: 1.1 to 1.4 times with 40 to 120 rows.
    """

    INPUTS = 768
    """Up to so many, MKL sums the products of a row in the same order whatever the number of rows, from 2 on."""
    SPREAD = 3
    """Outputs for each input up to which it is ahead."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        self.bias = bias
        self.weight = weight.t().contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) == 1:  # one row has a way of its own, which rounds otherwise
            rows = rows.expand(2, -1)
        out = rows @ self.weight if self.bias is None else torch.addmm(self.bias, rows, self.weight)
        return out[: x.shape[:-1].numel()].view(*x.shape[:-1], self.weight.shape[1])

    @staticmethod
    def supports(weight: Tensor) -> bool:
        """Whether it is ahead of `PackedLinear` for this map, here."""
        outputs, inputs = weight.shape
        fits = inputs <= TransposedLinear.INPUTS and outputs <= TransposedLinear.SPREAD * inputs
        return fits and is_intel() and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]


def is_x86() -> bool:
    """Whether the processor is of the kind that these products are written for."""
    return platform.machine() in ("x86_64", "AMD64")


def prepare_for_inference(model: Model, precision: str) -> Model:
    """A copy of the model that computes in this precision; not to be trained. May be the model itself.

    Raises:
        ConfigError: a precision that the device does not have.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if precision == "fp32":
        packs = PackedLinear.supports(next(model.parameters()))
        return _fuse_activations(_replace_linears(model, _exact_linear)) if packs else model
    if precision == "int8":
        if not on_cpu:
            raise ConfigError("precision int8 is for a CPU", hint="use --device cpu, or --precision bf16")
        if not select_engine():
            raise ConfigError("precision int8: this torch has no engine for it", hint="use --precision fp32")
        return _fuse_activations(_replace_linears(model, DynamicInt8Linear))
    if precision == "fp64" and next(model.parameters()).device.type == "mps":
        raise ConfigError("precision fp64: this device has none", hint="use --device cpu")
    return copy.deepcopy(model).eval().to({"bf16": torch.bfloat16, "fp64": torch.float64}[precision])


def _exact_linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    return (TransposedLinear if TransposedLinear.supports(weight) else PackedLinear)(weight, bias)


def packed_linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """`[O, I]` -> the map `[..., I]` -> `[..., O]`, as fast as the device has it."""
    if PackedLinear.supports(weight):
        return PackedLinear(weight)
    return lambda x: F.linear(x, weight)


def _fuse_activations(model: Model) -> Model:
    """The nonlinearity of a feed-forward network done in the product before it, while its result is at hand."""
    for module in model.modules():
        if not isinstance(module, FeedForward) or module.activation is not F.relu:
            continue
        if isinstance(module.up, PackedLinear | DynamicInt8Linear):
            module.up.activation = "relu"
            module.activation = _identity
    return model


def _identity(x: Tensor) -> Tensor:
    return x


def select_engine() -> bool:
    """Make torch's int8 products use the best engine there is; False if there is none."""
    engine = next((e for e in ENGINES if e in torch.backends.quantized.supported_engines), None)
    if engine is not None:
        torch.backends.quantized.engine = engine
    return engine is not None


@contextlib.contextmanager
def _engine(name: str) -> Iterator[None]:
    """Weights are packed for the engine of the moment, and multiplied by the one that they are packed for."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name if name in torch.backends.quantized.supported_engines else before
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def _replace_linears(model: Model, kind: Callable[[Tensor, Tensor | None], nn.Module]) -> Model:
    """A copy whose linear maps are of another kind."""
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(
                    parent, name, kind(child.weight.detach(), None if child.bias is None else child.bias.detach())
                )
    return model
