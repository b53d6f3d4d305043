from __future__ import annotations

import pytest

from transformer_cli.cli.app import expand_multi_value_options


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train --src a b --tgt c d --run r", "train --src a --src b --tgt c --tgt d --run r"),
        ("train --src a --tgt c config.yaml --run r", "train --src a --tgt c config.yaml --run r"),
        ("train config.yaml --src a b", "train config.yaml --src a --src b"),
        ("tokenizer train --input a b c --output t", "tokenizer train --input a --input b --input c --output t"),
        ("evaluate --src a run --ref b", "evaluate --src a run --ref b"),
        ("--debug train --src a b", "--debug train --src a --src b"),
        ("", ""),
    ],
)
def test_expand_multi_value_options(given: str, expected: str) -> None:
    assert expand_multi_value_options(given.split()) == expected.split()
