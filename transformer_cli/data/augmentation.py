"""Augmentation: in each epoch another random variant of the training text.

Subword regularization (Kudo 2018) samples the segmentation of both sides: the model sees the parts of words that a
small corpus has in one segmentation only. Noise changes some source sentences, as users type them. The corpus of an
epoch is a pure function of (text, vocabularies, options, seed, epoch), so a resumed run reads the same corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transformer_cli.batch import Sentences
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.noise import SourceNoise
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.token_ids import TokenIds

SOURCE, TARGET, NOISE = 0, 1, 2
"""Independent random streams of an epoch."""


@dataclass(frozen=True)
class AugmentedCorpus:
    """Maps an epoch to a random variant of the pairs of `plain`.

    A sentence of more than `max_length` tokens, including EOS, is replaced by its plain form.

    Attributes:
        text: all lines of the corpus.
        plain: the pairs to train on, unchanged and in their best segmentation.
        alpha: exponent of the segmentation probabilities (see `Tokenizer.sample`); 0 takes the best segmentation.
        noise: changes source sentences; None changes none.
        tagged: whether each source of `plain` begins with the tag of its target language, which stays.
    """

    text: ParallelText
    plain: EncodedCorpus
    tokenizers: tuple[Tokenizer, Tokenizer]
    alpha: float
    max_length: int
    seed: int
    noise: SourceNoise | None = None
    tagged: bool = False

    def __call__(self, epoch: int) -> EncodedCorpus:
        lines = [self.text.src[i] for i in self.plain.lines]
        if self.noise is not None:
            lines = self.noise(lines, np.random.default_rng([self.seed, epoch, NOISE]))
        src = self._encode(lines, SOURCE, epoch) if self.alpha or self.noise is not None else self.plain.src
        tgt = self._encode([self.text.tgt[i] for i in self.plain.lines], TARGET, epoch) if self.alpha else self.plain.tgt
        return EncodedCorpus(src, tgt, self.plain.lines, self.plain.left_out)

    def _encode(self, lines: Sequence[str], side: int, epoch: int) -> Sentences:
        tokenizer, plain = self.tokenizers[side], (self.plain.src, self.plain.tgt)[side]
        encoded: list[TokenIds]
        if self.alpha:
            seed = int(np.random.SeedSequence([self.seed, epoch, side]).generate_state(1)[0])
            encoded = tokenizer.sample(lines, self.alpha, seed)
        else:
            encoded = tokenizer.encode(lines)
        if side == SOURCE and self.tagged:
            encoded = [np.append(plain[i][:1], ids) if len(ids) else ids for i, ids in enumerate(encoded)]
        bounded = (ids if 0 < len(ids) < self.max_length else plain[i][:-1] for i, ids in enumerate(encoded))
        return Sentences.pack(list(bounded))
