"""Texts are split into sentences, and their translations put in their places."""

from __future__ import annotations

import random

import pytest

from transformer_cli.deployment.server.sentences import MAX_SENTENCE, clean_text, join_text, split_text


def parts(text: str, language: str = "en", **options: bool) -> list[str]:
    return [sentence.text for sentence in split_text(text, language, **options)]


def test_sentences() -> None:
    assert parts("Dr. Smith left. He said: “Hi!” Then?") == ["Dr. Smith left.", "He said: “Hi!”", "Then?"]
    assert parts("Am 3. Mai kam sie. Um ca. 5 Uhr.", "de") == ["Am 3. Mai kam sie.", "Um ca. 5 Uhr."]
    assert parts("これはペンです。あれは本です。", "ja") == ["これはペンです。", "あれは本です。"]
    assert parts("One. Two.\nThree", split_sentences=False) == ["One. Two.", "Three"]
    assert parts("A. B.", "src") and parts(" \n\r\n\t") == []


@pytest.mark.parametrize("language", ["en", "de", "fr", "ja", "xx"])
def test_any_text_is_put_together_again(language: str) -> None:
    rng = random.Random(1)
    characters = "aB. !?\"'()“”…。！ 1é\u00a0\u2003\u200b中😀\t\r\n\n\x00\x0b\u2028"
    for _ in range(500):
        raw = "".join(rng.choice(characters) for _ in range(rng.randrange(60)))
        text = clean_text(raw)
        assert len(text) == len(raw) and text.count("\n") == raw.count("\n")
        for split_sentences in (True, False):
            sentences = split_text(text, language, split_sentences=split_sentences)
            spans = [(s.start, s.end) for s in sentences]
            assert spans == sorted(spans) and all(a < b for a, b in spans)
            covered = "".join(text[a:b] for a, b in spans)
            assert "".join(covered.split()) == "".join(text.split())
            assert all(len(s.text) == s.end - s.start and "\n" not in s.text for s in sentences)
            joined, places = join_text(text, sentences, [text[a:b] for a, b in spans], "de")
            assert joined.split() == text.split() or "".join(joined.split()) == "".join(text.split())
            assert joined.count("\n") == text.count("\n")
            assert [joined[a:b] for a, b in places] == [text[a:b] for a, b in spans]


def test_spaces_between_sentences_are_those_of_the_target() -> None:
    text = "これはペンです。あれは本です。"
    assert join_text(text, split_text(text, "ja"), ["A.", "B."], "en") == ("A. B.", [(0, 2), (3, 5)])
    text = "One. Two.\n\nThree."
    assert join_text(text, split_text(text, "en"), ["あ。", "い。", "う。"], "ja")[0] == "あ。い。\n\nう。"


def test_endless_sentences_are_split_at_spaces() -> None:
    text = "word " * 2000
    pieces = parts(text)
    assert all(len(piece) <= MAX_SENTENCE for piece in pieces) and " ".join(pieces) == text.strip()
    assert [len(piece) for piece in parts("x" * 5000)] == [MAX_SENTENCE, MAX_SENTENCE, 1000]
