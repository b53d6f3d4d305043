"""What CTranslate2 supports. Free of torch."""

from __future__ import annotations

from typing import Any

from transformer_cli.errors import ConfigError
from transformer_cli.schema import Config, ModelConfig

QUANTIZATIONS = (
    "float32",
    "float16",
    "bfloat16",
    "int16",
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
)
MIN_POSITIONS = 2048
"""Minimum number of rows of the sinusoid table: more than the longest segment that is translated at once."""
NORMS = {"layer": False, "rms": True}
POSITIONS = ("sinusoidal", "learned", "rotary")
ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "swiglu": "SWISH"}
"""Name here -> name in CTranslate2. Its GELU is the exact one, and SWISH with a gate is SwiGLU."""


def import_ctranslate2() -> Any:
    """Import the package. Raises: ConfigError if it is not installed."""
    try:
        import ctranslate2
    except ImportError:
        raise ConfigError(
            "this needs the package ctranslate2, which is not installed",
            hint="install it: pip install ctranslate2   (or this package with the extra [export])",
        ) from None
    return ctranslate2


def longest_sequence(config: Config) -> int:
    """P, the maximum length of source and target; rotary positions have no limit, but use this one too."""
    return config.model.position_limit or max(MIN_POSITIONS, 2 * config.data.max_length)


def check_supported(config: ModelConfig) -> None:
    """Raises: ConfigError naming the key of a feature that CTranslate2 does not support."""
    supported: dict[str, tuple[str, ...]] = {
        "encoder": ("transformer",),
        "decoder": ("transformer",),
        "norm": ("pre", "post"),
        "norm_type": tuple(NORMS),
        "positions": POSITIONS,
        "activation": tuple(ACTIVATIONS),
        "tie_embeddings": ("none", "decoder", "all"),
    }
    for key, values in supported.items():
        value = getattr(config, key)
        if value not in values:
            raise ConfigError(
                f"model.{key} {value}: cannot be exported to CTranslate2",
                hint=f"supported: {', '.join(values)}; any model can be exported with --to bundle",
            )
