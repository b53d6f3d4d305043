"""The configuration: every key, its default, its range, and the checks between keys.

This file is the one home of defaults; `config` reads the files that set them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Strict, frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TokenizerConfig(Section):
    vocab_size: Annotated[int, Field(ge=8, le=256_000)] = 8000
    model_type: Literal["unigram", "bpe", "char"] = "unigram"
    joint: bool = True
    byte_fallback: bool = True
    character_coverage: Annotated[float, Field(gt=0.9, le=1.0)] = 0.9995


class FiltersConfig(Section):
    """Pairs that training leaves out (blank sides are always left out)."""

    length_ratio: Annotated[float, Field(ge=0.0)] = 9.0
    """Longest side over shortest side, in pieces; 0 = keep all."""
    duplicates: bool = False
    """Leave out a pair that stood before, word for word."""


class DataConfig(Section):
    max_length: Annotated[int, Field(ge=4, le=4096)] = 200
    """Pieces of a sentence; training leaves longer pairs out, translation splits longer lines."""
    batch_tokens: Annotated[int, Field(ge=16)] = 4096
    """Tokens of the longer side of a batch, padding included."""
    subword_sampling: Fraction = 0.0
    """Train on segmentations drawn anew each epoch, with the α of Kudo 2018: .2 wild, .5 tame; 0 = the likeliest,
    always. Needs a unigram vocabulary."""
    filters: FiltersConfig = FiltersConfig()


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": dict(d_model=128, num_heads=4, d_ff=512, encoder_layers=4, decoder_layers=3),
    "small": dict(d_model=256, num_heads=4, d_ff=1024, encoder_layers=3, decoder_layers=3),
    "base": dict(d_model=512, num_heads=8, d_ff=2048, encoder_layers=6, decoder_layers=6),
    "big": dict(d_model=1024, num_heads=16, d_ff=4096, encoder_layers=6, decoder_layers=6, dropout=0.3),
}


class ModelConfig(Section):
    preset: Literal["tiny", "small", "base", "big"] = "small"
    """Sizes by name; any key beside it wins over the preset."""
    encoder: str = "transformer"
    decoder: str = "transformer"
    d_model: Annotated[int, Field(ge=2, le=16_384)]
    num_heads: Count
    d_ff: Count
    encoder_layers: Count
    decoder_layers: Count
    dropout: Fraction = 0.1
    norm: Literal["pre", "post"] = "pre"
    norm_type: Literal["layer", "rms"] = "layer"
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    activation: Literal["relu", "gelu", "swiglu"] = "relu"
    tie_embeddings: Literal["none", "decoder", "all"] = "all"
    attention: Literal["fused", "reference"] = "fused"
    """`reference` computes softmax(QKᵀ/√d_k)V step by step, as the paper writes it."""
    cell: Literal["tanh", "gru", "lstm"] = "gru"
    """Of `rnn` encoders and decoders."""
    rnn_attention: Literal["none", "additive", "multiplicative", "dot"] = "additive"
    """Of `rnn` decoders, to the source; `none` leaves one vector of it."""
    input_feeding: bool = True
    """Of `rnn` decoders: a position reads what the one before attended to."""
    kernel_size: Annotated[int, Field(ge=2, le=15)] = 3
    """Of `tcn` encoders (odd) and decoders: positions that a convolution reads; layer n reads every 2ⁿ-th."""
    window: CountOrZero = 0
    """Of `gat` encoders: nodes attend to those so many positions away; 0 = to all."""
    graph_attention: Literal["dynamic", "static"] = "dynamic"
    """Of `gat` encoders: GATv2, or the older GAT, whose queries all rank the keys alike."""
    max_positions: Count = 1024
    """Rows of the table of learned positions; the other kinds have no bound."""

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
            raise ValueError("an rnn encoder reads both ways with half of d_model each: it must be even")
        if self.encoder == "tcn" and not self.kernel_size % 2:
            raise ValueError("a tcn encoder looks both ways equally far: model.kernel_size must be odd")
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
    algorithm: Literal["adamw", "muon"] = "adamw"
    """`muon` orthogonalises the updates of the maps of attention, feed-forward and convolution; the rest
    (embeddings, norms, recurrent cells) is AdamW's in both."""
    lr: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """Peak learning rate; for `noam` the factor of the paper's formula."""
    schedule: Literal["inverse_sqrt", "noam", "linear", "cosine", "constant"] = "linear"
    warmup_steps: CountOrZero = 400
    min_lr_ratio: Fraction = 0.02
    """Share of the peak that `linear` and `cosine` end at."""
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.98)
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    clip_norm: Annotated[float, Field(ge=0.0)] = 1.0
    """Largest norm of the gradient; 0 = no clipping."""


class TrainingConfig(Section):
    max_steps: Count = 20_000
    max_minutes: Annotated[float, Field(gt=0.0)] | None = None
    """Wall-clock limit, validation included; `linear` and `cosine` then end at whichever limit comes first."""
    accumulate: Count = 1
    """Batches whose gradients are summed in one step; equal to one batch of that size."""
    label_smoothing: Fraction = 0.1
    validate_every: Count = 1000
    save_every: Count = 1000
    keep_last: Count = 3
    patience: CountOrZero = 0
    """Validations without improvement before training stops; 0 = never stop early."""
    metric: Literal["bleu", "chrf", "loss"] = "bleu"
    ema: Fraction = 0.0
    """Decay of the moving average of the weights; 0 = off. With it, validation and the model use the average."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of matrix products while training; `auto` is bf16 where it pays (on CUDA, and on a CPU that
    multiplies it faster, where the model is wide enough), fp32 elsewhere."""
    compile: bool = False
    """On CUDA, let torch fuse the layers' kernels first: about a minute, for runs of many minutes."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
    log_every: Count = 50


class DecodingConfig(Section):
    beam: Annotated[int, Field(ge=1, le=256)] = 5
    """Beam width; 1 = greedy."""
    length_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    """GNMT alpha: scores are divided by ((5 + length) / 6) ** alpha."""
    coverage_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """GNMT beta: among the finished hypotheses, those that leave source pieces unattended lose."""
    max_length_ratio: Annotated[float, Field(gt=0.0, le=100.0)] = 2.0
    """A translation has at most this many pieces per source piece, and 10 more."""
    min_length_ratio: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """A translation has at least this many pieces per source piece."""
    no_repeat_ngram: CountOrZero = 0
    """No n pieces in a row are said twice; 0 = they may."""
    repetition_penalty: Annotated[float, Field(ge=1.0, le=100.0)] = 1.0
    """Log-probabilities of pieces already said are multiplied by this, in scores too; 1 = left alone."""
    diversity_groups: Count = 1
    """Diverse beam search: groups of beams that avoid each other's words."""
    diversity_strength: Annotated[float, Field(ge=0.0, le=100.0)] = 0.5
    """Log-probability that a piece loses for each beam of an earlier group that says it."""
    sample: bool = False
    """Draw translations at random instead of searching for the best."""
    temperature: Annotated[float, Field(ge=0.01, le=100.0)] = 1.0
    """Of sampling: below 1 safer, above 1 wilder."""
    top_k: CountOrZero = 0
    """Of sampling: only the k likeliest pieces; 0 = all."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Of sampling: only the likeliest pieces that together have this probability."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
    """Of sampling: the same seed draws the same translations, however they are batched."""
    mbr_samples: Annotated[int, Field(ge=0, le=1024)] = 0
    """Minimum Bayes risk: draw so many samples and choose the one most like the others by chrF; 0 = off."""
    batch_tokens: CountOrZero = 0
    """Source tokens of a decoding batch, padding included; 0 = 8,192 (on a GPU 16,384) shared by the beams."""
    precision: Literal["fp32", "int8", "bf16", "fp64"] = "fp32"
    """Of matrix products: int8 is for a CPU and rounds by the batch, bf16 is for a GPU, fp64 for proofs."""
    shortlist: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Search among so many target pieces for each source piece, found in the training corpus; 0 = among all."""
    threads: CountOrZero = 0
    """CPU workers of one thread each; 0 = as many as there are cores."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.beam % self.diversity_groups:
            raise ValueError(f"beam {self.beam} is not a multiple of diversity_groups {self.diversity_groups}")
        for name in ("sample", "mbr_samples"):
            if getattr(self, name) and self.diversity_groups > 1:
                raise ValueError(f"{name} and diversity_groups exclude each other")
        if self.mbr_samples and self.shortlist:
            raise ValueError("mbr_samples and shortlist exclude each other: samples are compared as texts")
        if self.mbr_samples and self.coverage_penalty:
            raise ValueError("mbr_samples and coverage_penalty exclude each other: each ranks in its own way")
        if self.min_length_ratio > self.max_length_ratio:
            raise ValueError(
                f"min_length_ratio {self.min_length_ratio} is above max_length_ratio {self.max_length_ratio}"
            )
        return self


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
        if self.model.positions == "learned" and self.data.max_length > self.model.max_positions:
            raise ValueError(
                f"data.max_length {self.data.max_length} is above model.max_positions {self.model.max_positions}"
            )
        if self.data.max_length > self.data.batch_tokens:
            raise ValueError(
                f"data.max_length {self.data.max_length} does not fit into data.batch_tokens "
                f"{self.data.batch_tokens}"
            )
        return self
