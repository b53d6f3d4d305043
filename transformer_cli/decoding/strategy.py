"""How a batch is searched: greedy, beam, sampling or minimum Bayes risk, with the rules that the options ask for.

Shapes: B sentences of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from transformer_cli.batch import TokenIds
from transformer_cli.decoding.constraints.phrases import DynamicBeamAllocation, Phrase, RequiredPhrases
from transformer_cli.decoding.constraints.rules import (
    MinimumLength,
    NoRepeatNgram,
    RepetitionPenalty,
    TargetPrefix,
)
from transformer_cli.decoding.search.base import Hypothesis, Rule, Scorer, Search, Selector, StepModel
from transformer_cli.decoding.search.beam import BeamSearch, TopKSelector
from transformer_cli.decoding.search.diverse import DiverseGroups
from transformer_cli.decoding.search.greedy import GreedySearch
from transformer_cli.decoding.search.mbr import select_minimum_risk
from transformer_cli.decoding.search.sampling import Sampler, SampleSearch, uniforms
from transformer_cli.decoding.search.static import GraphPool, StaticSearch
from transformer_cli.schema import DecodingConfig

NOTHING: TokenIds = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class SourceSentence:
    """One sentence to translate.

    Attributes:
        ids: `[S]`, without EOS.
        limit: most tokens of a translation, EOS included. minimum: fewest, EOS not counted.
        number: its place in the whole text, which sampling is seeded by.
        prefix: tokens that the translation begins with. phrases: token sequences that it must hold.
    """

    ids: TokenIds
    limit: int
    minimum: int = 0
    number: int = 0
    prefix: TokenIds = field(default_factory=lambda: NOTHING)
    phrases: tuple[Phrase, ...] = ()


class Strategy(ABC):
    """Begins the search of a batch, and has the last word on what was found."""

    @abstractmethod
    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        """The search of these sentences, under way."""

    def rank(self, found: list[Hypothesis]) -> list[Hypothesis]:
        """The hypotheses of a sentence, at least one, in the vocabulary's ids -> the best first."""
        return found


@dataclass(frozen=True)
class RuleSet:
    """The rules of a batch; `shared` are those that do not look at the sentence."""

    options: DecodingConfig
    shared: Sequence[Rule] = ()

    def of(self, sources: Sequence[SourceSentence], device: torch.device) -> list[Rule]:
        """Rules that express a wish first; those that keep a promise last, for they have the last word."""
        o, rules = self.options, list(self.shared)
        if o.repetition_penalty > 1.0:
            rules.append(RepetitionPenalty(o.repetition_penalty))
        if o.no_repeat_ngram:
            rules.append(NoRepeatNgram(o.no_repeat_ngram))
        if any(s.minimum for s in sources):
            rules.append(MinimumLength(torch.tensor([s.minimum for s in sources], device=device)))
        if any(s.phrases for s in sources):
            rules.append(RequiredPhrases([s.phrases for s in sources], [s.limit for s in sources]))
        if any(len(s.prefix) for s in sources):
            rules.append(TargetPrefix([s.prefix for s in sources], device))
        return rules


@dataclass(frozen=True)
class GreedyStrategy(Strategy):
    """See `GreedySearch`. `accelerate` makes a model faster whose largest logit alone matters."""

    rules: RuleSet
    scorer: Scorer
    scored: bool
    device: torch.device
    accelerate: Callable[[StepModel], StepModel]

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        rules = self.rules.of(sources, self.device)
        if not self.scored and not rules:
            model = self.accelerate(model)
        limits = length_limits(sources, self.device)
        return GreedySearch(model, memory, limits, scorer=self.scorer, rules=rules, scored=self.scored)


@dataclass(frozen=True)
class BeamStrategy(Strategy):
    """See `BeamSearch`."""

    rules: RuleSet
    scorer: Scorer
    beam: int
    n_best: int
    selector: Selector
    device: torch.device

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        bound = any(s.phrases for s in sources)
        return BeamSearch(
            model,
            memory,
            length_limits(sources, self.device),
            beam=self.beam,
            n_best=self.n_best,
            scorer=self.scorer,
            rules=self.rules.of(sources, self.device),
            selector=DynamicBeamAllocation([s.phrases for s in sources]) if bound else self.selector,
        )


@dataclass(frozen=True)
class StaticStrategy(Strategy):
    """Greedy and beam search in `graph_pool`; batches that have rules are searched as `other` does."""

    rules: RuleSet
    scorer: Scorer
    beam: int
    n_best: int
    scored: bool
    device: torch.device
    graph_pool: GraphPool
    other: Strategy

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        if self.rules.of(sources, self.device):
            return self.other.start(model, memory, sources)
        return StaticSearch(
            model,
            memory,
            length_limits(sources, self.device),
            source=max(len(s.ids) for s in sources) + 1,
            graph_pool=self.graph_pool,
            beam=self.beam,
            n_best=self.n_best,
            scorer=self.scorer,
            scored=self.scored,
        )


@dataclass(frozen=True)
class SamplingStrategy(Strategy):
    """See `SampleSearch`; samples of a sentence are ranked by score, equal ones once."""

    rules: RuleSet
    scorer: Scorer
    sampler: Sampler
    samples: int
    seed: int
    device: torch.device

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        limits = length_limits(sources, self.device)
        return SampleSearch(
            model,
            memory,
            limits,
            uniforms(self.seed, [s.number for s in sources], self.samples, int(limits.max())),
            sampler=self.sampler,
            scorer=self.scorer,
            rules=self.rules.of(sources, self.device),
        )

    def rank(self, found: list[Hypothesis]) -> list[Hypothesis]:
        by_tokens = {tuple(h.tokens): h for h in found}
        return sorted(by_tokens.values(), key=lambda h: -h.score)


@dataclass(frozen=True)
class MinimumBayesRiskStrategy(Strategy):
    """Samples, of which the one most like the others comes first; see `mbr`."""

    sampling: SamplingStrategy
    decode: Callable[[Sequence[TokenIds]], list[str]]

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        return self.sampling.start(model, memory, sources)

    def rank(self, found: list[Hypothesis]) -> list[Hypothesis]:
        texts = self.decode([np.array(h.tokens, dtype=np.int64) for h in found])
        chosen = found[select_minimum_risk(texts)]
        return [chosen, *(h for h in self.sampling.rank(found) if h.tokens != chosen.tokens)]


def build_strategy(
    options: DecodingConfig,
    *,
    device: torch.device,
    decode: Callable[[Sequence[TokenIds]], list[str]],
    n_best: int = 1,
    scored: bool = True,
    shared: Sequence[Rule] = (),
    accelerate: Callable[[StepModel], StepModel] = lambda model: model,
    graph_pool: GraphPool | None = None,
) -> Strategy:
    """The strategy that the options describe.

    Args:
        decode: ids -> text, for what compares texts. wanted: how many hypotheses of a sentence will be used.
        scored: whether anybody will look at log-probabilities. everywhere: rules for all sentences.
        screen: see `GreedyStrategy`. stages: what plain search takes its steps in, if there are any.
    """
    rules, scorer = RuleSet(options, shared), Scorer(options.length_penalty)
    sampler = Sampler(options.temperature, options.top_k, options.top_p)
    if options.mbr_samples:
        sampling = SamplingStrategy(rules, scorer, sampler, options.mbr_samples, options.seed, device)
        return MinimumBayesRiskStrategy(sampling, decode)
    if options.sample:
        return SamplingStrategy(rules, scorer, sampler, n_best, options.seed, device)
    beam, groups = options.beam, options.diversity_groups
    if groups > 1:
        selector = DiverseGroups(groups, options.diversity_strength)
        return BeamStrategy(rules, scorer, beam, n_best, selector, device)
    scored = scored or beam > 1
    plain: Strategy = (
        GreedyStrategy(rules, scorer, scored, device, accelerate)
        if beam == 1
        else BeamStrategy(rules, scorer, beam, n_best, TopKSelector(), device)
    )
    return (
        plain
        if graph_pool is None
        else StaticStrategy(rules, scorer, beam, n_best, scored, device, graph_pool, plain)
    )


def length_limits(sources: Sequence[SourceSentence], device: torch.device) -> torch.Tensor:
    """`[B]` int64."""
    return torch.tensor([s.limit for s in sources], device=device)
