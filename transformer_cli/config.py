"""Load a validated configuration from YAML files and `--set` options, and write it back.

ruamel.yaml reads YAML 1.2 in safe mode: `no` is a string, `1e-4` is a number, a duplicate key is an error.
pydantic rejects unknown keys and wrong types. The keys and their defaults are defined in `schema`.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from transformer_cli.errors import ConfigError
from transformer_cli.options import Section
from transformer_cli.schema import Config
from transformer_cli.schema.data import CLEANING, DataConfig, NormalizationConfig

AnySection = TypeVar("AnySection", bound=Section)

MAX_YAML_NODES = 10_000
"""Limit of keys and values after the expansion of aliases, of which a few lines can make billions."""
MAX_CONFIG_BYTES = 1 << 20
"""Size limit of a configuration file; a real one has a few kilobytes."""


def load_config(path: Path | None, settings: Sequence[str] = (), base: Mapping[str, Any] | None = None) -> Config:
    """Merge the defaults, `base`, the YAML file and `--set section.key=value`, in this order, and validate.

    Raises:
        ConfigError: no such file, invalid YAML, unknown key, wrong type, value out of range, contradictory keys.
    """
    parsed = [_parse_setting(setting) for setting in settings]  # first: `--set key value` makes the value a path
    values: dict[str, Any] = _merge({}, base or {})
    origin = "the configuration"
    if path is not None:
        origin = str(path)
        values = _merge(values, _read_yaml(path))
    for setting in parsed:
        values = _merge(values, setting)
    return validate_config(values, origin)


def load_cleaning_config(path: Path | None, settings: Sequence[str], normalize: str | None) -> DataConfig:
    """The section `data` for `clean` and `check`, whose filters have the defaults of `CLEANING`.

    Args:
        normalize: names of the normalisations to turn on, separated by commas.

    Raises:
        ConfigError: as `load_config`; an unknown normalisation.
    """
    steps = [name.strip() for name in (normalize or "").split(",") if name.strip()]
    for name in steps:
        if name not in NormalizationConfig.model_fields:
            known = ", ".join(NormalizationConfig.model_fields)
            raise ConfigError(f"--normalize {name}: no such normalisation", hint=f"choose from {known}")
    base = {"data": {"filters": CLEANING, "normalization": dict.fromkeys(steps, True)}}
    return load_config(path, settings, base).data


def parse_config(text: str, origin: str) -> Config:
    """Parse YAML text into a `Config`. Raises: ConfigError."""
    return validate_config(_parse_yaml(text, origin), origin)


def validate_config(values: Mapping[str, Any], origin: str) -> Config:
    """Validate plain values. Raises: ConfigError naming the key and, for an unknown key, the nearest known one."""
    return validate_section(Config, values, origin)


def validate_section(section: type[AnySection], values: Mapping[str, Any], origin: str) -> AnySection:
    """As `validate_config`, for the options of a command that are no part of the configuration."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = [_explain(detail) for detail in error.errors()]
        raise ConfigError(f"{origin}: " + "\n  ".join(problems)) from None


def dump_config(config: Config) -> str:
    """The resolved configuration as YAML, with every key written out."""
    buffer = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(config.model_dump(mode="json"), buffer)
    return buffer.getvalue()


def flatten_config(config: Config) -> dict[str, Any]:
    """Map the dotted key (`section.key`) of every leaf to its value."""
    leaves: dict[str, Any] = {}

    def walk(prefix: str, node: Mapping[str, Any]) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(f"{prefix}{key}.", value)
            else:
                leaves[prefix + key] = value

    walk("", config.model_dump(mode="json"))
    return leaves


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; not a configuration file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    return _parse_yaml(text, str(path))


def _parse_yaml(text: str, origin: str) -> dict[str, Any]:
    try:
        reader = YAML(typ="safe", pure=True)
        if _expanded_nodes(reader.compose(text), {}) > MAX_YAML_NODES:
            raise ConfigError(f"{origin}: has more than {MAX_YAML_NODES:,} values; not a configuration")
        values = reader.load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        # After a blank line, ruamel's message has advice on its own API.
        message = " ".join(str(error).split("\n\n")[0].replace('in "<unicode string>", ', "").split())
        raise ConfigError(f"{origin}: not valid YAML 1.2: {message}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{origin}: expected sections such as 'model:', found {type(values).__name__}")
    return values


def _expanded_nodes(node: Any, sizes: dict[int, int]) -> int:
    """The number of nodes with every alias written out. `sizes`: those of the nodes counted so far, by `id`."""
    if node is None:
        return 0
    if id(node) not in sizes:
        sizes[id(node)] = MAX_YAML_NODES + 1  # what an alias inside its own anchor finds: it has no end
        children = node.value if isinstance(node.value, list) else []
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        sizes[id(node)] = 1 + sum(_expanded_nodes(part, sizes) for part in parts)
    return sizes[id(node)]


def _parse_setting(setting: str) -> dict[str, Any]:
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {setting}: expected KEY=VALUE", hint="for example: --set model.dropout=0.2")
    parsed: Any = _parse_yaml(f"value: {value}", f"--set {setting}")["value"]
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    assert isinstance(parsed, dict)
    return parsed


def _merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` updated with `overrides`, section by section."""
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        both_sections = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both_sections else value  # type: ignore[arg-type]
    return merged


def _known_keys() -> list[str]:
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    keys = list(flatten_config(Config()))
    return [*sections, *keys]


def _explain(detail: Any) -> str:
    """The message for one error of pydantic."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _known_keys()
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        same_leaf = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
        candidates = close or same_leaf
        return f"unknown key '{key}'" + (f"; did you mean '{candidates[0]}'?" if candidates else "")
    if detail["type"] == "model_type":
        first = next(k for k in _known_keys() if k.startswith(f"{key}."))
        return f"{key}: is a section; set one of its keys, such as {first}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    # Lists are not shown: with YAML aliases, a few bytes expand to an arbitrarily long one.
    given = "" if isinstance(detail["input"], dict | list) else f" (given: {detail['input']!r:.200})"
    return f"{key}: {message}{given}" if key else message
