"""What the compiled search supports. Imports neither numba nor the modules that need it."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import DecodingConfig, ModelConfig
from transformer_cli.token_ids import EOS

WIDTH_MULTIPLE = 16
"""`d_model` is a multiple of this: rows consist of whole vectors on every processor."""
MAX_BEAM = 32
"""With more beams the candidates of each row, kept in order by insertion, cost more than they save."""
OFF = {
    "min_length_ratio": 0.0,
    "no_repeat_ngram": 0,
    "repetition_penalty": 1.0,
    "diversity_groups": 1,
    "sample": False,
    "mbr_samples": 0,
    "shortlist": 0,
}
"""Decoding keys that change the search, with the values at which they do not."""


def compiled_unsupported_reason(model: Any, config: ModelConfig, options: DecodingConfig) -> str:
    """Why the compiled search cannot be used with this model and these options; empty if it can.

    `model`: as trained, before `prepare_for_inference`.
    """
    if options.compiled == "never":
        return "decoding.compiled is never"
    if importlib.util.find_spec("numba") is None:
        return "the package numba is not installed (extra: fast)"
    for name, value in OFF.items():
        if getattr(options, name) != value:
            return f"decoding.{name} is not {value}"
    if options.precision not in ("fp32", "int8"):
        return "decoding.precision is neither fp32 nor int8"
    if options.precision == "int8" and not torch.cpu._is_vnni_supported():
        return "decoding.precision int8 needs a processor with VNNI"
    if not isinstance(model, Seq2Seq):
        return "an ensemble is searched by torch"
    if model.num_tags:
        return "a model of several target languages is searched by torch"
    if (config.encoder, config.decoder) != ("transformer", "transformer"):
        return f"the architecture {config.encoder} -> {config.decoder} is not a Transformer"
    if model.output_weight.device.type != "cpu":
        return f"compiled functions run on a CPU, this is {model.output_weight.device.type}"
    if config.d_model % WIDTH_MULTIPLE:
        return f"model.d_model is not a multiple of {WIDTH_MULTIPLE}"
    if options.beam > MAX_BEAM:
        return f"decoding.beam is greater than {MAX_BEAM}"
    if len(model.output_weight) <= 2 * options.beam + EOS:
        return "the vocabulary has fewer tokens than the beam has candidates"
    return ""
