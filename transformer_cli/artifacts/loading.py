"""Load models from run directories and bundles, and build translators from them."""

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
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax
from transformer_cli.decoding.execution.shortlist import Shortlist
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.decoding.segments import TranslationRequest
from transformer_cli.decoding.translator import Translator
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.options import options_of
from transformer_cli.schema import REQUIRES, Config, DecodingConfig


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        checkpoint: path of the checkpoint that the weights are from.
        evaluation: directory for translations of test sets.
        lexicon: returns the likeliest target tokens, `size` per source token; None without the training text.
    """

    config: Config
    vocabularies: Vocabularies
    model: Seq2Seq
    checkpoint: Path
    evaluation: Path
    lexicon: Callable[[int], Lexicon | None] = lambda size: None

    def translator(
        self, overrides: Mapping[str, Any] | None = None, request: TranslationRequest | None = None
    ) -> Translator:
        """Build a translator with the run's decoding options, updated with `overrides`. Raises: ConfigError."""
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
            raise ConfigError(
                "--shortlist excludes --terms and --avoid: they may need tokens that are not in the list"
            )
        if not isinstance(self.model, Seq2Seq):
            raise ConfigError("--shortlist and --ensemble exclude each other")
        lexicon = self.lexicon(options.shortlist)
        if lexicon is None:
            raise ConfigError(
                f"{self.checkpoint}: there is no training text to build a shortlist from",
                hint="--shortlist needs a run directory with its data/ directory",
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
    """Build a translator for a model with the configuration `config`.

    `graphs`: on CUDA, capture the steps of plain search as CUDA graphs, which pays off after a few batches.
    """
    inference_model = prepare_for_inference(model, options.precision)
    uses_int8_argmax = (
        options.beam == 1 and options.precision == "fp32" and shortlist is None and isinstance(model, Seq2Seq)
    )
    on_cuda = next(inference_model.parameters()).device.type == "cuda"
    weight = model.output_weight.detach() if uses_int8_argmax else torch.empty(0, 0)
    return Translator(
        inference_model,
        vocabularies.src,
        vocabularies.tgt,
        options,
        max_length=config.data.max_length,
        max_target=_longest_target(config),
        request=request,
        shortlist=shortlist,
        output=Int8Argmax(weight, inference_model.logits) if Int8Argmax.supports(weight) else None,
        graph_pool=GraphPool() if graphs and on_cuda and shortlist is None else None,
    )


def _check_overrides(given: Mapping[str, Any], options: DecodingConfig) -> None:
    """Raises: ConfigError for a given option that would be ignored, or that contradicts another."""
    for name, others in REQUIRES.items():
        if name in given and all(getattr(options, other) == _default(other) for other in others):
            raise ConfigError(f"{_flag(name)} needs {' or '.join(map(_flag, others))}")
    methods = [n for n, off in (("sample", False), ("mbr_samples", 0), ("beam", 1)) if given.get(n, off) > off]
    if len(methods) > 1:
        raise ConfigError(f"{' and '.join(map(_flag, methods))} exclude each other: each is a way to decode")


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
        raise ConfigError("--terms and --diversity-groups exclude each other: both partition the beam")
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


def load_ensemble(path: Path, checkpoint: str, others: Sequence[str], device: torch.device) -> LoadedModel:
    """Load a model, or an ensemble of it and `others` (RUN or RUN@CHECKPOINT).

    Raises:
        CheckpointError: as in `load_model`, or a member has different vocabularies.
    """
    first = load_model(path, device, checkpoint)
    members = [first]
    for other in others:
        name, at, chosen = ("", "", "") if Path(other).exists() else other.rpartition("@")
        member = load_model(Path(name if at else other), device, chosen if at else "best")
        if member.vocabularies.hash != first.vocabularies.hash:
            raise CheckpointError(
                f"{other}: has other vocabularies than {path}",
                hint="members of an ensemble must share a tokenizer",
            )
        members.append(member)
    if len(members) == 1:
        return first
    model: Any = Ensemble([m.model for m in members])
    config = min((m.config for m in members), key=lambda c: _longest_target(c) or float("inf"))
    bound = {"positions": config.model.positions, "max_positions": config.model.max_positions}
    shape = first.config.model.model_copy(update=bound)  # the shortest position table limits the ensemble
    longest = min(m.config.data.max_length for m in members)
    data = first.config.data.model_copy(update={"max_length": longest})
    joint = first.config.model_copy(update={"model": shape, "data": data})
    return replace(first, model=model.eval(), config=joint)


def _longest_target(config: Config) -> int | None:
    """Size of the table of learned positions; None if positions are unbounded."""
    return config.model.max_positions if config.model.positions == "learned" else None


def load_model(path: Path, device: torch.device, checkpoint: str = "best") -> LoadedModel:
    """Load a checkpoint of a run (`best`, `last`, `average` or a step directory), or the model of a bundle.

    All hashes are verified first.

    Raises:
        CheckpointError: no run or bundle, no such checkpoint, damaged files, another tokenizer or model.
    """
    return load_model_source(open_model_source(path, checkpoint), device)


def open_model_source(path: Path, checkpoint: str) -> ModelSource:
    """Open and verify a run directory or a bundle. Raises: CheckpointError."""
    if path.is_file() or RunDirectory(path).is_bundle:
        return BundleSource.open(path, checkpoint)
    return RunSource.open(path, checkpoint)


def load_model_source(source: ModelSource, device: torch.device) -> LoadedModel:
    """Build the model of a source. Raises: CheckpointError if its weights do not match."""
    vocabularies = source.vocabularies
    model = build_model(source.config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size)
    source.load_into(model)
    model = model.to(device).eval()
    return LoadedModel(source.config, vocabularies, model, source.checkpoint, source.evaluation, source.lexicon)
