"""What the user requests of a translation, and the decoding options that result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformer_cli.config import validate_config
from transformer_cli.errors import ConfigError
from transformer_cli.schema import DecodingConfig


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
    """

    n_best: int = 1
    scored: bool = True
    align: bool = False
    terms: tuple[tuple[str, str], ...] = ()
    avoid: tuple[str, ...] = ()


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
    """Raises: ConfigError for an option that would be ignored."""
    for names, is_used, required in (
        (
            ("temperature", "top_k", "top_p", "seed"),
            options.sample or options.mbr_samples,
            "--sample or --mbr-samples",
        ),
        (("diversity_strength",), options.diversity_groups > 1, "--diversity-groups"),
    ):
        for name in names:
            if name in given and not is_used:
                raise ConfigError(f"--{name.replace('_', '-')} needs {required}")


def _check_request(options: DecodingConfig, request: TranslationRequest) -> None:
    """Raises: ConfigError if the request is not supported with these options."""
    beam_search = options.beam > 1 and not options.sample and not options.mbr_samples
    if request.terms and not beam_search:
        raise ConfigError(
            "--terms needs beam search", hint="give --beam 5 or more, without --sample and --mbr-samples"
        )
    if request.terms and options.diversity_groups > 1:
        raise ConfigError("--terms cannot be combined with --diversity-groups: both partition the beam")
    name = "mbr_samples" if options.mbr_samples else "beam"
    maximum = getattr(options, name)
    if request.n_best > maximum and not (options.sample and not options.mbr_samples):
        option = f"--{name.replace('_', '-')}"
        raise ConfigError(
            f"--n-best {request.n_best} is more than {option} {maximum}", hint=f"add {option} {request.n_best}"
        )
