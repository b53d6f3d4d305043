"""The chosen token is that of the exact product, for weights and states of any scale."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from transformer_cli.decoding.execution.int8_argmax import Int8Argmax, Int8ArgmaxModel
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.layout import Layout
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS

pytestmark = pytest.mark.skipif(
    not Int8Argmax.supports(torch.zeros(1024, 8)), reason="no fast int8 product on this processor"
)
V, D = 2048, 64


def unexpected_exact(x: Tensor) -> Tensor:
    raise AssertionError("all logits were computed exactly")


@pytest.mark.parametrize("outlier", [1.0, 30.0])
@pytest.mark.parametrize("spread", [0.05, 1.0, 20.0])
def test_the_largest_logit_is_found_and_exact(outlier: float, spread: float) -> None:
    weight = torch.randn(V, D) * D**-0.5 * torch.rand(V, 1)
    x = torch.randn(40, 1, D) * spread
    x[0] *= outlier  # one scale for all rows: the others are rounded more coarsely
    exact = x @ weight.T
    output = Int8Argmax(weight, lambda rows: rows @ weight.T)
    logits = output(x)
    assert logits.shape == exact.shape
    exact[..., :EOS] = -torch.inf
    best, index = exact.max(dim=-1)
    assert torch.equal(logits.argmax(dim=-1), index)
    torch.testing.assert_close(logits.amax(dim=-1), best, rtol=1e-5, atol=1e-5 * spread)


def test_the_bound_holds_and_is_tight() -> None:
    weight, x = torch.randn(V, D) * D**-0.5, torch.randn(100, D)
    output = Int8Argmax(weight, unexpected_exact)
    error = (output.approximate(x) - x @ weight.T).abs().amax(dim=1)
    bound = output.bound(x)
    assert bool((error <= bound).all()) and float(bound.max()) < 1.0


def test_special_tokens_do_not_hide_other_candidates() -> None:
    weight, x = torch.randn(V, D), torch.randn(20, D)
    weight[:EOS] *= 100.0
    logits = Int8Argmax(weight, lambda rows: rows @ weight.T)(x)
    logits[:, :EOS] = -torch.inf  # as search does
    assert torch.equal(logits.argmax(dim=-1), (x @ weight[EOS:].T).argmax(dim=-1) + EOS)


def test_few_candidates_are_computed_if_one_logit_stands_out() -> None:
    weight = torch.randn(V, D) * D**-0.5
    x = 3.0 * weight[torch.randint(EOS, V, (30,))] * D**0.5
    output = Int8Argmax(weight, unexpected_exact)
    assert torch.equal(output(x).argmax(dim=-1), (x @ weight.T).argmax(dim=-1))


def test_many_candidates_use_the_exact_product() -> None:
    weight, calls = torch.ones(V, D), []

    def exact(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return x @ weight.T

    Int8Argmax(weight, exact)(torch.randn(5, D))
    assert calls == [(5, D)]


def test_greedy_search_gives_the_same_tokens() -> None:
    config = ModelConfig(d_model=D, num_heads=4, d_ff=64, encoder_layers=1, decoder_layers=2, positions="rotary")
    model = build_model(config, V, V).eval()
    fast = prepare_for_inference(model, "fp32")
    lengths = [5, 9, 2, 7]
    with torch.inference_mode():
        memory = fast.encode(torch.randint(4, V, (4, 9)), Layout.padded(lengths))
        limits = torch.full((4,), 30)
        expected = greedy_search(fast, memory, limits, scored=False)
        model_int8 = Int8ArgmaxModel(fast, Int8Argmax(model.output_weight.detach(), fast.logits))
        results = greedy_search(model_int8, memory, limits, scored=False)
    assert [h.tokens for [h] in results] == [h.tokens for [h] in expected]
