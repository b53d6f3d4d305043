"""What the user requests of a translation, and the decoding options that result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformer_cli.config import validate_config
from transformer_cli.errors import ConfigError
from transformer_cli.options import options_of
from transformer_cli.schema import REQUIRES, DecodingConfig


@dataclass(frozen=True)
class TranslationRequest:
    """Outputs and constraints that the user requests in addition to the options of search.

    Attributes:
        n_best: number of translations per line.
        scored: whether log-probabilities are used.
        align: whether to compute word alignments.
        terms: (source, target): if a line contains the source term, its translation must contain
            the target.
        avoid: phrases that no translation may contain.
        to: code of the target language; empty for a model that has only one.
    """

    n_best: int = 1
    scored: bool = True
    align: bool = False
    terms: tuple[tuple[str, str], ...] = ()
    avoid: tuple[str, ...] = ()
    to: str = ""


def resolve_options(
    defaults: DecodingConfig, overrides: Mapping[str, Any], request: TranslationRequest
) -> DecodingConfig:
    """The run's decoding options, updated with those that the user gives (None = not given).

    Raises:
        ConfigError: invalid values, an option that would be ignored, or one that excludes the request.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    options = validate_config({"decoding": {**defaults.model_dump(), **given}}, "decoding options").decoding
    _check_overrides(given, options)
    _check_request(options, request)
    return options


def _check_overrides(given: Mapping[str, Any], options: DecodingConfig) -> None:
    """Raises: ConfigError for a given option that would be ignored, or that contradicts another."""
    for name, others in REQUIRES.items():
        if name in given and all(getattr(options, other) == _default(other) for other in others):
            raise ConfigError(f"{_flag(name)} needs {' or '.join(map(_flag, others))}")
    methods = [n for n, off in (("sample", False), ("mbr_samples", 0), ("beam", 1)) if given.get(n, off) > off]
    if len(methods) > 1:
        raise ConfigError(f"{' and '.join(map(_flag, methods))} cannot be combined: each is a way to decode")


def _default(name: str) -> Any:
    return DecodingConfig.model_fields[name].default


def _flag(name: str) -> str:
    """The command-line option of a decoding key."""
    return f"--{name.replace('_', '-')}"


def _check_request(options: DecodingConfig, request: TranslationRequest) -> None:
    """Raises: ConfigError if the request is not supported with these options."""
    beam_search = options.beam > 1 and not options.sample and not options.mbr_samples
    if request.terms and not beam_search:
        raise ConfigError(
            "--terms needs beam search", hint="give --beam 5 or more, without --sample and --mbr-samples"
        )
    if request.terms and options.diversity_groups > 1:
        raise ConfigError("--terms cannot be combined with --diversity-groups: both partition the beam")
    if request.align and options.protect:
        raise ConfigError(
            "--alignments cannot be combined with --protect, which inserts words that are not aligned"
        )
    name = "mbr_samples" if options.mbr_samples else "beam"
    maximum = getattr(options, name)
    if request.n_best > maximum and not (options.sample and not options.mbr_samples):
        groups = options.diversity_groups
        required = -(-request.n_best // groups) * groups  # a beam is a multiple of the groups
        largest = next(o for o in options_of(DecodingConfig) if o.name == name).bounds["le"]
        raise ConfigError(
            f"--n-best {request.n_best} is more than {_flag(name)} {maximum}",
            hint=f"add {_flag(name)} {required}" if required <= largest else f"{_flag(name)} is at most {largest}",
        )
