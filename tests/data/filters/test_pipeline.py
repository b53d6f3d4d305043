"""The filters of a configuration, and their application."""

from __future__ import annotations

from planted import sample_pairs

from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.pipeline import build_filters, judge
from transformer_cli.data.filters.profile import SAMPLE, CorpusProfile
from transformer_cli.schema.data import CLEANING, FiltersConfig
from transformer_cli.options import options_of

PAIRS = [Pair(i, *pair) for i, pair in enumerate(sample_pairs(1500), 1)]
OFF = {"length_ratio": 0.0, **{o.name: type(o.default)() for o in options_of(FiltersConfig) if o.default is not None}}


def test_every_filter_can_be_turned_off_and_has_a_key() -> None:
    profile = CorpusProfile.draw(PAIRS)
    assert build_filters(FiltersConfig(**OFF), profile) == []
    filters = build_filters(FiltersConfig(**{**CLEANING, "languages": "en,de"}), profile, ["x"])
    keys = {filter.key for filter in filters}
    assert keys == set(FiltersConfig.model_fields) - {"length_ratio"}
    assert len({filter.reason for filter in filters}) == len(filters)
    for key in CLEANING:
        assert key not in {filter.key for filter in build_filters(FiltersConfig(), profile)}


def test_a_removed_pair_is_no_first_occurrence() -> None:
    """The first filter that rejects a pair gives the reason; later ones do not see the pair."""
    texts = [("a b", ""), ("x \x02", "y"), ("x \x02", "y"), ("fine", "gut"), ("fine", "gut")]
    config = FiltersConfig(**{**OFF, "damaged": True, "duplicates": True})
    filters = build_filters(config, CorpusProfile([]))
    reasons = [reason for _, reason in judge([Pair(1, *text) for text in texts], filters)]
    assert reasons == ["blank", "damaged text", "damaged text", "", "repeated pairs"]


def test_the_sample_of_a_long_stream_is_bounded_uniform_and_seeded() -> None:
    def stream() -> object:
        yield Pair(0, "", "blank")
        yield from (Pair(i, f"s{i}", f"t{i}") for i in range(3 * SAMPLE))

    sample = CorpusProfile.draw(stream()).sample  # type: ignore[arg-type]
    lines = [pair.line for pair in sample]
    assert len(lines) == SAMPLE == len(set(lines))
    assert 0.98 < sum(lines) / len(lines) / (1.5 * SAMPLE) < 1.02
    again = CorpusProfile.draw(stream()).sample  # type: ignore[arg-type]
    assert [pair.line for pair in again] == lines


def test_copies_in_one_language_are_kept() -> None:
    pairs = [Pair(pair.line, pair.src, pair.src) for pair in PAIRS]
    filters = build_filters(FiltersConfig(), CorpusProfile.draw(pairs))
    assert not [reason for _, reason in judge(pairs, filters) if reason]
