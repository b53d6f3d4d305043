"""Tokens are at their places in the text, also those that the vocabulary does not have."""

from __future__ import annotations

import numpy as np
import pytest

from transformer_cli.decoding.token_alignment import TokenAlignment, token_spans


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("a big dog", [b" a", b" big", b" do", b"g"], ["a", "big", "do", "g"]),
        ("a  big\tdog", [b" a", b" big", b" dog"], ["a", "big", "dog"]),
        ("größer", [b"gr", b"\xc3", b"\xb6", "ßer".encode()], ["gr", "ö", "ö", "ßer"]),
        ("a xyz b", [b" a", b" ", b"", b" b"], ["a", "", "xyz", "b"]),  # an unknown word
        ("", [], []),
    ],
)
def test_token_spans(text: str, tokens: list[bytes], expected: list[str]) -> None:
    assert [text[a:b] for a, b in token_spans(text, tokens)] == expected


def test_the_target_of_a_part_is_the_run_of_tokens_that_attends_most_to_it() -> None:
    weights = np.array([[0.1, 0.9], [0.6, 0.4]], dtype=np.float32)
    alignment = TokenAlignment([(0, 3), (4, 7)], [(0, 2), (3, 5)], weights)
    assert alignment.target_of(0, 3) == (3, 5)
    assert alignment.target_of(5, 6) == (0, 2)
    assert alignment.target_of(3, 4) is None


def test_a_stray_token_does_not_widen_the_target() -> None:
    inside = np.array([0.6, 0.1, 0.1, 0.9, 0.7, 0.8, 0.0], dtype=np.float32)
    weights = np.stack([inside, 1 - inside], axis=1)
    spans = [(2 * i, 2 * i + 1) for i in range(len(inside))]
    assert TokenAlignment([(0, 3), (4, 7)], spans, weights).target_of(0, 3) == (6, 11)
