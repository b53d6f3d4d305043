"""Filter by word alignment."""

from __future__ import annotations

import random

import numpy as np
from planted import sample_pairs

from transformer_cli.data.filters.alignment import AlignmentModel, Misaligned, _units
from transformer_cli.data.filters.base import Pair

TEXTS = sample_pairs(4000)


def test_exchanged_targets_are_found_and_good_pairs_kept() -> None:
    rows = random.Random(1).sample(range(len(TEXTS)), 400)
    targets = dict(zip(rows, rows[1:] + rows[:1], strict=True))
    pairs = [Pair(i, s, TEXTS[targets.get(i, i)][1]) for i, (s, _) in enumerate(TEXTS)]
    model = AlignmentModel.estimate(pairs)
    assert model is not None
    flags = np.array(Misaligned(0.9, model).flag(pairs))
    exchanged = np.isin(np.arange(len(pairs)), rows)
    assert flags[exchanged].mean() > 0.8 and flags[~exchanged].mean() < 0.001


def test_without_enough_pairs_or_any_correspondence_there_is_no_model() -> None:
    pairs = [Pair(i, *text) for i, text in enumerate(TEXTS)]
    assert AlignmentModel.estimate(pairs[:900]) is None
    strangers = [Pair(i, s, TEXTS[i - 1500][1]) for i, (s, _) in enumerate(TEXTS)]
    assert AlignmentModel.estimate(strangers) is None


def test_scores_do_not_depend_on_the_batch_and_short_pairs_have_none() -> None:
    pairs = [Pair(i, *text) for i, text in enumerate(TEXTS)]
    model = AlignmentModel.estimate(pairs)
    assert model is not None
    scores = model.score(pairs[:300])
    assert np.allclose(scores, np.concatenate([model.score(pairs[i : i + 7]) for i in range(0, 300, 7)])[:300])
    assert np.isinf(model.score([Pair(1, "Yes.", "Ja."), Pair(2, "qq xx yy zz ww", "aa bb cc dd ee")])).all()


def test_units_of_scripts() -> None:
    assert _units("Hello, World 你好。") == ["hello", "world", "你", "好"]
    assert _units("กขคง ab") == ["กขค", "ขคง", "ab"] and _units("กข") == ["กข"]
