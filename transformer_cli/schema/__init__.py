"""The configuration: every key with its default, range and help text, and the checks between keys.

This package is the one home of options: the options of the commands, `transformer-cli config` and
docs/reference.md are generated from its fields (see `options`). `config` reads the files that override
the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from transformer_cli.options import Section, key
from transformer_cli.schema.data import DataConfig
from transformer_cli.schema.decoding import CONSTRAINTS, REQUIRES, DecodingConfig
from transformer_cli.schema.types import Count, CountOrZero, Fraction, Seed

__all__ = [
    "CONSTRAINTS",
    "PRESETS",
    "REQUIRES",
    "Config",
    "DataConfig",
    "DecodingConfig",
    "ModelConfig",
    "OptimConfig",
    "TokenizerConfig",
    "TrainingConfig",
]


class TokenizerConfig(Section):
    """The subword vocabulary (SentencePiece)."""

    vocab_size: int = key(8000, "Size of the vocabulary, special tokens included.", ge=8, le=256_000)
    model_type: Literal["unigram", "bpe", "char"] = key("unigram", "Segmentation model.")
    joint: bool = key(True, "Share one vocabulary between source and target.")
    byte_fallback: bool = key(True, "Encode unknown characters as bytes, so that every text can be represented.")
    max_lines: int = key(
        500_000,
        "Lines, drawn at random, that the vocabulary is learned from; more take memory (1.4 GB for a million "
        "short lines) and hardly change it.",
        ge=1000,
        le=100_000_000,
    )
    character_coverage: float = key(
        0.9995, "Share of the characters of the text that the vocabulary covers.", gt=0.9, le=1.0
    )


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": dict(d_model=128, num_heads=4, d_ff=512, encoder_layers=4, decoder_layers=3),
    "small": dict(d_model=256, num_heads=4, d_ff=1024, encoder_layers=3, decoder_layers=3),
    "base": dict(d_model=512, num_heads=8, d_ff=2048, encoder_layers=6, decoder_layers=6),
    "big": dict(d_model=1024, num_heads=16, d_ff=4096, encoder_layers=6, decoder_layers=6, dropout=0.3),
}


class ModelConfig(Section):
    """The architecture and its size."""

    preset: Literal["tiny", "small", "base", "big"] = key(
        "small", "Sizes by name; any other key of this section overrides the preset."
    )
    encoder: str = key("transformer", "Encoder architecture.", values="transformer, rnn, tcn, gat")
    decoder: str = key("transformer", "Decoder architecture.", values="transformer, rnn, tcn")
    d_model: int = key(help="Width of the model.", ge=2, le=16_384)
    num_heads: Count = key(help="Attention heads.")
    d_ff: Count = key(help="Inner width of the feed-forward layers.")
    encoder_layers: Count = key(help="Number of encoder layers.")
    decoder_layers: Count = key(help="Number of decoder layers.")
    dropout: Fraction = key(0.1, "Dropout on embeddings and residual branches.")
    norm: Literal["pre", "post"] = key("pre", "Normalise before each residual branch, or after its addition.")
    norm_type: Literal["layer", "rms"] = key("layer", "LayerNorm or RMSNorm.")
    positions: Literal["sinusoidal", "learned", "rotary"] = key("sinusoidal", "Position encoding.")
    activation: Literal["relu", "gelu", "swiglu"] = key("relu", "Activation of the feed-forward layers.")
    tie_embeddings: Literal["none", "decoder", "all"] = key(
        "all", "Share weights: between target embedding and output projection (decoder), or also the source (all)."
    )
    attention: Literal["fused", "reference"] = key(
        "fused",
        "Attention kernel: torch's fused implementation, or softmax(QKᵀ/√d_k)V step by step as in the paper.",
    )
    cell: Literal["tanh", "gru", "lstm"] = key("gru", "Cell of rnn encoders and decoders.")
    rnn_attention: Literal["none", "additive", "multiplicative", "dot"] = key(
        "additive", "Attention of rnn decoders to the source; none = a single source vector."
    )
    input_feeding: bool = key(
        True, "Feed the attention output of rnn decoders into the next position (Luong 2015)."
    )
    kernel_size: int = key(
        3, "Kernel width of tcn encoders (odd) and decoders; layer n is dilated by 2ⁿ.", ge=2, le=15
    )
    window: CountOrZero = key(0, "Attention of gat encoders reaches this many positions; 0 = the whole sentence.")
    graph_attention: Literal["dynamic", "static"] = key(
        "dynamic", "Scores of gat encoders: GATv2 (dynamic) or the original GAT (static)."
    )
    max_positions: Count = key(1024, "Maximum length with learned positions; the other kinds have no limit.")

    @property
    def position_limit(self) -> int | None:
        """Maximum length of a sentence: the size of the table of learned positions; None for other kinds."""
        return self.max_positions if self.positions == "learned" else None

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        name = values.get("preset", cls.model_fields["preset"].default)
        preset = PRESETS.get(name, {}) if isinstance(name, str) else {}
        return {**preset, **values}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.d_model % self.num_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of num_heads {self.num_heads}")
        if self.positions == "rotary" and (self.d_model // self.num_heads) % 2:
            raise ValueError("rotary positions need an even head size (d_model / num_heads)")
        if self.encoder == "rnn" and self.d_model % 2:
            raise ValueError("an rnn encoder is bidirectional, with d_model / 2 each way: d_model must be even")
        if self.encoder == "tcn" and not self.kernel_size % 2:
            raise ValueError("a tcn encoder reads the same context on both sides: model.kernel_size must be odd")
        for side, layers in ((self.encoder, self.encoder_layers), (self.decoder, self.decoder_layers)):
            if side == "tcn" and (self.kernel_size - 1) * 2 ** (layers - 1) > 4096:
                raise ValueError(
                    f"{layers} tcn layers of kernel {self.kernel_size} reach beyond any sentence (4096)"
                )
        added = {"gat", "tcn"} & {self.encoder, self.decoder}
        if (self.positions == "sinusoidal" or (self.positions == "rotary" and added)) and self.d_model % 2:
            raise ValueError("sinusoidal positions need an even d_model")
        return self


class OptimConfig(Section):
    """Optimizer and learning-rate schedule."""

    algorithm: Literal["adamw", "muon"] = key(
        "adamw",
        "Optimizer. muon orthogonalises the updates of attention, feed-forward and convolution weights; the other "
        "parameters use AdamW.",
    )
    lr: float = key(1e-3, "Peak learning rate; for noam the factor of the formula.", gt=0.0, le=10.0)
    schedule: Literal["inverse_sqrt", "noam", "linear", "cosine", "constant"] = key(
        "linear", "Learning-rate schedule after the warm-up."
    )
    warmup_steps: CountOrZero = key(400, "Steps of linear warm-up to the peak learning rate.")
    min_lr_ratio: Fraction = key(0.02, "Final learning rate of linear and cosine, as a share of the peak.")
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = key((0.9, 0.98), "AdamW betas.")
    weight_decay: float = key(0.01, "Decoupled weight decay of matrices.", ge=0.0, le=1.0)
    clip_norm: float = key(1.0, "Maximum gradient norm; 0 = no clipping.", ge=0.0)


class TrainingConfig(Section):
    """Limits, validation, checkpoints."""

    languages: str | None = key(
        None,
        "Languages of source and target for `serve`, such as en,de; null = by the names of the training files.",
        values="two ISO 639 codes",
    )
    max_steps: Count = key(20_000, "Stop after this many updates.")
    max_minutes: float | None = key(
        None,
        "Stop after this many minutes of training, validation included; linear and cosine schedules then end at "
        "whichever limit comes first.",
        gt=0.0,
    )
    accumulate: Count = key(1, "Batches whose gradients are summed into one update.")
    label_smoothing: Fraction = key(0.1, "Label smoothing.")
    validate_every: Count = key(1000, "Steps between validations.")
    save_every: Count = key(1000, "Steps between checkpoints.")
    keep_last: Count = key(3, "Checkpoints to keep, in addition to the best one.")
    patience: CountOrZero = key(0, "Stop after this many validations without improvement; 0 = never.")
    metric: Literal["bleu", "chrf", "loss"] = key("bleu", "Validation score that selects the best checkpoint.")
    tune_length_penalty: bool = key(
        False,
        "After training, choose decoding.length_penalty by the BLEU of beam search on the validation set. Without "
        "a configuration file `train` does so, unless decoding.length_penalty is set.",
    )
    ema: Fraction = key(
        0.0, "Decay of the moving average of the weights, which is then validated and deployed; 0 = off."
    )
    precision: Literal["auto", "fp32", "bf16"] = key(
        "auto",
        "Precision of matrix products. auto = bf16 on CUDA, and on a CPU with fast bf16 for wide models.",
    )
    compile: bool = key(False, "On CUDA, compile the layers with torch.compile: about a minute at the start.")
    seed: Seed = key(1, "Random seed of initialisation, data order, dropout and the held-out pairs.")
    log_every: Count = key(50, "Steps between lines of metrics.jsonl.")


class Config(Section):
    """The whole configuration; see `configs/` for annotated examples."""

    tokenizer: TokenizerConfig = TokenizerConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = Field(default_factory=lambda: ModelConfig.model_validate({}))
    optim: OptimConfig = OptimConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model.tie_embeddings == "all" and not self.tokenizer.joint:
            raise ValueError("model.tie_embeddings 'all' needs tokenizer.joint: true (one vocabulary)")
        if self.data.subword_sampling and self.tokenizer.model_type != "unigram":
            raise ValueError("data.subword_sampling needs tokenizer.model_type unigram")
        limit = self.model.position_limit
        if limit is not None and self.data.max_length > limit:
            raise ValueError(
                f"data.max_length {self.data.max_length} is above model.max_positions {self.model.max_positions}"
            )
        if self.data.max_length > self.data.batch_tokens:
            raise ValueError(
                f"data.max_length {self.data.max_length} does not fit into data.batch_tokens "
                f"{self.data.batch_tokens}"
            )
        return self
