"""Subword sampling: the training text in other pieces each epoch (Kudo 2018).

A small corpus shows each word in one segmentation only; drawn ones teach what its parts mean. What an epoch
reads is a pure function of (text, vocabularies, alpha, seed, epoch), so a resumed run reads the same.
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
    """A corpus by epoch: the pairs of `plain`, segmented at random.

    `text` holds all lines, `plain` the pairs that are trained on. A drawn sentence above `max_length` pieces, EOS
    included, is replaced by its likeliest segmentation.
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
            drawn = self.tokenizers[side].sample([lines[i] for i in self.plain.lines], self.alpha, seed)
            fitting = (ids if len(ids) < self.max_length else plain[i][:-1] for i, ids in enumerate(drawn))
            sides.append(Sentences.pack(list(fitting)))
        src, tgt = sides
        return EncodedCorpus(src, tgt, self.plain.lines, self.plain.left_out)
