"""Conversion of the weights to a CTranslate2 model specification.

CTranslate2 describes a Transformer by a tree of arrays (a specification). Differences to this program: LayerNorm
has a bias (zeros here), positions are a table, and excluded tokens get a negative bias in the output projection.
Shapes: D `d_model`, F `d_ff`, V vocabulary, P positions; matrices are `[outputs, inputs]` in both programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.deployment.ctranslate2_support import ACTIVATIONS, NORMS, check_supported, import_ctranslate2
from transformer_cli.errors import ConfigError
from transformer_cli.ops.positions import BASE, sinusoids
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import BOS, EOS, PAD, UNK

Array = NDArray[np.float32]

EXCLUDED_BIAS = -1e4
"""Added to the logits of PAD, UNK and BOS, so that they are never generated; representable in float16."""


class WeightTree:
    """Weights that are taken by name; `finish` checks that all were exported."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = dict(weights)

    def take(self, name: str) -> Array:
        """Remove and return a weight, as a copy: CTranslate2 quantizes arrays in place."""
        return self._weights.pop(name).detach().to("cpu", torch.float32, copy=True).numpy()

    def take_split(self, name: str, count: int) -> list[Array]:
        """Take a weight `[count · rows, columns]` and split it into `count` arrays `[rows, columns]`."""
        return [part.copy() for part in np.split(self.take(name), count)]

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def finish(self) -> None:
        """Raises: ConfigError if a weight was not exported."""
        if self._weights:
            raise ConfigError(
                f"this model has weights that CTranslate2 does not support: {', '.join(sorted(self._weights))}"
            )


def build_spec(
    config: ModelConfig, weights: Mapping[str, Tensor], vocabularies: Vocabularies, positions: int
) -> Any:
    """Build a validated `ctranslate2.specs.TransformerSpec`.

    Args:
        weights: parameters by name, as returned by `Seq2Seq.named_parameters` (shared parameters once).
        positions: P, number of rows of the sinusoid table.

    Raises:
        ConfigError: ctranslate2 is not installed, or it does not support the model.
    """
    specs = import_ctranslate2().specs
    check_supported(config)
    tree = WeightTree(weights)
    rotary = config.positions == "rotary"
    options = dict(
        num_heads=config.num_heads,
        pre_norm=config.norm == "pre",
        activation=specs.Activation[ACTIVATIONS[config.activation]],
        ffn_glu=config.activation == "swiglu",
        rms_norm=NORMS[config.norm_type],
        rotary_dim=config.d_model // config.num_heads if rotary else None,
        rotary_interleave=True,
        rotary_base=BASE,
    )
    encoder = specs.TransformerEncoderSpec(config.encoder_layers, **options)
    decoder = specs.TransformerDecoderSpec(config.decoder_layers, **options)
    for side, spec in (("encoder", encoder), ("decoder", decoder)):
        for i, layer in enumerate(spec.layer):
            _fill_layer(layer, tree, f"{side}.layers.{i}", config)
        if config.norm == "pre":
            _fill_norm(spec.layer_norm, tree, f"{side}.norm")
        if not rotary:
            spec.position_encodings.encodings = _position_table(tree, side, config, positions)
    _fill_embeddings(encoder, decoder, tree)
    tree.finish()
    spec = specs.TransformerSpec(encoder, decoder)
    _fill_vocabularies(spec, vocabularies)
    spec.validate()
    return spec


def _fill_layer(spec: Any, tree: WeightTree, name: str, config: ModelConfig) -> None:
    """Fill an encoder layer, or a decoder layer if it has cross-attention."""
    attention = spec.self_attention
    attention.linear[0].weight = tree.take(f"{name}.self_attention.query_key_value.weight")  # [3D, D]
    attention.linear[1].weight = tree.take(f"{name}.self_attention.out.weight")
    _fill_norm(attention.layer_norm, tree, f"{name}.self_residual.norm")
    if f"{name}.cross_attention.query.weight" in tree:
        cross = spec.attention
        for linear, part in zip(cross.linear, ("query", "key_value", "out"), strict=True):
            linear.weight = tree.take(f"{name}.cross_attention.{part}.weight")
        _fill_norm(cross.layer_norm, tree, f"{name}.cross_residual.norm")
    if config.activation == "swiglu":
        gate, value = tree.take_split(f"{name}.feed_forward.up.weight", 2)  # [F, D] each
        spec.ffn.linear_0.weight, spec.ffn.linear_0_noact.weight = gate, value
    else:
        spec.ffn.linear_0.weight = tree.take(f"{name}.feed_forward.up.weight")
    spec.ffn.linear_1.weight = tree.take(f"{name}.feed_forward.down.weight")
    _fill_norm(spec.ffn.layer_norm, tree, f"{name}.feed_residual.norm")


def _fill_norm(spec: Any, tree: WeightTree, name: str) -> None:
    """Fill a norm. Both programs use the same epsilons (1e-5 with a bias, 1e-6 without)."""
    spec.gamma = tree.take(f"{name}.weight")
    if hasattr(spec, "beta"):
        spec.beta = np.zeros_like(spec.gamma)


def _position_table(tree: WeightTree, side: str, config: ModelConfig, positions: int) -> Array:
    """Position table `[P, D]`. CTranslate2 orders its own sinusoids differently, so the table is exported."""
    learned = f"{side}.positions.table.weight"
    if learned in tree:
        return tree.take(learned)
    return sinusoids(torch.arange(positions), config.d_model).numpy()


def _fill_embeddings(encoder: Any, decoder: Any, tree: WeightTree) -> None:
    """Fill the embeddings and the output projection.

    Tied matrices are the same array, which CTranslate2 stores once. Both programs scale embeddings by √D.
    """
    target = tree.take("tgt_embedding.weight")
    source = tree.take("src_embedding.weight") if "src_embedding.weight" in tree else target
    output = tree.take("output.weight") if "output.weight" in tree else target
    encoder.embeddings[0].weight = source
    decoder.embeddings.weight = target
    decoder.projection.weight = output
    bias = np.zeros(len(output), dtype=np.float32)  # [V]
    bias[[PAD, UNK, BOS]] = EXCLUDED_BIAS
    decoder.projection.bias = bias


def _fill_vocabularies(spec: Any, vocabularies: Vocabularies) -> None:
    tokens = vocabularies.tgt.vocabulary
    spec.register_source_vocabulary(vocabularies.src.vocabulary)
    spec.register_target_vocabulary(tokens)
    config = spec.config
    config.unk_token, config.bos_token, config.eos_token = tokens[UNK], tokens[BOS], tokens[EOS]
    config.decoder_start_token = tokens[BOS]
    config.add_source_bos, config.add_source_eos = False, True
