"""Architectures by name. A new one is a file, a line here, and the laws of `tests/models/test_laws.py`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TypeVar

from transformer_cli.errors import ConfigError
from transformer_cli.models.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from transformer_cli.models.graph import GraphEncoder
from transformer_cli.models.protocol import Decoder, Encoder
from transformer_cli.models.recurrent import RecurrentDecoder, RecurrentEncoder
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.models.transformer import TransformerDecoder, TransformerEncoder
from transformer_cli.schema import ModelConfig

T = TypeVar("T")

ENCODERS: dict[str, Callable[[ModelConfig], Encoder]] = {
    "transformer": TransformerEncoder,
    "rnn": RecurrentEncoder,
    "tcn": ConvolutionalEncoder,
    "gat": GraphEncoder,
}
DECODERS: dict[str, Callable[[ModelConfig], Decoder]] = {
    "transformer": TransformerDecoder,
    "rnn": RecurrentDecoder,
    "tcn": ConvolutionalDecoder,
}


def build_model(config: ModelConfig, src_vocab: int, tgt_vocab: int) -> Seq2Seq:
    """The model that `config` describes, freshly initialised from torch's random state.

    Raises:
        ConfigError: no architecture of that name.
    """
    return Seq2Seq(
        _lookup(ENCODERS, "model.encoder", config.encoder)(config),
        _lookup(DECODERS, "model.decoder", config.decoder)(config),
        d_model=config.d_model,
        src_vocab=src_vocab,
        tgt_vocab=tgt_vocab,
        tie_embeddings=config.tie_embeddings,
    )


def check_architecture(config: ModelConfig) -> None:
    """Raises: ConfigError if `config` names an architecture that is not there."""
    _lookup(ENCODERS, "model.encoder", config.encoder)
    _lookup(DECODERS, "model.decoder", config.decoder)


def _lookup(known: Mapping[str, T], key: str, name: str) -> T:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"{key}: unknown architecture '{name}'{guess}", hint=f"known: {', '.join(known)}")
