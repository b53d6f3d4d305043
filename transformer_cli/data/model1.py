"""IBM Model 1 (Brown et al. 1993, section 4.4): word translation probabilities, estimated by EM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transformer_cli.token_ids import (TokenIds)

EM_ITERATIONS = 4


def estimate_model1(
    sources: Sequence[TokenIds], targets: Sequence[TokenIds], tgt_vocab: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Estimate the probabilities of IBM Model 1 by EM.

    Args:
        sources: source tokens of each sentence, with NULL, the word that target words without a source word align to.
        targets: target tokens of each sentence.

    Returns:
        The distinct token pairs of all sentences as source * tgt_vocab + target, sorted `[P]`; t(target | source) of
        each `[P]`; and how often each occurs `[P]`.
    """
    keys, positions, position = [], [], 0
    for source, target in zip(sources, targets, strict=True):
        keys.append((source[:, None] * tgt_vocab + target).ravel())
        positions.append(np.tile(np.arange(position, position + len(target)), len(source)))
        position += len(target)
    # One entry for each (source position, target position) of a sentence; `pairs` are the distinct token pairs.
    pairs, pair_of_entry = np.unique(np.concatenate(keys), return_inverse=True)
    position_of_entry = np.concatenate(positions)
    source_of_pair = pairs // tgt_vocab
    prob = np.ones(len(pairs))  # t(target | source)
    for _ in range(EM_ITERATIONS):
        posterior = prob[pair_of_entry]
        posterior /= np.bincount(position_of_entry, posterior)[position_of_entry]
        counts = np.bincount(pair_of_entry, posterior)
        prob = counts / np.bincount(source_of_pair, counts)[source_of_pair]
    return pairs, prob, np.bincount(pair_of_entry)
