"""Attention maps equal the weights of the model; alignments count words, not tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transformer_cli.batch import collate
from transformer_cli.decoding.alignment import (
    align_words,
    attention_maps,
    coverage_score,
    cross_attention,
    generation_attention,
    pharaoh,
)
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.errors import ConfigError
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS

SIZES = ModelConfig(d_model=16, num_heads=2, d_ff=16, encoder_layers=2, decoder_layers=3)
SOURCES = [torch.randint(4, 30, (n,), generator=torch.Generator().manual_seed(n)).numpy() for n in (4, 7)]
TARGETS = [torch.randint(4, 30, (n,), generator=torch.Generator().manual_seed(n)).numpy() for n in (6, 3)]


@pytest.mark.parametrize("feeding", [True, False])
@pytest.mark.parametrize(("encoder", "decoder", "names"), [
    ("rnn", "rnn", {"decoder.cross_attention": (2, 1, 7, 8)}),
    ("gat", "tcn", {"encoder.layers.1.self_attention": (2, 2, 8, 8), "decoder.layers.0.cross_attention": (2, 2, 7, 8)}),
])  # fmt: skip
def test_maps_of_other_architectures(
    encoder: str, decoder: str, names: dict[str, tuple[int, ...]], feeding: bool
) -> None:
    sizes = SIZES.model_dump() | {"encoder": encoder, "decoder": decoder, "input_feeding": feeding}
    model = build_model(ModelConfig(**sizes), 30, 30).eval()
    maps = attention_maps(model, SOURCES, TARGETS)
    for name, shape in names.items():
        assert maps[name].shape == shape
        torch.testing.assert_close(maps[name].sum(-1), torch.ones(shape[:-1]))
    repeated = attention_maps(model, SOURCES, TARGETS)
    assert all(torch.equal(maps[name], repeated[name]) for name in maps)
    (first, _) = cross_attention(model, SOURCES, TARGETS)
    assert first.shape == (7, 5)
    assert generation_attention(model, SOURCES[0], TARGETS[0]).shape == (6, 4)


def test_maps_of_every_layer_and_the_model_is_restored() -> None:
    model = build_model(SIZES, 30, 30).eval()
    batch = collate([np.append(s, EOS) for s in SOURCES], [np.append(t, EOS) for t in TARGETS])
    kernels = [m.kernel for m in model.modules() if hasattr(m, "kernel")]
    with torch.no_grad():
        before = model(batch)
    maps = attention_maps(model, SOURCES, TARGETS)
    assert len(maps) == 2 + 3 * 2
    assert maps["encoder.layers.1.self_attention"].shape == (2, 2, 8, 8)
    assert maps["decoder.layers.0.cross_attention"].shape == (2, 2, 7, 8)
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    decoder = maps["decoder.layers.2.self_attention"]
    assert torch.equal(decoder, decoder.tril())
    assert float(maps["decoder.layers.0.cross_attention"][0, :, :, 5:].abs().max()) == 0.0  # padding
    assert [m.kernel for m in model.modules() if hasattr(m, "kernel")] == kernels
    with torch.no_grad():
        assert torch.equal(model(batch), before)


def test_cross_attention_is_the_penultimate_layer_without_padding() -> None:
    model = build_model(SIZES, 30, 30).eval()
    weights = attention_maps(model, SOURCES, TARGETS)["decoder.layers.1.cross_attention"].mean(1)
    unpadded = cross_attention(model, SOURCES, TARGETS)
    assert [m.shape for m in unpadded] == [(7, 5), (4, 8)]
    np.testing.assert_allclose(unpadded[1], weights[1, :4, :8])


def test_generation_attention_is_the_mean_of_two_layers_where_tokens_are_generated() -> None:
    model = build_model(SIZES, 30, 30).eval()
    maps = attention_maps(model, SOURCES[:1], TARGETS[:1])
    layers = [maps[f"decoder.layers.{i}.cross_attention"][0].mean(0) for i in (1, 2)]
    expected = torch.stack(layers).mean(0)[:6, :4]  # row t, which reads token t - 1, generates token t
    np.testing.assert_allclose(generation_attention(model, SOURCES[0], TARGETS[0]), expected, rtol=1e-6)


def test_an_ensemble_has_no_attention_weights() -> None:
    with pytest.raises(ConfigError, match="ensemble"):
        attention_maps(Ensemble([build_model(SIZES, 30, 30)]), SOURCES, TARGETS)


def test_links_connect_words() -> None:
    src = [b" the", b" ", b"bl", b"ue", b" house"]  # the | blue | house
    tgt = [b" das", b" bla", b"ue", b" Ha", b"us"]
    weights = np.zeros((5, 5), dtype=np.float32)
    weights[range(5), (0, 3, 3, 4, 2)] = 0.6
    assert pharaoh(align_words(weights, src, tgt)) == "0-0 1-1 1-2 2-2"
    assert align_words(weights, [], tgt) == []


def test_coverage_by_hand() -> None:
    weights = np.array([[0.5, 0.25, 0.25], [0.9, 0.1, 0.0]], dtype=np.float32)
    assert coverage_score(weights) == pytest.approx(np.log(0.35))
