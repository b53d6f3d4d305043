"""From files and `--set` to a checked configuration, and back.

YAML 1.2 is read by ruamel.yaml in safe mode (`no` stays a string, `1e-4` is a number, a duplicate key is an
error); pydantic refuses unknown keys and wrong types. Keys and defaults: `schema`.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from transformer_cli.errors import ConfigError
from transformer_cli.schema import Config

MAX_CONFIG_BYTES = 1 << 20
"""A configuration is a page; anything larger is not one."""


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


def parse_config(text: str, origin: str) -> Config:
    """YAML text -> `Config`. Raises: ConfigError."""
    return validate_config(_parse_yaml(text, origin), origin)


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


def flatten_config(config: Config) -> dict[str, Any]:
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
        message = " ".join(str(error).split("\n\n")[0].replace('in "<unicode string>", ', "").split())
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
    keys = list(flatten_config(Config()))
    return [*sections, *keys]


def _explain(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _known_keys()
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        by_leaf = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
        guess = near or by_leaf
        return f"unknown key '{key}'" + (f"; did you mean '{guess[0]}'?" if guess else "")
    if detail["type"] == "model_type":
        first = next(k for k in _known_keys() if k.startswith(f"{key}."))
        return f"{key}: is a section with keys of its own, such as {first}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    # Not a whole list: a few bytes of YAML can stand for one without end.
    given = "" if isinstance(detail["input"], dict | list) else f" (given: {detail['input']!r:.200})"
    return f"{key}: {message}{given}" if key else message
