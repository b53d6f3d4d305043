"""Each normalisation changes what it says, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.data.normalization import Normalizer
from transformer_cli.schema.data import NormalizationConfig


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("cells", '"He said ""yes"", really"', 'He said "yes", really'),
        ("cells", '"open', '"open'),
        ("encoding", "fÃ¼r die GrÃ¶ÃŸe", "für die Größe"),
        ("entities", "Tea &amp; cake&nbsp;&#8211; &lt;b&gt;", "Tea & cake\xa0– <b>"),
        ("entities", "R&D; &#10;x", "R&D;  x"),
        ("nfc", "scho\u0308n", "schön"),
        ("quotes", "„Ja“, ‘it’s’ «so»", "\"Ja\", 'it's' \"so\""),
        ("spaces", " a\u00a0\u2003b\tc\u200b\u00ad ", "a b c"),
    ],
)
def test_each_step(name: str, text: str, expected: str) -> None:
    assert Normalizer(NormalizationConfig.model_validate({name: True}))(text) == expected
    assert Normalizer(NormalizationConfig())(text) == text


@given(st.text(alphabet="aÃ¼&;#1 \"„\u0308\u00ad0l<", max_size=30))
def test_any_text_stays_one_line(text: str) -> None:
    everything = Normalizer(NormalizationConfig.model_validate(dict.fromkeys(NormalizationConfig.model_fields, True)))
    assert len(everything(text).splitlines()) <= 1
