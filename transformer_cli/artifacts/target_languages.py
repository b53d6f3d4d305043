"""The target languages of a model, and which of them a translation is into."""

from __future__ import annotations

from pathlib import Path

from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.data.readers.languages import language_code
from transformer_cli.errors import ConfigError
from transformer_cli.schema import Config


def target_languages(config: Config, vocabularies: Vocabularies) -> list[str]:
    """The codes of the target languages: those with a tag, or the one of the configuration; empty if unknown."""
    if vocabularies.src.tags:
        return sorted(vocabularies.src.tags)
    if config.data.target_languages:
        return list(config.data.target_languages)
    pair = (config.training.languages or "").replace("-", ",").split(",")
    return [pair[1].strip()] if len(pair) == 2 else []


def choose_target(config: Config, vocabularies: Vocabularies, to: str, model: Path) -> str:
    """The target language of a translation; empty for a model without tags, which has only one.

    A model with several languages whose last training was on one of them translates into that one by default.

    Args:
        to: the code that the user gives; empty for none.
        model: its path, for error messages.

    Raises:
        ConfigError: a language is missing, or the model does not have it.
    """
    known = target_languages(config, vocabularies)
    if to and to not in known:
        if not known:
            raise ConfigError(f"--to {to}: {model} has one target language, which is not named", hint="omit --to")
        same = [language for language in known if language_code(language) == language_code(to) != ""]
        if len(same) != 1:
            raise ConfigError(f"--to {to}: {model} does not translate into it", hint=_names(known))
        to = same[0]
    if not vocabularies.src.tags:
        return ""
    if not to and len(config.data.target_languages) == 1:
        to = config.data.target_languages[0]
    if not to:
        raise ConfigError(f"{model}: has several target languages; choose one with --to", hint=_names(known))
    return to


def require_one_target(vocabularies: Vocabularies, model: Path, what: str) -> None:
    """Raises: ConfigError if a model has several target languages, which `what` does not support."""
    if vocabularies.src.tags:
        languages = ", ".join(sorted(vocabularies.src.tags))
        raise ConfigError(f"{model}: {what} does not support models of several target languages ({languages})")


def _names(languages: list[str]) -> str:
    return f"its target languages: {', '.join(languages)}"
