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

from transformer_cli.batch import Ids
from transformer_cli.decoding.beam import BeamSearch, TopBeams
from transformer_cli.decoding.captured import CapturedSearch, Stages
from transformer_cli.decoding.constraints import Phrase, RequiredPhrases, SharedBeams
from transformer_cli.decoding.diverse import DiverseGroups
from transformer_cli.decoding.greedy import GreedySearch
from transformer_cli.decoding.mbr import least_risk
from transformer_cli.decoding.rules import MinimumLength, NoRepeatNgram, RepetitionPenalty, TargetPrefix
from transformer_cli.decoding.sampling import Sampler, SampleSearch, uniforms
from transformer_cli.decoding.search import Hypothesis, Rule, Scorer, Search, Selector, StepModel
from transformer_cli.schema import DecodingConfig

NOTHING: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Source:
    """One sentence to translate.

    Attributes:
        ids: `[S]`, without EOS.
        limit: most tokens of a translation, EOS included. minimum: fewest, EOS not counted.
        number: its place in the whole text, which sampling is seeded by.
        prefix: tokens that the translation begins with. phrases: token sequences that it must hold.
    """

    ids: Ids
    limit: int
    minimum: int = 0
    number: int = 0
    prefix: Ids = field(default_factory=lambda: NOTHING)
    phrases: tuple[Phrase, ...] = ()


class Strategy(ABC):
    """Begins the search of a batch, and has the last word on what was found."""

    @abstractmethod
    def begin(self, model: StepModel, memory: Any, sources: Sequence[Source]) -> Search:
        """The search of these sentences, under way."""

    def rank(self, found: list[Hypothesis]) -> list[Hypothesis]:
        """The hypotheses of a sentence, at least one, in the vocabulary's ids -> the best first."""
        return found


@dataclass(frozen=True)
class Rules:
    """The rules of a batch; `everywhere` are those that do not look at the sentence."""

    options: DecodingConfig
    everywhere: Sequence[Rule] = ()

    def of(self, sources: Sequence[Source], device: torch.device) -> list[Rule]:
        """Rules that express a wish first; those that keep a promise last, for they have the last word."""
        o, rules = self.options, list(self.everywhere)
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
    """See `GreedySearch`. `screen` makes a model faster whose largest logit alone matters."""

    rules: Rules
    scorer: Scorer
    scored: bool
    device: torch.device
    screen: Callable[[StepModel], StepModel]

    def begin(self, model: StepModel, memory: Any, sources: Sequence[Source]) -> Search:
        rules = self.rules.of(sources, self.device)
        if not self.scored and not rules:
            model = self.screen(model)
        limits = limits_of(sources, self.device)
        return GreedySearch(model, memory, limits, scorer=self.scorer, rules=rules, scored=self.scored)


@dataclass(frozen=True)
class BeamStrategy(Strategy):
    """See `BeamSearch`."""

    rules: Rules
    scorer: Scorer
    beam: int
    wanted: int
    selector: Selector
    device: torch.device

    def begin(self, model: StepModel, memory: Any, sources: Sequence[Source]) -> Search:
        bound = any(s.phrases for s in sources)
        return BeamSearch(
            model,
            memory,
            limits_of(sources, self.device),
            beam=self.beam,
            wanted=self.wanted,
            scorer=self.scorer,
            rules=self.rules.of(sources, self.device),
            selector=SharedBeams([s.phrases for s in sources]) if bound else self.selector,
        )


@dataclass(frozen=True)
class CapturedStrategy(Strategy):
    """Greedy and beam search in `stages`; batches that have rules are searched as `other` does."""

    rules: Rules
    scorer: Scorer
    beam: int
    wanted: int
    scored: bool
    device: torch.device
    stages: Stages
    other: Strategy

    def begin(self, model: StepModel, memory: Any, sources: Sequence[Source]) -> Search:
        if self.rules.of(sources, self.device):
            return self.other.begin(model, memory, sources)
        return CapturedSearch(
            model,
            memory,
            limits_of(sources, self.device),
            source=max(len(s.ids) for s in sources) + 1,
            stages=self.stages,
            beam=self.beam,
            wanted=self.wanted,
            scorer=self.scorer,
            scored=self.scored,
        )


@dataclass(frozen=True)
class SamplingStrategy(Strategy):
    """See `SampleSearch`; samples of a sentence are ranked by score, equal ones once."""

    rules: Rules
    scorer: Scorer
    sampler: Sampler
    samples: int
    seed: int
    device: torch.device

    def begin(self, model: StepModel, memory: Any, sources: Sequence[Source]) -> Search:
        limits = limits_of(sources, self.device)
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
class MinimumRiskStrategy(Strategy):
    """Samples, of which the one most like the others comes first; see `mbr`."""

    sampling: SamplingStrategy
    decode: Callable[[Sequence[Ids]], list[str]]

    def begin(self, model: StepModel, memory: Any, sources: Sequence[Source]) -> Search:
        return self.sampling.begin(model, memory, sources)

    def rank(self, found: list[Hypothesis]) -> list[Hypothesis]:
        texts = self.decode([np.array(h.tokens, dtype=np.int64) for h in found])
        chosen = found[least_risk(texts)]
        return [chosen, *(h for h in self.sampling.rank(found) if h.tokens != chosen.tokens)]


def build_strategy(
    options: DecodingConfig,
    *,
    device: torch.device,
    decode: Callable[[Sequence[Ids]], list[str]],
    wanted: int = 1,
    scored: bool = True,
    everywhere: Sequence[Rule] = (),
    screen: Callable[[StepModel], StepModel] = lambda model: model,
    stages: Stages | None = None,
) -> Strategy:
    """The strategy that the options describe.

    Args:
        decode: ids -> text, for what compares texts. wanted: how many hypotheses of a sentence will be used.
        scored: whether anybody will look at log-probabilities. everywhere: rules for all sentences.
        screen: see `GreedyStrategy`. stages: what plain search takes its steps in, if there are any.
    """
    rules, scorer = Rules(options, everywhere), Scorer(options.length_penalty)
    sampler = Sampler(options.temperature, options.top_k, options.top_p)
    if options.mbr_samples:
        sampling = SamplingStrategy(rules, scorer, sampler, options.mbr_samples, options.seed, device)
        return MinimumRiskStrategy(sampling, decode)
    if options.sample:
        return SamplingStrategy(rules, scorer, sampler, wanted, options.seed, device)
    beam, groups = options.beam, options.diversity_groups
    if groups > 1:
        selector = DiverseGroups(groups, options.diversity_strength)
        return BeamStrategy(rules, scorer, beam, wanted, selector, device)
    scored = scored or beam > 1
    plain: Strategy = (
        GreedyStrategy(rules, scorer, scored, device, screen)
        if beam == 1
        else BeamStrategy(rules, scorer, beam, wanted, TopBeams(), device)
    )
    return (
        plain if stages is None else CapturedStrategy(rules, scorer, beam, wanted, scored, device, stages, plain)
    )


def limits_of(sources: Sequence[Source], device: torch.device) -> torch.Tensor:
    """`[B]` int64."""
    return torch.tensor([s.limit for s in sources], device=device)
