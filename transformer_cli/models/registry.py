"""Architectures by name.

To add one, write a module that implements `protocol`, register it here and pass
`tests/models/test_laws.py`.
"""

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


def build_model(config: ModelConfig, src_vocab: int, tgt_vocab: int, num_tags: int = 0) -> Seq2Seq:
    """Build the model that `config` describes, initialised from torch's random state.

    `num_tags`: see `Seq2Seq.num_tags`.

    Raises:
        ConfigError: unknown architecture.
    """
    model = Seq2Seq(
        _lookup(ENCODERS, "model.encoder", config.encoder)(config),
        _lookup(DECODERS, "model.decoder", config.decoder)(config),
        d_model=config.d_model,
        src_vocab=src_vocab,
        tgt_vocab=tgt_vocab,
        tie_embeddings=config.tie_embeddings,
    )
    model.num_tags = num_tags
    return model


def check_architecture(config: ModelConfig) -> None:
    """Check that the encoder and the decoder of `config` exist, without building them.

    Raises:
        ConfigError: unknown architecture.
    """
    _lookup(ENCODERS, "model.encoder", config.encoder)
    _lookup(DECODERS, "model.decoder", config.decoder)


def _lookup(known: Mapping[str, T], key: str, name: str) -> T:
    if name in known:
        return known[name]
    matches = difflib.get_close_matches(name, known, n=1)
    suggestion = f"; did you mean '{matches[0]}'?" if matches else ""
    raise ConfigError(f"{key}: unknown architecture '{name}'{suggestion}", hint=f"known: {', '.join(known)}")
