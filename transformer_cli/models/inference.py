"""Conversion of trained models for inference: packed weights and reduced or double precision.

int8 and packed fp32 are for CPUs, bf16 is for GPUs, float64 for comparing implementations.

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
"""torch's int8 engines, fastest first; their availability depends on the processor."""
ONEDNN_MIN_OUTPUTS = 4096
"""Number of outputs from which oneDNN's int8 product is the fastest on processors with VNNI."""


class DynamicInt8Linear(nn.Module):
    """Linear map with an int8 product.

    Weights are quantized once, symmetrically, with one scale per output; inputs are quantized at
    each call, with one scale per tensor.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        # Without VNNI, pairs of products are added in 16 bits, which overflow unless inputs use 7 bits.
        self.reduce_range = is_x86() and not torch.cpu._is_vnni_supported()
        use_onednn = is_x86() and not self.reduce_range and len(weight) >= ONEDNN_MIN_OUTPUTS
        with _use_engine("onednn" if use_onednn else torch.backends.quantized.engine):
            self.packed = torch.ops.quantized.linear_prepack(quantize_weight(weight), bias)
        self.levels = 127 if self.reduce_range else 255
        self.activation = "none"

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        relu = self.activation == "relu"
        product = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic
        out: Tensor = product(x, self.packed, self.reduce_range)
        return out


def quantize_weight(weight: Tensor) -> Tensor:
    """Quantize `[O, I]` weights to int8, symmetrically, with one scale per output."""
    scales = weight.abs().amax(dim=1).clamp_min(1e-12) / 127.0
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    with warnings.catch_warnings():
        # Quantized tensors are deprecated, but `linear_prepack` accepts nothing else.
        warnings.simplefilter("ignore", UserWarning)
        return torch.quantize_per_channel(weight, scales.double(), zeros, axis=0, dtype=torch.qint8)


class PackedLinear(nn.Module):
    """Linear map with weights in oneDNN's blocked format, converted once.

    The general product converts the weights at every call, which costs as much as the product
    itself when the input has few rows, as in decoding.
    """

    EXPECTED_ROWS = 64
    """Number of input rows for which oneDNN selects the format; inputs may have any number."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        self.bias = bias
        self.activation = "none"
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, self.EXPECTED_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "")
        return out

    @staticmethod
    def supports(weight: Tensor) -> bool:
        """Whether weights on this device and of this dtype can be packed."""
        return weight.device.type == "cpu" and weight.dtype == torch.float32 and PackedLinear.is_available()

    @staticmethod
    def is_available() -> bool:
        """Whether the installed torch and the processor support oneDNN."""
        has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return has_onednn and is_x86()


class TransposedLinear(nn.Module):
    """Linear map with transposed weights, multiplied by MKL; for Intel processors.

    MKL's call overhead is small: on Intel processors it is faster than oneDNN for few rows and
    small weights, 1.1 to 1.4 times with 40 to 120 rows.
    """

    MAX_INPUTS = 768
    """Up to this size MKL's order of summation within a row does not depend on the number of rows,
    if that is 2 or more."""
    MAX_OUTPUT_RATIO = 3
    """Largest ratio of outputs to inputs at which MKL is faster than oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """`weight`: `[O, I]` float32; `bias`: `[O]`."""
        super().__init__()
        self.bias = bias
        self.weight = weight.t().contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """`[..., I]` -> `[..., O]`."""
        rows = x.reshape(-1, x.shape[-1])
        if len(rows) == 1:  # MKL multiplies a single row with another kernel, which rounds differently
            rows = rows.expand(2, -1)
        out = rows @ self.weight if self.bias is None else torch.addmm(self.bias, rows, self.weight)
        return out[: x.shape[:-1].numel()].view(*x.shape[:-1], self.weight.shape[1])

    @staticmethod
    def supports(weight: Tensor) -> bool:
        """Whether this map is faster here than `PackedLinear`."""
        outputs, inputs = weight.shape
        is_small = inputs <= TransposedLinear.MAX_INPUTS and outputs <= TransposedLinear.MAX_OUTPUT_RATIO * inputs
        return is_small and is_intel() and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]


def is_x86() -> bool:
    """Whether the processor is x86-64."""
    return platform.machine() in ("x86_64", "AMD64")


def prepare_for_inference(model: Model, precision: str) -> Model:
    """Convert a model for inference in the given precision.

    Args:
        precision: `fp32`, `bf16`, `int8` or `fp64`.

    Returns:
        A copy that cannot be trained; for fp32 the model itself if its weights cannot be packed.

    Raises:
        ConfigError: the device does not support the precision.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if precision == "fp32":
        can_pack = PackedLinear.supports(next(model.parameters()))
        return _fuse_activations(_replace_linears(model, _fp32_linear)) if can_pack else model
    if precision == "int8":
        if not on_cpu:
            raise ConfigError("precision int8 requires a CPU", hint="use --device cpu, or --precision bf16")
        if not select_engine():
            raise ConfigError("precision int8: this torch has no int8 engine", hint="use --precision fp32")
        return _fuse_activations(_replace_linears(model, DynamicInt8Linear))
    if precision == "fp64" and next(model.parameters()).device.type == "mps":
        raise ConfigError("precision fp64: not supported by MPS devices", hint="use --device cpu")
    return copy.deepcopy(model).eval().to({"bf16": torch.bfloat16, "fp64": torch.float64}[precision])


def _fp32_linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    return (TransposedLinear if TransposedLinear.supports(weight) else PackedLinear)(weight, bias)


def packed_linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Return x Wᵀ as a function `[..., I]` -> `[..., O]`, with packed weights `[O, I]` where supported."""
    if PackedLinear.supports(weight):
        return PackedLinear(weight)
    return lambda x: F.linear(x, weight)


def _fuse_activations(model: Model) -> Model:
    """Fuse the ReLU of each feed-forward network into the product before it, in place."""
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
    """Select torch's fastest int8 engine for this process; return False if there is none."""
    engine = next((e for e in ENGINES if e in torch.backends.quantized.supported_engines), None)
    if engine is not None:
        torch.backends.quantized.engine = engine
    return engine is not None


@contextlib.contextmanager
def _use_engine(name: str) -> Iterator[None]:
    """Pack weights for another int8 engine, if it is supported. Packed weights keep their engine afterwards."""
    previous = torch.backends.quantized.engine
    torch.backends.quantized.engine = name if name in torch.backends.quantized.supported_engines else previous
    try:
        yield
    finally:
        torch.backends.quantized.engine = previous


def _replace_linears(model: Model, build: Callable[[Tensor, Tensor | None], nn.Module]) -> Model:
    """Copy a model and replace each linear map by `build(weight, bias)`."""
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                bias = None if child.bias is None else child.bias.detach()
                setattr(parent, name, build(child.weight.detach(), bias))
    return model
