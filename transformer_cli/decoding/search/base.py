"""Interfaces between search, models and features, and the step loop that all searches share.

Shapes: B sentences, W beams, V vocabulary, t tokens so far. Search passes token ids to the model
and receives logits. The model's state is opaque except for `reorder`, `select` and `cat`. Features
plug in at three interfaces: a `Rule` edits the log-probabilities of the next token, a `Selector`
chooses which hypotheses continue, a `Scorer` ranks finished hypotheses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ParamSpec, Protocol, Self

import torch
from torch import Tensor

from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.decoding.search.logits import log_softmax, mask_impossible_tokens
from transformer_cli.token_ids import BOS

P = ParamSpec("P")

COMPACT_BELOW = 0.75
"""Finished sentences are removed from the batch when less than this share of its rows is unfinished."""


class StepModel(Protocol):
    """A model that decodes one position at a time."""

    def init_state(self, memory: Any) -> Any:
        """The state before the first token, with one hypothesis for each of B sentences."""
        ...

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Last tokens `[B, W]` -> (logits `[B, W, V]`, new state)."""
        ...


@dataclass(frozen=True)
class History:
    """The tokens of all active hypotheses.

    Attributes:
        rows: `[B]` int64, the index of each row's sentence in the original batch; finished
            sentences are removed.
        tokens: `[B, W, t]` int64, BOS first.
    """

    rows: Tensor
    tokens: Tensor

    @property
    def position(self) -> int:
        """Number of generated tokens, BOS not counted."""
        return self.tokens.shape[-1] - 1


class Rule(Protocol):
    """Restricts or reweights the next token. `history.rows` identifies the sentences."""

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        """`[B, W, V]` -> the same shape, in place or as a new tensor; -inf forbids a token."""
        ...


@dataclass(frozen=True)
class Selection:
    """The result of one position: hypotheses that continue, and hypotheses that finish.

    Attributes:
        scores, parents, choices: `[B, W]`: summed log-probability, beam extended, token appended.
        finished_scores, finished_parents: `[B, E]`: summed log-probability and parent beam of up
            to E hypotheses that end with EOS here; -inf marks an empty slot.
    """

    scores: Tensor
    parents: Tensor
    choices: Tensor
    finished_scores: Tensor
    finished_parents: Tensor


class Selector(Protocol):
    """Chooses W hypotheses of each sentence among all continuations."""

    def initial_scores(self, width: int) -> list[float]:
        """Scores of the W beams before the first token. The beams are equal then, so only some may branch."""
        ...

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        """Scores `[B, W]` and log-probabilities of the next token `[B, W, V]` -> which continue, which finish."""
        ...


@dataclass(frozen=True)
class ActiveHypotheses(History):
    """Hypotheses that continue. `token_log_probs` `[B, W, t - 1]`: log-probability of each of their tokens."""

    token_log_probs: Tensor

    def select(self, indices: Tensor) -> Self:
        """Keep the rows `indices` `[B']`."""
        return type(self)(*(getattr(self, f.name).index_select(0, indices) for f in fields(self)))

    def cat(self, other: Self, offset: int) -> Self:
        """Append the rows of another search; `offset` is added to their sentence indices."""
        (rows, other_rows), *rest = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return type(self)(torch.cat([rows, other_rows + offset]), *(torch.cat(pair) for pair in rest))


class Search(ABC):
    """The running search of a batch. Call `step` until `num_active` is 0, then `results`."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Number of generated tokens of each hypothesis."""

    @property
    @abstractmethod
    def num_unfinished(self) -> int:
        """Number of sentences that are not known to be finished."""

    @property
    @abstractmethod
    def num_active(self) -> int:
        """Number of hypotheses of the unfinished sentences; 0 once the search is complete."""

    @property
    def can_merge(self) -> bool:
        """Whether another search of the same kind may be merged into this one."""
        return False

    @abstractmethod
    def step(self) -> None:
        """Decode one or more positions."""

    @abstractmethod
    def results(self) -> list[list[Hypothesis]]:
        """The hypotheses of each sentence, in order. Valid once the search is complete."""

    def merge(self, other: Self) -> None:
        """Append the sentences of another search at the same position."""
        raise NotImplementedError


class StepwiseSearch(Search):
    """Decodes one position per step and removes finished sentences from the batch."""

    active: ActiveHypotheses
    finished: list[Any]
    """For each sentence, its finished hypotheses in a form that the subclass defines."""

    def __init__(self, model: StepModel, memory: Any, limits: Tensor, rules: Sequence[Rule]) -> None:
        """Arguments as in `BeamSearch`. Subclasses initialize `active` and `finished`."""
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
        """False with rules, which refer to the sentences of a single batch."""
        return not self.rules

    def step(self) -> None:
        """Append a token to every hypothesis, and remove finished sentences where that pays."""
        continues = self.extend(self._logits(), self.limits[self.active.rows] == self.active.position + 1)
        keep = rows_to_keep(continues)
        if keep is not None:
            self.collect_finished(~continues)
            self.active, self.state = self.active.select(keep), self.state.select(keep)

    @abstractmethod
    def extend(self, logits: Tensor, must_end: Tensor) -> Tensor:
        """Append a token to each hypothesis, and return which sentences continue, `[B]` bool.

        Args:
            logits: `[B, W, V]`.
            must_end: `[B]` bool, where the limit allows only one more token, which is EOS.
        """

    @abstractmethod
    def collect_finished(self, is_finished: Tensor) -> None:
        """Store the hypotheses of the rows `is_finished`, `[B]` bool, before they are removed."""

    def merge(self, other: Self) -> None:
        assert self.active.position == other.active.position > 0 and self.can_merge and other.can_merge
        self.active = self.active.cat(other.active, len(self.limits))
        self.limits = torch.cat([self.limits, other.limits])
        self.state = self.state.cat(other.state)
        self.finished += other.finished

    def _logits(self) -> Tensor:
        """Logits of the next token, `[B, W, V]`. The step after BOS is equal for all beams and computed once."""
        tokens = self.active.tokens
        if self.active.position:
            logits, self.state = self.model.decode_step(tokens[:, :, -1], self.state)
            return logits
        logits, self.state = self.model.decode_step(tokens[:, :1, 0], self.state)
        width = tokens.shape[1]
        if width > 1:
            self.state = self.state.reorder(tokens.new_zeros(tokens.shape[:2]))
        return logits.expand(-1, width, -1)


def initial_rows(limits: Tensor) -> Tensor:
    """`[B]` int64: one row per sentence."""
    return torch.arange(len(limits), device=limits.device)


def initial_tokens(limits: Tensor, width: int) -> Tensor:
    """`[B, W, 1]` int64: BOS."""
    return torch.full((len(limits), width, 1), BOS, device=limits.device)


def run_to_end(search_class: Callable[P, Search]) -> Callable[P, list[list[Hypothesis]]]:
    """A function that runs a search of this class to its end and returns the hypotheses of each sentence."""

    def run(*args: P.args, **kwargs: P.kwargs) -> list[list[Hypothesis]]:
        search = search_class(*args, **kwargs)
        while search.num_active:
            search.step()
        return search.results()

    return run


def next_log_probs(logits: Tensor, history: History, must_end: Tensor, rules: Sequence[Rule]) -> Tensor:
    """Logits `[B, W, V]` -> log-probabilities of the next token under the rules, the same shape.

    PAD, UNK and BOS are impossible; in the rows `must_end` `[B]` (bool) only EOS is possible.
    """
    log_probs = log_softmax(logits)
    for rule in rules:
        log_probs = rule(log_probs, history)
    return mask_impossible_tokens(log_probs, must_end)


def rows_to_keep(unfinished: Tensor) -> Tensor | None:
    """Indices `[B']` of the unfinished rows if enough of `[B]` are finished to pay for the copy; else None."""
    count = int(unfinished.sum())
    return unfinished.nonzero().squeeze(1) if count < COMPACT_BELOW * len(unfinished) else None
