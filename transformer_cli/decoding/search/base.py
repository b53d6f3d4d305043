"""What search needs of a model, how it goes on, the seams at which features plug in, and what comes out.

Shapes: B sentences, W beams, V vocabulary, t tokens so far. Search sees token ids go in and logits come out; the
state is opaque but for `reorder`, `keep` and `join`. Three seams carry the features: a `Rule` edits the
log-probabilities of the next token, a `Selector` chooses which hypotheses go on, a `Scorer` ranks those that end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ParamSpec, Protocol, Self, TypeVar

import torch
from torch import Tensor

from transformer_cli.batch import BOS, EOS, UNK

P = ParamSpec("P")
Number = TypeVar("Number", float, Tensor)

COMPACT_BELOW = 0.75
"""Finished sentences leave the batch when fewer than this share of its rows is still alive."""
BLOCK = 128
"""Where the best of a vocabulary are sought, blocks of so many go first by their maxima."""
LOWEST_SCORE = -1e9
"""A log-probability for what the model calls impossible (-inf) or cannot say (NaN)."""
CLOSED_SCORE = 1.5 * LOWEST_SCORE
"""Below, the score of a beam says that nothing goes on there."""


class StepModel(Protocol):
    """A model that says one position at a time."""

    def init_state(self, memory: Any) -> Any:
        """The state before the first token, for one hypothesis of each of B sentences."""
        ...

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Last tokens `[B, W]` -> (logits `[B, W, V]`, new state)."""
        ...


@dataclass(frozen=True)
class History:
    """The hypotheses so far.

    Attributes:
        rows: `[B]` int64, which sentence of the batch each row is; finished sentences leave.
        tokens: `[B, W, t]` int64, BOS first.
    """

    rows: Tensor
    tokens: Tensor

    @property
    def position(self) -> int:
        """How many tokens each hypothesis has said."""
        return self.tokens.shape[-1] - 1


class Rule(Protocol):
    """Says what may come next; knows the sentences of the batch by `history.rows`."""

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        """`[B, W, V]` -> the same, edited in place or anew; -inf = may not come next."""
        ...


@dataclass(frozen=True)
class Selection:
    """What one position brings: hypotheses that go on, and hypotheses that end.

    Attributes:
        scores, parents, choices: `[B, W]`: summed log-probability, beam continued, token added.
        ended_scores, ended_parents: `[B, E]`: of hypotheses that end here; -inf = none.
    """

    scores: Tensor
    parents: Tensor
    choices: Tensor
    ended_scores: Tensor
    ended_parents: Tensor


class Selector(Protocol):
    """Chooses W hypotheses of each sentence among all continuations."""

    def initial_scores(self, width: int) -> list[float]:
        """Scores of the W beams before the first token: all are alike, so only some may branch."""
        ...

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        """Scores `[B, W]` and log-probabilities of the next token `[B, W, V]` -> who goes on and who ends."""
        ...


@dataclass(frozen=True)
class Scorer:
    """The length penalty of GNMT: log-probability / ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14)."""

    alpha: float = 1.0

    def __call__(self, log_prob: Number, length: Number | int) -> Number:
        """The score of a hypothesis of `length` tokens, EOS included; a tensor may differ in the last digit."""
        return log_prob / length_penalty(length, self.alpha)


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation.

    Attributes:
        tokens: ids without BOS and EOS.
        log_prob: sum of the log-probabilities of the tokens and of EOS, in nats; NaN where nobody asked for it.
        score: what search ranks by: log_prob under the length penalty.
        token_log_probs: of each token and of EOS; empty where nobody asked for them.
    """

    tokens: list[int]
    log_prob: float
    score: float
    token_log_probs: list[float] = field(default_factory=list)


def length_penalty(length: Number | int, alpha: float) -> Any:
    """((5 + length) / 6) ** alpha; length counts EOS (Wu et al. 2016, equation 14)."""
    return ((5.0 + length) / 6.0) ** alpha


@dataclass(frozen=True)
class ActiveHypotheses(History):
    """The hypotheses that go on, and `token_log_probs` `[B, W, t - 1]`: the log-probability of each of their tokens."""

    token_log_probs: Tensor

    def select(self, kept: Tensor) -> Self:
        """The rows `[B']`."""
        return type(self)(*(getattr(self, f.name).index_select(0, kept) for f in fields(self)))

    def cat(self, other: Self, sentences: int) -> Self:
        """And after them those of another search, whose sentences are counted from `sentences` on."""
        (mine, theirs), *rest = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return type(self)(torch.cat([mine, theirs + sentences]), *(torch.cat(pair) for pair in rest))


class Search(ABC):
    """The search of a batch under way: `step` goes on by a position or more until nothing is left."""

    @property
    @abstractmethod
    def position(self) -> int:
        """How many tokens each hypothesis has said."""

    @property
    @abstractmethod
    def num_unfinished(self) -> int:
        """Sentences that are not known to be finished."""

    @property
    @abstractmethod
    def num_active(self) -> int:
        """Their hypotheses; 0 = all is found."""

    @property
    def can_merge(self) -> bool:
        """Whether it may go on together with another of its kind."""
        return False

    @abstractmethod
    def step(self) -> None:
        """Go on."""

    @abstractmethod
    def results(self) -> list[list[Hypothesis]]:
        """The hypotheses of each sentence, in order, when none goes on."""

    def merge(self, other: Self) -> None:
        """The sentences of another search at the same position go on with these, and are counted after them."""
        raise NotImplementedError


class StepwiseSearch(Search):
    """Each step one position; finished sentences leave the batch."""

    active: ActiveHypotheses
    found: list[Any]
    """Of each sentence, what is known of its hypotheses."""

    def __init__(self, model: StepModel, memory: Any, limits: Tensor, rules: Sequence[Rule]) -> None:
        """As `BeamSearch`. `active` and `found` are for the kinds to make."""
        self.model, self.limits, self.rules = model, limits, rules
        self.state = model.init_state(memory)

    @property
    def position(self) -> int:
        return self.active.position

    @property
    def num_unfinished(self) -> int:
        return len(self.active.rows)

    @property
    def num_active(self) -> int:
        return self.active.tokens.shape[:2].numel()

    @property
    def can_merge(self) -> bool:
        """Rules know the sentences of one batch."""
        return not self.rules

    def step(self) -> None:
        """Say one more token of every hypothesis, and let finished sentences leave where that pays."""
        continues = self.choose(self._logits(), self.limits[self.active.rows] == self.active.position + 1)
        keep = rows_to_keep(continues)
        if keep is not None:
            self.collect_finished(~continues)
            self.active, self.state = self.active.select(keep), self.state.select(keep)

    @abstractmethod
    def choose(self, logits: Tensor, last: Tensor) -> Tensor:
        """Add a token to each hypothesis -> which sentences go on, `[B]` bool.

        `logits`: `[B, W, V]`; `last`: `[B]` bool, where this token is the last that may be said, so it is EOS.
        """

    @abstractmethod
    def collect_finished(self, finished: Tensor) -> None:
        """Take down what was found for the sentences of these rows, `[B]` bool."""

    def merge(self, other: Self) -> None:
        assert self.active.position == other.active.position > 0 and self.can_merge and other.can_merge
        self.active = self.active.cat(other.active, len(self.limits))
        self.limits = torch.cat([self.limits, other.limits])
        self.state = self.state.cat(other.state)
        self.found += other.found

    def _logits(self) -> Tensor:
        """`[B, W, V]`. What all hypotheses of a sentence have in common, the step after BOS, is computed once."""
        tokens = self.active.tokens
        if self.active.position:
            logits, self.state = self.model.decode_step(tokens[:, :, -1], self.state)
            return logits
        logits, self.state = self.model.decode_step(tokens[:, :1, 0], self.state)
        width = tokens.shape[1]
        if width > 1:
            self.state = self.state.reorder(tokens.new_zeros(tokens.shape[:2]))
        return logits.expand(-1, width, -1)


def initial_hypotheses(limits: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Rows `[B]` and tokens `[B, W, 1]` of hypotheses that have said nothing."""
    rows = torch.arange(len(limits), device=limits.device)
    return rows, torch.full((len(limits), width, 1), BOS, device=limits.device)


def run_to_end(kind: Callable[P, Search]) -> Callable[P, list[list[Hypothesis]]]:
    """What a search of this kind finds when it is done at once: the hypotheses of each sentence."""

    def found(*args: P.args, **options: P.kwargs) -> list[list[Hypothesis]]:
        search = kind(*args, **options)
        while search.num_active:
            search.step()
        return search.results()

    return found


def next_log_probs(logits: Tensor, history: History, last: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Logits `[B, W, V]` -> log-probabilities of what may come next, the same shape.

    Half precision is widened; float64 stays. PAD, UNK and BOS are never said; where `last` `[B]`, a sentence ends.
    """
    log_probs = logits.log_softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    for rule in rules:
        log_probs = rule(log_probs, history)
    return mask_impossible_tokens(log_probs, last)


def mask_impossible_tokens(logits: Tensor, last: Tensor) -> Tensor:
    """Forbid what no translation holds: PAD, UNK, BOS; and, where `last` `[B]`, all but EOS. In place."""
    if last.any():
        ending = logits[last, ..., EOS]
        logits[last] = -torch.inf
        logits[last, ..., EOS] = ending
    return mask_special_tokens(logits)


def mask_special_tokens(logits: Tensor) -> Tensor:
    """Forbid PAD, UNK and BOS. In place."""
    logits[..., : UNK + 2] = -torch.inf
    return logits


def argmax_token(values: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of `[B, V]` and the first place where it stands, `[B]` each.

    In two stages, for torch is ten times faster at a maximum than at its place: the first block that holds the
    maximum, then the first place in it. NaN counts as the largest, as in torch.
    """
    vocab = values.shape[-1]
    block = math.gcd(vocab, BLOCK)
    if block < 8:
        best, place = values.max(dim=-1)
        return best, place
    blocks = values.view(-1, vocab // block, block)
    chosen = blocks.amax(dim=-1).argmax(dim=-1)  # [B]
    first = torch.arange(0, len(chosen) * blocks.shape[1], blocks.shape[1], device=values.device)
    best, place = blocks.flatten(0, 1).index_select(0, first + chosen).max(dim=-1)
    return best, chosen * block + place


def widest_float(device: torch.device) -> torch.dtype:
    """The widest floating type of a device: float64, which MPS does not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def rows_to_keep(alive: Tensor) -> Tensor | None:
    """Rows to keep `[B']` if enough sentences `[B]` have finished to pay for moving the rest; else None."""
    count = int(alive.sum())
    return alive.nonzero().squeeze(1) if count < COMPACT_BELOW * len(alive) else None
