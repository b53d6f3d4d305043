"""A model small enough to enumerate all of its hypotheses, for the tests of search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer_cli.token_ids import BOS, EOS

VOCAB = 7  # three words: 4, 5, 6


@dataclass
class ToyState:
    """A decoder state that stores the tokens themselves, so `reorder`, `select` and `cat` are exact by construction."""

    tokens: Tensor  # [B, W, t]
    sentences: Tensor  # [B]

    def reorder(self, parents: Tensor) -> ToyState:
        index = parents[..., None].expand(-1, -1, self.tokens.shape[-1])
        return ToyState(self.tokens.gather(1, index), self.sentences)

    def select(self, rows: Tensor) -> ToyState:
        return ToyState(self.tokens[rows], self.sentences[rows])

    def cat(self, other: ToyState) -> ToyState:
        return ToyState(torch.cat([self.tokens, other.tokens]), torch.cat([self.sentences, other.sentences]))


class ToyModel:
    """Looks its logits up in a table of random numbers, by the sentence and all previous tokens.

    `logits`: constant logits `[V]` instead.
    """

    def __init__(self, sentences: int, logits: Any = None, vocab: int = VOCAB, seed: int = 3) -> None:
        self.sentences = sentences
        self.vocab = vocab
        self.table = torch.randn(997, vocab, generator=torch.Generator().manual_seed(seed)) * 2
        self.constant_logits = logits

    def init_state(self, memory: Any) -> ToyState:
        """`memory`: the indices of the sentences; None for all."""
        sentences = torch.arange(self.sentences) if memory is None else torch.tensor(memory)
        return ToyState(torch.empty(len(sentences), 1, 0, dtype=torch.int64), sentences)

    def decode_step(self, tokens: Tensor, state: ToyState) -> tuple[Tensor, ToyState]:
        history = torch.cat([state.tokens, tokens[..., None]], dim=-1)
        if self.constant_logits is not None:
            logits = torch.tensor(self.constant_logits).expand(*tokens.shape, self.vocab).clone()
        else:
            logits = self.table[self.key(history, state.sentences[:, None])].clone()
        return logits, ToyState(history, state.sentences)

    def key(self, history: Tensor, sentence: Tensor) -> Tensor:
        """Row of the table for a history of tokens, BOS first."""
        powers = 11 ** torch.arange(history.shape[-1]) % 997
        return ((history * powers).sum(-1) + 31 * sentence) % 997

    def log_probs(self, sentence: int, words: tuple[int, ...]) -> list[float]:
        """Log-probability of each of the words and of EOS, computed one by one."""
        log_probs, history = [], [BOS]
        for word in [*words, EOS]:
            logits = self.table[self.key(torch.tensor(history), torch.tensor(sentence))]
            log_probs.append(float(logits.log_softmax(-1)[word]))
            history.append(word)
        return log_probs

    def log_prob(self, sentence: int, words: tuple[int, ...]) -> float:
        """Sum of `log_probs`."""
        return sum(self.log_probs(sentence, words))
