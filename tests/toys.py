"""Models small enough to enumerate, for every test of search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import BOS, EOS

VOCAB = 7  # three words: 4, 5, 6


@dataclass
class History:
    """A state that is the tokens themselves: reorder and keep are what they say."""

    tokens: Tensor  # [B, W, t]
    sentences: Tensor  # [B]

    def reorder(self, parents: Tensor) -> History:
        index = parents[..., None].expand(-1, -1, self.tokens.shape[-1])
        return History(self.tokens.gather(1, index), self.sentences)

    def select(self, rows: Tensor) -> History:
        return History(self.tokens[rows], self.sentences[rows])

    def cat(self, other: History) -> History:
        return History(torch.cat([self.tokens, other.tokens]), torch.cat([self.sentences, other.sentences]))


class Toy:
    """Logits that depend on the sentence and on every earlier token, by a table of random numbers."""

    def __init__(self, sentences: int, logits: Any = None, vocab: int = VOCAB, seed: int = 3) -> None:
        self.sentences = sentences
        self.vocab = vocab
        self.table = torch.randn(997, vocab, generator=torch.Generator().manual_seed(seed)) * 2
        self.fixed = logits

    def init_state(self, memory: Any) -> History:
        """`memory`: which sentences, if not all."""
        sentences = torch.arange(self.sentences) if memory is None else torch.tensor(memory)
        return History(torch.empty(len(sentences), 1, 0, dtype=torch.int64), sentences)

    def decode_step(self, tokens: Tensor, state: History) -> tuple[Tensor, History]:
        history = torch.cat([state.tokens, tokens[..., None]], dim=-1)
        if self.fixed is not None:
            logits = torch.tensor(self.fixed).expand(*tokens.shape, self.vocab).clone()
        else:
            logits = self.table[self.key(history, state.sentences[:, None])].clone()
        return logits, History(history, state.sentences)

    def key(self, history: Tensor, sentence: Tensor) -> Tensor:
        powers = 11 ** torch.arange(history.shape[-1]) % 997
        return ((history * powers).sum(-1) + 31 * sentence) % 997

    def log_probs(self, sentence: int, words: tuple[int, ...]) -> list[float]:
        """Log-probability of each of the words and of EOS, computed one by one."""
        found, said = [], [BOS]
        for word in [*words, EOS]:
            logits = self.table[self.key(torch.tensor(said), torch.tensor(sentence))]
            found.append(float(logits.log_softmax(-1)[word]))
            said.append(word)
        return found

    def log_prob(self, sentence: int, words: tuple[int, ...]) -> float:
        return sum(self.log_probs(sentence, words))
