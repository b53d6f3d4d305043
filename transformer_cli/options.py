"""How a configuration key is declared, and what is generated from the declaration.

`key` declares a key with its default, help text and range. `Option` is the same information for the generators:
the options of the commands (`cli.options`), `transformer-cli config`, and docs/reference.md.
"""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

BOUNDS = {"ge": "at least {:,.10g}", "gt": "above {:,.10g}", "le": "at most {:,.10g}", "lt": "below {:,.10g}"}


def key(default: Any = ..., help: str = "", *, panel: str = "", values: str = "", **bounds: Any) -> Any:
    """A configuration key.

    Args:
        default: the default value; without one, the key is required.
        help: what the key does, in a sentence or two.
        panel: heading on the help screen for the command-line option made from the key.
        values: the permitted values in words, where the type and the bounds do not say it.
        bounds: `ge`, `gt`, `le`, `lt`, as in `pydantic.Field`.
    """
    return Field(default, description=help, json_schema_extra={"panel": panel, "values": values}, **bounds)


class Section(BaseModel):
    """A strict, frozen section without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Option:
    """A declared key.

    Attributes:
        path: the key with its section, such as `decoding.beam`.
        type: `bool`, `int`, `float`, `str` or `tuple`.
        choices: the values of a `Literal`; empty for other types.
        bounds: limit by kind of limit, such as `{"ge": 1, "le": 256}`.
        default: the default value.
        values: the permitted values in words; empty if choices or bounds say it.
    """

    path: str
    type: type
    choices: tuple[str, ...]
    bounds: dict[str, float]
    default: Any
    help: str
    panel: str
    values: str = ""

    @property
    def name(self) -> str:
        """The key without its section."""
        return self.path.rpartition(".")[2]

    @property
    def flag(self) -> str:
        """The command-line option: `length_penalty` -> `--length-penalty`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def default_text(self) -> str:
        """The default as YAML writes it."""
        if isinstance(self.default, tuple):
            return f"[{', '.join(map(str, self.default))}]"
        if self.default is None or isinstance(self.default, bool):
            return {None: "null", True: "true", False: "false"}[self.default]
        return (
            f"{self.default:g}"
            if isinstance(self.default, float) and self.default == int(self.default)
            else str(self.default)
        )

    @property
    def range(self) -> str:
        """The permitted values in words, such as `1 to 256`; empty if all values of the type are."""
        if self.values or self.choices:
            return self.values or ", ".join(self.choices)
        if {"ge", "le"} <= set(self.bounds):
            return f"{self.bounds['ge']:,.10g} to {self.bounds['le']:,.10g}"
        return ", ".join(BOUNDS[kind].format(limit) for kind, limit in self.bounds.items())


def options_of(section: type[BaseModel], prefix: str = "", defaults: Any = None) -> Iterator[Option]:
    """The keys of a section and of the sections in it, in the order of their declaration.

    Args:
        section: the section's class.
        prefix: the path of the section with a dot at its end; empty for the whole configuration.
        defaults: an instance of the section that holds the defaults; None = those of the declarations.
    """
    for name, field in section.model_fields.items():
        value = field.get_default(call_default_factory=True) if defaults is None else getattr(defaults, name)
        if isinstance(value, BaseModel):
            yield from options_of(type(value), f"{prefix}{name}.", value)
        else:
            yield _option(prefix + name, field, value)


def _option(path: str, field: FieldInfo, default: Any) -> Option:
    kind = field.annotation
    if get_origin(kind) in (Union, types.UnionType):  # such as `float | None`
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    panel, values = (str(extra.get(name, "")) for name in ("panel", "values"))
    choices = tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
    if get_origin(kind) is tuple and not values:  # of annotated numbers, all with the same bounds
        element = get_args(get_args(kind)[0])
        limits = ", ".join(BOUNDS[k].format(v) for k, v in _bounds(element[1].metadata).items())
        values = f"{len(get_args(kind))} numbers, each {limits}"
    bounds = _bounds(field.metadata)
    base = str if choices else get_origin(kind) or kind
    assert isinstance(base, type), path
    return Option(path, base, choices, bounds, default, field.description or "", panel, values)


def _bounds(metadata: Iterable[Any]) -> dict[str, float]:
    return {name: getattr(limit, name) for limit in metadata for name in BOUNDS if hasattr(limit, name)}


def as_yaml(options: Iterable[Option]) -> str:
    """A YAML configuration of the defaults, with the help text and range of each key as a comment."""
    lines: list[str] = []
    sections: list[str] = []
    for option in options:
        *path, name = option.path.split(".")
        for depth, section in enumerate(path):
            if sections[: depth + 1] != path[: depth + 1]:
                lines += ["", f"{'  ' * depth}{section}:"]
        sections, indent = path, "  " * len(path)
        limits = f" ({option.range})" if option.range else ""
        lines += [f"{indent}# {line}" for line in textwrap.wrap(f"{option.help}{limits}", 92)]
        lines.append(f"{indent}{name}: {option.default_text}")
    return "\n".join(lines).lstrip("\n") + "\n"
