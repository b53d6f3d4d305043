"""Subword regularization: another random segmentation of the training text in each epoch (Kudo 2018).

Sampled segmentations show the model the parts of words that a small corpus has in one segmentation only. The
corpus of an epoch is a pure function of (text, vocabularies, alpha, seed, epoch), so a resumed run reads the
same corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transformer_cli.batch import Sentences
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class SampledCorpus:
    """Maps an epoch to the pairs of `plain` in a random segmentation.

    A sampled sentence of more than `max_length` tokens, including EOS, is replaced by its best segmentation.

    Attributes:
        text: all lines of the corpus.
        plain: the pairs to train on, in their best segmentation.
        alpha: exponent of the segmentation probabilities (see `Tokenizer.sample`).
    """

    text: ParallelText
    plain: EncodedCorpus
    tokenizers: tuple[Tokenizer, Tokenizer]
    alpha: float
    max_length: int
    seed: int

    def __call__(self, epoch: int) -> EncodedCorpus:
        sides = []
        for side, (lines, plain) in enumerate([(self.text.src, self.plain.src), (self.text.tgt, self.plain.tgt)]):
            seed = int(np.random.SeedSequence([self.seed, epoch, side]).generate_state(1)[0])
            sampled = self.tokenizers[side].sample([lines[i] for i in self.plain.lines], self.alpha, seed)
            bounded = (ids if len(ids) < self.max_length else plain[i][:-1] for i, ids in enumerate(sampled))
            sides.append(Sentences.pack(list(bounded)))
        src, tgt = sides
        return EncodedCorpus(src, tgt, self.plain.lines, self.plain.left_out)
