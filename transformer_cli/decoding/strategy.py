"""How a batch is searched: greedy, beam, sampling or minimum Bayes risk, with the rules that the options require.

Shapes: B sentences of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from transformer_cli.decoding.constraints.phrases import (
    ANYWHERE,
    DynamicBeamAllocation,
    Phrase,
    RequiredPhrases,
    WordEnds,
)
from transformer_cli.decoding.constraints.rules import (
    MinimumLength,
    NoRepeatNgram,
    RepetitionPenalty,
    TargetPrefix,
)
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.static_search import StaticSearch
from transformer_cli.decoding.search.base import Rule, Search, Selector, StepModel
from transformer_cli.decoding.search.beam import BeamSearch, TopKSelector
from transformer_cli.decoding.search.diverse import DiverseGroups
from transformer_cli.decoding.search.greedy import GreedySearch
from transformer_cli.decoding.search.hypothesis import Hypothesis, Scorer
from transformer_cli.decoding.search.mbr import select_minimum_risk
from transformer_cli.decoding.search.sampling import Sampler, SampleSearch, uniforms
from transformer_cli.schema import DecodingConfig
from transformer_cli.token_ids import TokenIds

NO_TOKENS: TokenIds = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class SourceSentence:
    """One sentence to translate.

    Attributes:
        ids: `[S]`, without EOS.
        limit: maximum number of tokens of the translation, EOS included.
        minimum: minimum number of tokens of the translation, EOS excluded.
        number: position in the whole text; seeds sampling.
        prefix: tokens with which the translation starts.
        phrases: token sequences that the translation must contain.
    """

    ids: TokenIds
    limit: int
    minimum: int = 0
    number: int = 0
    prefix: TokenIds = field(default_factory=lambda: NO_TOKENS)
    phrases: tuple[Phrase, ...] = ()

    @property
    def is_constrained(self) -> bool:
        """Whether rules of its own restrict its translation."""
        return bool(self.minimum or len(self.prefix) or self.phrases)


class Strategy(ABC):
    """Starts the search of a batch and ranks its results."""

    @abstractmethod
    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        """A new search of these sentences."""

    def rank(self, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        """The hypotheses of a sentence, at least one, with ids of the whole vocabulary -> best first."""
        return hypotheses


@dataclass(frozen=True)
class RuleSet:
    """Builds the rules of a batch.

    Attributes:
        shared: rules that are the same for every sentence.
        word_ends: where the required phrases may end.
    """

    options: DecodingConfig
    shared: Sequence[Rule] = ()
    word_ends: WordEnds = ANYWHERE

    def for_batch(self, sources: Sequence[SourceSentence], device: torch.device) -> list[Rule]:
        """The rules of a batch, in order of application: hard constraints last, so that they prevail."""
        o, rules = self.options, list(self.shared)
        if o.repetition_penalty > 1.0:
            rules.append(RepetitionPenalty(o.repetition_penalty))
        if o.no_repeat_ngram:
            rules.append(NoRepeatNgram(o.no_repeat_ngram))
        if any(s.minimum for s in sources):
            rules.append(MinimumLength(torch.tensor([s.minimum for s in sources], device=device)))
        if any(s.phrases for s in sources):
            rules.append(RequiredPhrases([s.phrases for s in sources], [s.limit for s in sources], self.word_ends))
        if any(len(s.prefix) for s in sources):
            rules.append(TargetPrefix([s.prefix for s in sources], device))
        return rules


@dataclass(frozen=True)
class GreedyStrategy(Strategy):
    """Uses `GreedySearch`. `accelerate`: wraps a model of which only the largest logit is used."""

    rules: RuleSet
    scorer: Scorer
    scored: bool
    device: torch.device
    accelerate: Callable[[StepModel], StepModel]

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        rules = self.rules.for_batch(sources, self.device)
        if not self.scored and not rules:
            model = self.accelerate(model)
        limits = length_limits(sources, self.device)
        return GreedySearch(model, memory, limits, scorer=self.scorer, rules=rules, scored=self.scored)


@dataclass(frozen=True)
class BeamStrategy(Strategy):
    """Uses `BeamSearch`."""

    rules: RuleSet
    scorer: Scorer
    beam: int
    n_best: int
    selector: Selector
    device: torch.device

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        phrases = [s.phrases for s in sources]
        allocation = DynamicBeamAllocation(phrases, self.rules.word_ends) if any(phrases) else None
        return BeamSearch(
            model,
            memory,
            length_limits(sources, self.device),
            beam=self.beam,
            n_best=self.n_best,
            scorer=self.scorer,
            rules=self.rules.for_batch(sources, self.device),
            selector=allocation or self.selector,
        )


@dataclass(frozen=True)
class StaticStrategy(Strategy):
    """Uses `StaticSearch` in `graph_pool`, and `fallback` for batches with rules."""

    rules: RuleSet
    scorer: Scorer
    beam: int
    n_best: int
    scored: bool
    device: torch.device
    graph_pool: GraphPool
    fallback: Strategy

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        if self.rules.for_batch(sources, self.device):
            return self.fallback.start(model, memory, sources)
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
    """Uses `SampleSearch`. The samples of a sentence are ranked by score, without duplicates."""

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
            rules=self.rules.for_batch(sources, self.device),
        )

    def rank(self, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        by_tokens = {tuple(h.tokens): h for h in hypotheses}
        return sorted(by_tokens.values(), key=lambda h: -h.score)


@dataclass(frozen=True)
class MinimumBayesRiskStrategy(Strategy):
    """Draws samples and ranks the one with the lowest expected risk first; see `mbr`."""

    sampling: SamplingStrategy
    decode: Callable[[Sequence[TokenIds]], list[str]]

    def start(self, model: StepModel, memory: Any, sources: Sequence[SourceSentence]) -> Search:
        return self.sampling.start(model, memory, sources)

    def rank(self, hypotheses: list[Hypothesis]) -> list[Hypothesis]:
        texts = self.decode([h.ids for h in hypotheses])
        best = hypotheses[select_minimum_risk(texts)]
        return [best, *(h for h in self.sampling.rank(hypotheses) if h.tokens != best.tokens)]


def build_strategy(
    options: DecodingConfig,
    *,
    device: torch.device,
    decode: Callable[[Sequence[TokenIds]], list[str]],
    n_best: int = 1,
    scored: bool = True,
    shared: Sequence[Rule] = (),
    word_ends: WordEnds = ANYWHERE,
    accelerate: Callable[[StepModel], StepModel] = lambda model: model,
    graph_pool: GraphPool | None = None,
) -> Strategy:
    """The strategy for these options.

    Args:
        decode: ids -> text, for strategies that compare texts.
        n_best: number of hypotheses per sentence that are used.
        scored: whether log-probabilities are used.
        shared: rules for all sentences.
        word_ends: where required phrases may end.
        accelerate: see `GreedyStrategy`.
        graph_pool: buckets for greedy and beam search without rules; None uses the stepwise
            searches.
    """
    rules, scorer = RuleSet(options, shared, word_ends), Scorer(options.length_penalty)
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
    stepwise: Strategy = (
        GreedyStrategy(rules, scorer, scored, device, accelerate)
        if beam == 1
        else BeamStrategy(rules, scorer, beam, n_best, TopKSelector(), device)
    )
    if graph_pool is None:
        return stepwise
    return StaticStrategy(rules, scorer, beam, n_best, scored, device, graph_pool, stepwise)


def length_limits(sources: Sequence[SourceSentence], device: torch.device) -> torch.Tensor:
    """Maximum length of each translation, EOS included: `[B]` int64."""
    return torch.tensor([s.limit for s in sources], device=device)
