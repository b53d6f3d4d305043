"""The configuration: every key, its default, its range, and the checks between keys.

This file is the one home of defaults. YAML 1.2 is read by ruamel.yaml in safe mode (`no` stays a
string, `1e-4` is a number, a duplicate key is an error); pydantic refuses unknown keys and wrong types.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from transformer_cli.errors import ConfigError

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]

MAX_CONFIG_BYTES = 1 << 20
"""A configuration is a page; anything larger is not one."""


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
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError("sinusoidal positions need an even d_model")
        return self


class OptimConfig(Section):
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
    """Of matrix products while training; `auto` is bf16 where CUDA has it, fp32 elsewhere."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
    log_every: Count = 50


class DecodingConfig(Section):
    beam: Annotated[int, Field(ge=1, le=256)] = 5
    length_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    """GNMT alpha: scores are divided by ((5 + length) / 6) ** alpha."""
    max_length_ratio: Annotated[float, Field(gt=0.0, le=100.0)] = 2.0
    """A translation has at most this many pieces per source piece, and 10 more."""
    batch_tokens: Annotated[int, Field(ge=1)] = 2048
    """Source tokens of a decoding batch, padding included."""


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


def load_config(path: Path | None, settings: Sequence[str] = (), base: Mapping[str, Any] | None = None) -> Config:
    """Defaults, then `base`, then the YAML file, then `--set section.key=value`, checked.

    Raises:
        ConfigError: no such file, not YAML, unknown key, wrong type, out of range, keys that disagree.
    """
    values: dict[str, Any] = _merge({}, base or {})
    origin = "the configuration"
    if path is not None:
        origin = str(path)
        values = _merge(values, _read_yaml(path))
    for setting in settings:
        values = _merge(values, _parse_setting(setting))
    return validate_config(values, origin)


def validate_config(values: Mapping[str, Any], origin: str) -> Config:
    """Plain values -> `Config`. Raises: ConfigError naming the key and, for a typo, the nearest key."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_explain(detail) for detail in error.errors()]
        raise ConfigError(f"{origin}: " + "\n  ".join(problems)) from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML, every key written out."""
    buffer = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(config.model_dump(mode="json"), buffer)
    return buffer.getvalue()


def flat_items(config: Config) -> dict[str, Any]:
    """Every leaf as `section.key` -> value."""
    found: dict[str, Any] = {}

    def walk(prefix: str, node: Mapping[str, Any]) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(f"{prefix}{key}.", value)
            else:
                found[prefix + key] = value

    walk("", config.model_dump(mode="json"))
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is no configuration")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return _parse_yaml(text, str(path))


def _parse_yaml(text: str, origin: str) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        # ruamel's message carries advice on its own options after a blank line.
        message = " ".join(str(error).split("\n\n")[0].split())
        raise ConfigError(f"{origin}: not valid YAML 1.2: {message}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{origin}: expected sections such as 'model:', found {type(values).__name__}")
    return values


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {setting}: expected section.key=value, such as model.dropout=0.2")
    parsed: Any = _parse_yaml(f"value: {value}", f"--set {setting}")["value"]
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    assert isinstance(parsed, dict)
    return parsed


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _known_keys() -> list[str]:
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    keys = list(flat_items(Config()))
    return [*sections, *keys]


def _explain(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _known_keys()
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        by_leaf = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
        guess = near or by_leaf
        return f"unknown key '{key}'" + (f"; did you mean '{guess[0]}'?" if guess else "")
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = "" if isinstance(detail["input"], dict) else f" (given: {detail['input']!r})"
    return f"{key}: {message}{given}" if key else message
