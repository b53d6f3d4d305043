"""Converted models compute nearly the same results, and the original model is not modified."""

from __future__ import annotations

import pytest
import torch

from transformer_cli.batch import collate_sentences
from transformer_cli.models import inference as inference_module
from transformer_cli.models.inference import (
    DynamicInt8Linear,
    PackedLinear,
    TransposedLinear,
    prepare_for_inference,
)
from transformer_cli.models.registry import build_model
from transformer_cli.runtime import is_intel
from transformer_cli.schema import ModelConfig

SIZES = ModelConfig(d_model=64, num_heads=4, d_ff=128, encoder_layers=1, decoder_layers=1)


def test_int8_product_approximates_the_exact_product() -> None:
    weight, x = torch.randn(96, 64), torch.randn(3, 5, 64)
    weight[0] *= 100.0  # one scale per output: does not affect the precision of the others
    prepare_for_inference(torch.nn.Linear(1, 1, bias=False), "int8")  # selects the int8 engine
    out, exact = DynamicInt8Linear(weight)(x), x @ weight.T
    assert out.shape == exact.shape
    error = (out - exact).flatten(0, 1).norm(dim=0) / exact.flatten(0, 1).norm(dim=0)
    assert float(error.max()) < 0.03


@pytest.mark.parametrize("kind", ["transformer", "rnn", "tcn"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("int8", 0.1), ("bf16", 0.1), ("fp64", 1e-5)])
def test_converted_model_approximates_the_original(precision: str, bound: float, kind: str) -> None:
    sizes = SIZES.model_dump() | {"encoder": kind, "decoder": kind}
    model = build_model(ModelConfig(**sizes), 50, 50).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    converted = prepare_for_inference(model, precision)
    ids, layout = collate_sentences([torch.randint(4, 50, (n,)).numpy() for n in (5, 9)])
    tokens, parents = torch.randint(4, 50, (2, 3)), torch.zeros(2, 3, dtype=torch.int64)
    with torch.inference_mode():
        expected, logits = (
            m.decode_step(tokens, m.init_state(m.encode(ids, layout)).reorder(parents))[0]
            for m in (model, converted)
        )
    assert float((logits - expected).norm() / expected.norm()) < bound
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())


@pytest.mark.skipif(not is_intel(), reason="guaranteed on Intel processors only")
@pytest.mark.parametrize(("inputs", "outputs"), [(256, 256), (256, 768), (512, 1536), (768, 768)])
def test_transposed_product_of_a_row_does_not_depend_on_the_number_of_rows(inputs: int, outputs: int) -> None:
    weight, x = torch.randn(outputs, inputs), torch.randn(400, inputs)
    assert TransposedLinear.supports(weight)
    linear = TransposedLinear(weight)
    expected = linear(x)
    for rows in (1, 2, 3, 7, 16, 33, 100, 399):
        assert torch.equal(linear(x[:rows]), expected[:rows])


@pytest.mark.parametrize("use_bias", [True, False])
def test_transposed_linear_equals_torch_linear(use_bias: bool) -> None:
    module = torch.nn.Linear(40, 96, bias=use_bias)
    weight, bias = module.weight.detach(), module.bias.detach() if use_bias else None
    for shape in ((2, 3, 40), (1, 1, 40), (0, 40), (40,)):
        x = torch.randn(shape)
        torch.testing.assert_close(TransposedLinear(weight, bias)(x), module(x).detach())


@pytest.mark.parametrize("intel", [True, False])
def test_fp32_linear_maps_depend_on_the_processor(intel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference_module, "is_intel", lambda: intel)
    model = build_model(SIZES.model_copy(update={"d_ff": 256}), 500, 500).eval()
    kinds = {type(m) for m in prepare_for_inference(model, "fp32").modules()} & {PackedLinear, TransposedLinear}
    if PackedLinear.is_available():
        assert kinds == ({PackedLinear, TransposedLinear} if intel else {PackedLinear})
        ids, layout = collate_sentences([torch.randint(4, 50, (n,)).numpy() for n in (5, 9)])
        states, expected = (m.encode(ids, layout).states for m in (prepare_for_inference(model, "fp32"), model))
        torch.testing.assert_close(states, expected)


@pytest.mark.skipif(not PackedLinear.is_available(), reason="requires oneDNN on x86-64")
@pytest.mark.parametrize("rows", [1, 3, 64, 500])
def test_packed_linear_equals_the_exact_product(rows: int) -> None:
    weight, x = torch.randn(96, 40), torch.randn(2, rows, 40)
    torch.testing.assert_close(PackedLinear(weight)(x), x @ weight.T)
