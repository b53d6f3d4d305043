"""From a run directory or a bundle to a translator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from transformer_cli.artifacts.bundle import BundleSource
from transformer_cli.artifacts.model_source import ModelSource, RunSource
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies
from transformer_cli.config import validate_config
from transformer_cli.data.lexicon import Lexicon
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax
from transformer_cli.decoding.execution.shortlist import Shortlist
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.decoding.search.static import GraphPool
from transformer_cli.decoding.segments import TranslationRequest
from transformer_cli.decoding.translator import Translator
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import Config, DecodingConfig

Notify = Callable[[str], object]
"""Takes what a person is to be told while a model works."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to translate; translations of test sets go to `evaluation`."""

    config: Config
    vocabularies: Vocabularies
    model: Seq2Seq
    checkpoint: Path
    evaluation: Path
    lexicon: Callable[[int], Lexicon | None] = lambda size: None
    """So many target pieces for each source piece; None where the training text is not kept."""

    def translator(
        self, overrides: Mapping[str, Any] | None = None, request: TranslationRequest | None = None
    ) -> Translator:
        """A translator with the run's decoding options, some of them replaced. Raises: ConfigError."""
        given = {k: v for k, v in (overrides or {}).items() if v is not None}
        values = {**self.config.decoding.model_dump(), **given}
        options = validate_config({"decoding": values}, "decoding options").decoding
        request = request or TranslationRequest()
        _check_overrides(given, options)
        _check_request(options, request)
        return build_translator(
            self.config, self.model, self.vocabularies, options, request, self._shortlist(options, request)
        )

    def _shortlist(self, options: DecodingConfig, request: TranslationRequest) -> Shortlist | None:
        if not options.shortlist:
            return None
        if request.terms or request.avoid:
            raise ConfigError("--shortlist excludes --terms and --avoid: they may name pieces that it leaves out")
        if not isinstance(self.model, Seq2Seq):
            raise ConfigError("--shortlist and --ensemble exclude each other")
        lexicon = self.lexicon(options.shortlist)
        if lexicon is None:
            raise ConfigError(
                f"{self.checkpoint}: there is no training text to draw a shortlist from",
                hint="--shortlist works on a run directory that has its data folder",
            )
        return Shortlist(lexicon.shortlist, self.model.output_weight.detach())


def build_translator(
    config: Config,
    model: Seq2Seq,
    vocabularies: Vocabularies,
    options: DecodingConfig,
    request: TranslationRequest | None = None,
    shortlist: Shortlist | None = None,
    *,
    graphs: bool = True,
) -> Translator:
    """The translator of a model that `config` describes.

    `graphs`: on CUDA, capture the steps of plain search, which pays for one that sees more than a few batches.
    """
    fast = prepare_for_inference(model, options.precision)
    screens = (
        options.beam == 1 and options.precision == "fp32" and shortlist is None and isinstance(model, Seq2Seq)
    )
    on_cuda = next(fast.parameters()).device.type == "cuda"
    weight = model.output_weight.detach() if screens else torch.empty(0, 0)
    return Translator(
        fast,
        vocabularies.src,
        vocabularies.tgt,
        options,
        max_length=config.data.max_length,
        max_target=_longest_target(config),
        request=request,
        shortlist=shortlist,
        output=Int8Argmax(weight, fast.logits) if Int8Argmax.supports(weight) else None,
        graph_pool=GraphPool() if graphs and on_cuda and shortlist is None else None,
    )


def _check_overrides(given: Mapping[str, Any], options: DecodingConfig) -> None:
    """Raises: ConfigError for an option that nothing would look at."""
    for names, heeded, needed in (
        (
            ("temperature", "top_k", "top_p", "seed"),
            options.sample or options.mbr_samples,
            "--sample or --mbr-samples",
        ),
        (("diversity_strength",), options.diversity_groups > 1, "--diversity-groups"),
    ):
        for name in names:
            if name in given and not heeded:
                raise ConfigError(f"--{name.replace('_', '-')} needs {needed}")


def _check_request(options: DecodingConfig, request: TranslationRequest) -> None:
    """Raises: ConfigError where options and wishes exclude each other."""
    searched = options.beam > 1 and not options.sample and not options.mbr_samples
    if request.terms and not searched:
        raise ConfigError(
            "--terms needs beam search", hint="give --beam 5 or more, without --sample and --mbr-samples"
        )
    if request.terms and options.diversity_groups > 1:
        raise ConfigError("--terms and --diversity-groups exclude each other: both share out the beam")
    name = "mbr_samples" if options.mbr_samples else "beam"
    most = getattr(options, name)
    if request.n_best > most and not (options.sample and not options.mbr_samples):
        option = f"--{name.replace('_', '-')}"
        raise ConfigError(
            f"--n-best {request.n_best} is more than {option} {most}", hint=f"add {option} {request.n_best}"
        )


def load_ensemble(path: Path, checkpoint: str, others: Sequence[str], device: torch.device) -> LoadedModel:
    """`load_model`, and `others` (RUN or RUN@CHECKPOINT) as members of an ensemble with it.

    Raises:
        CheckpointError: as `load_model`, or a member with other vocabularies.
    """
    first = load_model(path, device, checkpoint)
    members = [first]
    for other in others:
        name, at, chosen = ("", "", "") if Path(other).exists() else other.rpartition("@")
        member = load_model(Path(name if at else other), device, chosen if at else "best")
        if member.vocabularies.hash != first.vocabularies.hash:
            raise CheckpointError(
                f"{other}: has other vocabularies than {path}", hint="members of an ensemble share their tokenizer"
            )
        members.append(member)
    if len(members) == 1:
        return first
    model: Any = Ensemble([m.model for m in members])
    config = min((m.config for m in members), key=lambda c: _longest_target(c) or float("inf"))
    bound = {"positions": config.model.positions, "max_positions": config.model.max_positions}
    shape = first.config.model.model_copy(update=bound)  # the shortest table of positions binds all
    longest = min(m.config.data.max_length for m in members)
    data = first.config.data.model_copy(update={"max_length": longest})
    joint = first.config.model_copy(update={"model": shape, "data": data})
    return replace(first, model=model.eval(), config=joint)


def _longest_target(config: Config) -> int | None:
    """Target positions that the model has a table for; None = no bound."""
    return config.model.max_positions if config.model.positions == "learned" else None


def load_model(path: Path, device: torch.device, checkpoint: str = "best") -> LoadedModel:
    """Load a checkpoint of a run (`best`, `last`, `average` or a step's name), or the model of a bundle.

    Every hash is verified first.

    Raises:
        CheckpointError: no run or bundle, no such checkpoint, damaged files, another tokenizer or model.
    """
    return load_model_source(open_model_source(path, checkpoint), device)


def open_model_source(path: Path, checkpoint: str) -> ModelSource:
    """A run directory or a bundle, verified. Raises: CheckpointError."""
    if path.is_file() or RunDirectory(path).is_bundle:
        return BundleSource.open(path, checkpoint)
    return RunSource.open(path, checkpoint)


def load_model_source(source: ModelSource, device: torch.device) -> LoadedModel:
    """Build the model of a source. Raises: CheckpointError if its weights do not fit."""
    vocabularies = source.vocabularies
    model = build_model(source.config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size)
    source.load_into(model)
    model = model.to(device).eval()
    return LoadedModel(source.config, vocabularies, model, source.checkpoint, source.evaluation, source.lexicon)
