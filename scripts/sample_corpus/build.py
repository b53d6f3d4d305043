"""The splits of the corpus: distinct pairs, and held-out words that occur in train."""

from __future__ import annotations

import re
from collections import Counter

from sample_corpus.kinds import KINDS
from sample_corpus.lexicon import CITIES, FEMALE_NAMES, MALE_NAMES, SURNAMES
from sample_corpus.morphology.function_words import NUMERALS
from sample_corpus.pair import Pair
from sample_corpus.sampling import Sampler

MIN_WORDS, MAX_WORDS = 3, 30
"""Length of an English sentence"""

MIN_COUNT = 5
"""How often train contains each word of valid and test, names and numerals aside"""

MIN_TRAIN = 5000
"""Pairs below which train is too small for MIN_COUNT"""

TOKEN = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
NAMES = {*MALE_NAMES, *FEMALE_NAMES, *SURNAMES, *(name for pair in CITIES for name in pair)}
NUMBER_WORDS = {*NUMERALS, *NUMERALS.values()}
COPIED = NAMES | {f"{name}s" for name in NAMES} | NUMBER_WORDS | {word.capitalize() for word in NUMBER_WORDS}
"""Names, with their genitive, and numerals"""


def word_types(text: str) -> set[str]:
    """Return the words of a sentence that train has to contain: no names, no numerals."""
    return {token.removesuffix("'s") for token in TOKEN.findall(text)} - COPIED


def build(seed: int, train: int, valid: int, test: int) -> dict[str, list[Pair]]:
    """Return the splits; no English and no German sentence occurs twice."""
    sampler = Sampler(seed)
    kinds, weights = zip(*KINDS, strict=True)
    seen_en: set[str] = set()
    seen_de: set[str] = set()

    def new_pair() -> Pair:
        while True:
            en, de = sampler.rng.choices(kinds, weights)[0](sampler)
            if en in seen_en or de in seen_de or not MIN_WORDS <= len(en.split()) <= MAX_WORDS:
                continue
            seen_en.add(en)
            seen_de.add(de)
            return en, de

    splits = {"train": [new_pair() for _ in range(train)]}
    counts = [Counter(word for pair in splits["train"] for word in word_types(pair[side])) for side in (0, 1)]
    min_count = MIN_COUNT if train >= MIN_TRAIN else 0
    for name, size in (("valid", valid), ("test", test)):
        splits[name] = []
        while len(splits[name]) < size:
            pair = new_pair()
            if all(counts[side][word] >= min_count for side in (0, 1) for word in word_types(pair[side])):
                splits[name].append(pair)
    return splits
