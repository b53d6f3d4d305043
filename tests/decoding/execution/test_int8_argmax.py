"""The screened choice is that of the exact product, whatever weights and states look like."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from transformer_cli.batch import EOS
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax, Int8ArgmaxModel
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.layout import Layout
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig

pytestmark = pytest.mark.skipif(
    not Int8Argmax.supports(torch.zeros(1024, 8)), reason="this processor has no int8 product that pays"
)
V, D = 2048, 64


def never(x: Tensor) -> Tensor:
    raise AssertionError("all were computed exactly")


@pytest.mark.parametrize("outlier", [1.0, 30.0])
@pytest.mark.parametrize("spread", [0.05, 1.0, 20.0])
def test_the_largest_is_the_largest_and_exact(outlier: float, spread: float) -> None:
    weight = torch.randn(V, D) * D**-0.5 * torch.rand(V, 1)
    x = torch.randn(40, 1, D) * spread
    x[0] *= outlier  # one scale for all rows: the others are rounded the more
    exact = x @ weight.T
    output = Int8Argmax(weight, lambda rows: rows @ weight.T)
    found = output(x)
    assert found.shape == exact.shape
    exact[..., :EOS] = -torch.inf
    best, place = exact.max(dim=-1)
    assert torch.equal(found.argmax(dim=-1), place)
    torch.testing.assert_close(found.amax(dim=-1), best, rtol=1e-5, atol=1e-5 * spread)


def test_the_bound_holds_and_is_no_mere_infinity() -> None:
    weight, x = torch.randn(V, D) * D**-0.5, torch.randn(100, D)
    output = Int8Argmax(weight, never)
    error = (output.rough(x) - x @ weight.T).abs().amax(dim=1)
    bound = output.bound(x)
    assert bool((error <= bound).all()) and float(bound.max()) < 1.0


def test_pieces_that_are_never_said_hide_no_other() -> None:
    weight, x = torch.randn(V, D), torch.randn(20, D)
    weight[:EOS] *= 100.0
    found = Int8Argmax(weight, lambda rows: rows @ weight.T)(x)
    found[:, :EOS] = -torch.inf  # as search does with every logit
    assert torch.equal(found.argmax(dim=-1), (x @ weight[EOS:].T).argmax(dim=-1) + EOS)


def test_few_candidates_are_computed_where_one_stands_out() -> None:
    weight = torch.randn(V, D) * D**-0.5
    x = 3.0 * weight[torch.randint(EOS, V, (30,))] * D**0.5
    output = Int8Argmax(weight, never)
    assert torch.equal(output(x).argmax(dim=-1), (x @ weight.T).argmax(dim=-1))


def test_many_candidates_are_left_to_the_exact_product() -> None:
    weight, asked = torch.ones(V, D), []

    def exact(x: Tensor) -> Tensor:
        asked.append(x.shape)
        return x @ weight.T

    Int8Argmax(weight, exact)(torch.randn(5, D))
    assert asked == [(5, D)]


def test_greedy_search_says_the_same() -> None:
    config = ModelConfig(d_model=D, num_heads=4, d_ff=64, encoder_layers=1, decoder_layers=2, positions="rotary")
    model = build_model(config, V, V).eval()
    fast = prepare_for_inference(model, "fp32")
    lengths = [5, 9, 2, 7]
    with torch.inference_mode():
        memory = fast.encode(torch.randint(4, V, (4, 9)), Layout.padded(lengths))
        limits = torch.full((4,), 30)
        plain = greedy_search(fast, memory, limits, scored=False)
        screened = Int8ArgmaxModel(fast, Int8Argmax(model.output_weight.detach(), fast.logits))
        found = greedy_search(screened, memory, limits, scored=False)
    assert [h.tokens for [h] in found] == [h.tokens for [h] in plain]
