"""Load models from run directories and bundles, and build translators from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from transformer_cli.artifacts.model_source import ModelSource, open_model_source
from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.artifacts.target_languages import choose_target
from transformer_cli.data.lexicon import Lexicon
from transformer_cli.decoding.execution.compiled.searcher import CompiledSearcher
from transformer_cli.decoding.execution.compiled.support import compiled_unsupported_reason
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.int8_argmax import Int8Argmax
from transformer_cli.decoding.execution.shortlist import Shortlist
from transformer_cli.decoding.request import TranslationRequest, resolve_options
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.decoding.search.hypothesis import Scorer
from transformer_cli.decoding.translator import Translator
from transformer_cli.errors import CheckpointError, ConfigError
from transformer_cli.models.inference import prepare_for_inference
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import Config, DecodingConfig


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
        request = request or TranslationRequest()
        options = resolve_options(self.config.decoding, overrides or {}, request)
        target = choose_target(self.config, self.vocabularies, request.to, self.checkpoint)
        request = replace(request, to=target)
        return build_translator(
            self.config, self.model, self.vocabularies, options, request, self._shortlist(options, request)
        )

    def _shortlist(self, options: DecodingConfig, request: TranslationRequest) -> Shortlist | None:
        if not options.shortlist:
            return None
        if request.terms or request.avoid:
            raise ConfigError(
                "--shortlist cannot be combined with --terms or --avoid, which may need tokens not on it"
            )
        if not isinstance(self.model, Seq2Seq):
            raise ConfigError("--shortlist cannot be combined with --ensemble")
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
        max_target=config.model.position_limit,
        request=request,
        shortlist=shortlist,
        int8_argmax=Int8Argmax(weight, inference_model.logits, model.tags)
        if Int8Argmax.supports(weight)
        else None,
        tag=vocabularies.tag(request.to if request else ""),
        graph_pool=GraphPool() if graphs and on_cuda and shortlist is None else None,
        compiled=_compiled_searcher(config, model, options, request or TranslationRequest()),
    )


def _compiled_searcher(
    config: Config, model: Seq2Seq, options: DecodingConfig, request: TranslationRequest
) -> CompiledSearcher | None:
    """The compiled search of this model; None if it does not support the options or the request."""
    if request.avoid or compiled_unsupported_reason(model, config.model, options):
        return None
    return CompiledSearcher(
        model,
        config.model,
        beam=options.beam,
        n_best=request.n_best,
        scorer=Scorer(options.length_penalty),
        scored=request.scored or bool(options.coverage_penalty),
        int8=options.precision == "int8",
        always=options.compiled == "always",
    )


def load_ensemble(source: ModelSource, path: Path, others: Sequence[str], device: torch.device) -> LoadedModel:
    """Load the model of `source`, which `path` names, or an ensemble of it and `others` (RUN or RUN@CHECKPOINT).

    Raises:
        CheckpointError: as in `load_model`, or a member has different vocabularies.
    """
    first = load_model_source(source, device)
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
    config = min((m.config for m in members), key=lambda c: c.model.position_limit or float("inf"))
    bound = {"positions": config.model.positions, "max_positions": config.model.max_positions}
    shape = first.config.model.model_copy(update=bound)  # the shortest position table limits the ensemble
    longest = min(m.config.data.max_length for m in members)
    data = first.config.data.model_copy(update={"max_length": longest})
    joint = first.config.model_copy(update={"model": shape, "data": data})
    return replace(first, model=model.eval(), config=joint)


def load_model(path: Path, device: torch.device, checkpoint: str = "best") -> LoadedModel:
    """Load a checkpoint of a run (`best`, `last`, `average` or a step directory), or the model of a bundle.

    All hashes are verified first.

    Raises:
        CheckpointError: no run or bundle, no such checkpoint, damaged files, another tokenizer or model.
    """
    return load_model_source(open_model_source(path, checkpoint), device)


def load_model_source(source: ModelSource, device: torch.device) -> LoadedModel:
    """Build the model of a source. Raises: CheckpointError if its weights do not match."""
    vocabularies = source.vocabularies
    model = build_model(source.config.model, *vocabularies.sizes)
    source.load_into(model)
    model = model.to(device).eval()
    return LoadedModel(source.config, vocabularies, model, source.checkpoint, source.evaluation, source.lexicon)
