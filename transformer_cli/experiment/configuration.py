"""Choose the configuration of a training run: from a file, from the run that is resumed, or from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.config import flatten_config, load_config
from transformer_cli.data.survey import Survey
from transformer_cli.data.text import Notify
from transformer_cli.experiment.preparation import has_checkpoints
from transformer_cli.experiment.recipe import choose_recipe
from transformer_cli.experiment.starting_model import StartingModel
from transformer_cli.schema import Config


def choose_config(
    path: Path | None,
    settings: Sequence[str],
    run: RunDirectory,
    survey: Survey,
    languages: tuple[str, str] | None,
    start_from: StartingModel | None,
    notify: Notify,
    *,
    on_gpu: bool,
    ranks: int = 1,
) -> Config:
    """The configuration of a run.

    Args:
        path: a configuration file; None takes that of a run with checkpoints, or a recipe.
        settings: `section.key=value`, which override it.
        survey: of the training text.
        languages: codes of source and target, for a configuration without them.
        start_from: the model that the run starts from.
        ranks: number of devices.

    Raises:
        ConfigError: invalid configuration, or another architecture than that of `start_from`.
    """
    if path is not None:
        config = load_config(path, settings)
    elif has_checkpoints(run):
        config = load_config(run.config, settings)  # keeps the recipe that the run was started with
    else:
        config = _config_of_recipe(settings, survey, start_from, notify, on_gpu, ranks)
    if start_from is not None:
        start_from.require_same_architecture(config)
    if config.training.languages is None and languages is not None:
        training = config.training.model_copy(update={"languages": ",".join(languages)})
        config = config.model_copy(update={"training": training})
    return config


def _config_of_recipe(
    settings: Sequence[str],
    survey: Survey,
    start_from: StartingModel | None,
    notify: Notify,
    on_gpu: bool,
    ranks: int,
) -> Config:
    if start_from is not None:
        recipe = start_from.recipe(survey.words, survey.characters, ranks)
    else:
        recipe = choose_recipe(survey.pairs, survey.words, survey.characters, on_gpu=on_gpu, ranks=ranks)
    if any(setting.startswith("decoding.length_penalty") for setting in settings):
        recipe.values["training"]["tune_length_penalty"] = False
    config = load_config(None, settings, base=recipe.values)
    notify(f"no configuration given; recipe for {survey.pairs:,} pairs:")
    for line in recipe.describe(flatten_config(config)):
        notify(f"  {line}")
    return config
