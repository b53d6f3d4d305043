"""Minimum Bayes risk decoding (Eikema and Aziz 2020): selects the sample that is most similar to all others.

The samples themselves estimate the expected utility of a translation (equation 6). The utility is
chrF (Popović 2015): F2 of precision and recall of character n-grams of order 1 to 6, without
spaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ORDERS = range(1, 7)
BETA = 2.0


def chrf_matrix(texts: Sequence[str]) -> NDArray[np.float64]:
    """chrF from 0 to 1 of each text (rows) with each text as its reference (columns): `[n, n]`."""
    characters = ["".join(text.split()) for text in texts]
    precision, recall, orders = (np.zeros((len(characters), len(characters))) for _ in range(3))
    for n in ORDERS:
        counts = _count(characters, n)  # [n, grams]
        sizes = counts.sum(axis=1)
        matches = np.stack([np.minimum(row, counts).sum(axis=1) for row in counts])  # [n, n]
        # An order counts if both texts are long enough to have n-grams of it.
        comparable = (sizes[:, None] > 0) & (sizes[None, :] > 0)
        precision += np.where(comparable, matches / np.maximum(sizes[:, None], 1.0), 0.0)
        recall += np.where(comparable, matches / np.maximum(sizes[None, :], 1.0), 0.0)
        orders += comparable
    p, r = precision / np.maximum(orders, 1.0), recall / np.maximum(orders, 1.0)
    score: NDArray[np.float64] = (1 + BETA**2) * p * r / np.maximum(BETA**2 * p + r, 1e-16)
    np.fill_diagonal(score, 1.0)  # an empty text, too, equals itself
    return score


def select_minimum_risk(texts: Sequence[str]) -> int:
    """Index of the sample with the highest mean chrF against all samples; ties go to the first."""
    distinct = list(dict.fromkeys(texts))
    weights = Counter(texts)
    utility = chrf_matrix(distinct) @ np.array([weights[t] for t in distinct], dtype=np.float64)
    return texts.index(distinct[int(utility.argmax())])


def _count(texts: Sequence[str], n: int) -> NDArray[np.float64]:
    grams = [Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in texts]
    column = {gram: i for i, gram in enumerate(dict.fromkeys(g for counter in grams for g in counter))}
    counts = np.zeros((len(texts), max(len(column), 1)))
    for row, counter in zip(counts, grams, strict=True):
        for gram, count in counter.items():
            row[column[gram]] = count
    return counts
