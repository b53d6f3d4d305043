"""Constraints are always met: on random models, with random phrases, and in text of any segmentation."""

from __future__ import annotations

import itertools
import random
import re

import pytest
import torch
from conftest import toy_pairs
from toy_model import ToyModel

from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.decoding.constraints.phrases import (
    DynamicBeamAllocation,
    ForbiddenPhrases,
    Phrase,
    RequiredPhrases,
    WordEnds,
    continues_word,
    phrase_progress,
)
from transformer_cli.decoding.constraints.rules import NoRepeatNgram
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.sampling import Sampler, sample_search, uniforms
from transformer_cli.schema import TokenizerConfig
from transformer_cli.token_ids import EOS


def contains(tokens: list[int], phrase: Phrase) -> bool:
    return any(tuple(tokens[i : i + len(phrase)]) == phrase for i in range(len(tokens)))


def test_phrase_progress_by_hand() -> None:
    phrases: list[Phrase] = [(4, 5), (4, 5, 6), (5,)]
    assert phrase_progress([], phrases).remaining == 6
    assert phrase_progress([4], phrases).next_tokens == {4: 5, 5: 4}  # 5 is the second token of two phrases
    done = phrase_progress([4, 5, 6], phrases)
    assert done.remaining == 0 and done.next_tokens == {}


def test_phrase_progress_within_a_word_by_hand() -> None:
    """Token 6 continues a word: (4, 5) is met by 4 5 and 4 5 4, but not by 4 5 6."""
    phrase: Phrase = (4, 5)
    ends = WordEnds(frozenset({phrase}), frozenset({6}))
    done = phrase_progress([4, 5], [phrase], ends)
    assert done.remaining == 0 and done.after(4) == 0 and done.after(6) == 2
    assert phrase_progress([4, 5, 6], [phrase], ends).remaining == 2
    assert phrase_progress([4, 5, 6, 4, 5, 4], [phrase], ends).remaining == 0
    assert phrase_progress([4, 5, 4], [phrase], ends).after(6) == 0  # met for good
    assert phrase_progress([4, 5, 6], [phrase]).remaining == 0  # anywhere
    continuing = {b"en": True, b" en": False, b".": False, b"\xc3": True, "漢".encode(): False, b"": False}
    assert {token: continues_word(token) for token in continuing} == continuing


@pytest.mark.parametrize("beam", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_required_phrases_are_whole_words(beam: int, seed: int) -> None:
    rng = random.Random(seed)
    choices = [tuple(rng.choices((4, 5), k=rng.randint(1, 3))) for _ in range(16)]
    phrases: list[list[Phrase]] = [list(dict.fromkeys(choices[i : i + 2])) for i in range(0, 16, 2)]
    ends = WordEnds(frozenset(choices), frozenset({6, 7}))
    limits = [sum(map(len, p)) + rng.randint(1, 6) for p in phrases]
    model = ToyModel(8, vocab=8, seed=seed)
    model.table[:, 6:] += 2.0  # words tend to be continued
    results = beam_search(
        model,
        None,
        torch.tensor(limits),
        beam=beam,
        rules=[NoRepeatNgram(1), RequiredPhrases(phrases, limits, ends)],
        selector=DynamicBeamAllocation(phrases, ends),
    )
    for hypotheses, required in zip(results, phrases, strict=True):
        for h in hypotheses:
            padded = [*h.tokens, EOS]
            for p in required:
                ends_of_p = [i for i in range(len(padded)) if tuple(padded[i - len(p) : i]) == p]
                assert any(padded[i] not in (6, 7) for i in ends_of_p), (h.tokens, p)


@pytest.mark.parametrize("beam", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_required_phrases_are_always_generated(beam: int, seed: int) -> None:
    rng = random.Random(seed)
    phrases = [
        [tuple(rng.choices((4, 5, 6), k=rng.randint(1, 3))) for _ in range(rng.randint(0, 3))] for _ in range(8)
    ]
    phrases = [list(dict.fromkeys(p)) for p in phrases]
    limits = [sum(map(len, p)) + rng.randint(1, 5) for p in phrases]
    rules = [NoRepeatNgram(1), RequiredPhrases(phrases, limits)]  # the first forbids what the second requires
    results = beam_search(
        ToyModel(8, seed=seed),
        None,
        torch.tensor(limits),
        beam=beam,
        rules=rules,
        selector=DynamicBeamAllocation(phrases),
    )
    for hypotheses, required, limit in zip(results, phrases, limits, strict=True):
        assert hypotheses
        for h in hypotheses:
            assert all(contains(h.tokens, p) for p in required), (h.tokens, required)
            assert len(h.tokens) < limit and EOS not in h.tokens


def test_a_phrase_of_several_tokens_is_generated_before_the_limit() -> None:
    """With a larger vocabulary, beams with a partial phrase must not be pruned by more likely ones without it."""
    vocab, limit = 200, 30
    phrases: list[list[Phrase]] = [[(50 + i, 90 + i, 130 + i)] for i in range(12)]
    model = ToyModel(12, vocab=vocab, seed=5)
    model.table[:, EOS] += 4.0  # sentences of a few words
    results = beam_search(
        model,
        None,
        torch.full((12,), limit),
        beam=5,
        rules=[RequiredPhrases(phrases, [limit] * 12)],
        selector=DynamicBeamAllocation(phrases),
    )
    for hypotheses, (phrase,) in zip(results, phrases, strict=True):
        assert all(contains(h.tokens, phrase) for h in hypotheses)
    lengths = [len(h[0].tokens) for h in results]
    assert sum(lengths) / 12 < 12, lengths


def test_sentences_without_phrases_are_not_affected() -> None:
    limits = torch.full((6,), 7)
    phrases: list[list[Phrase]] = [[], [(4, 4)], [], [], [(6, 5, 6)], []]
    constrained = beam_search(
        ToyModel(6),
        None,
        limits,
        beam=4,
        rules=[RequiredPhrases(phrases, limits.tolist())],
        selector=DynamicBeamAllocation(phrases),
    )
    unconstrained = beam_search(ToyModel(6), None, limits, beam=4)
    for hypotheses, expected, required in zip(constrained, unconstrained, phrases, strict=True):
        if not required:
            assert [h.tokens for h in hypotheses] == [h.tokens for h in expected]


def test_beam_allocation_finds_the_best_translation_with_the_phrase() -> None:
    """For 9 of 10 sentences it is the one found by enumeration."""
    model, limit, phrase = ToyModel(10), 5, (5, 4)
    sequences = [
        w for n in range(limit) for w in itertools.product((4, 5, 6), repeat=n) if contains(list(w), phrase)
    ]
    results = beam_search(
        model,
        None,
        torch.full((10,), limit),
        beam=12,
        rules=[RequiredPhrases([[phrase]] * 10, [limit] * 10)],
        selector=DynamicBeamAllocation([[phrase]] * 10),
    )
    best = [max(sequences, key=lambda w: model.log_prob(i, w) / ((6 + len(w)) / 6)) for i in range(10)]
    assert sum(tuple(h[0].tokens) == b for h, b in zip(results, best, strict=True)) >= 9


@pytest.fixture(scope="module")
def german() -> Tokenizer:
    text = [de for _, de in toy_pairs(300)]
    return train_tokenizer(text, TokenizerConfig(vocab_size=400, model_type="unigram"))[0]


@pytest.mark.parametrize(
    "phrases", [["Hund"], ["die", "das Haus"], ["ö", "der Hund hört"], ["e", "a", "i"], ["."]]
)
def test_avoided_phrases_never_occur_in_any_segmentation(german: Tokenizer, phrases: list[str]) -> None:
    """A random model generates arbitrary text, letter by letter and byte by byte too."""
    token_bytes = german.token_bytes()
    rule = ForbiddenPhrases(phrases, token_bytes)
    texts = []
    for seed in range(20):
        model = ToyModel(8, vocab=german.vocab_size, seed=seed)
        limits = torch.full((8,), 24)
        words = [i for i, s in enumerate(token_bytes) if any(p[:1].encode() in s for p in phrases)]
        model.table[:, words] += 3.0  # makes the phrases likely
        samples = sample_search(
            model, None, limits, uniforms(seed, range(8), 3, 24), sampler=Sampler(), rules=[rule]
        )
        results = samples + greedy_search(model, None, limits, rules=[rule])
        texts += german.decode([h.ids for hypotheses in results for h in hypotheses])
    for text, phrase in itertools.product(texts, phrases):
        # A random model also generates bytes that are not UTF-8, which decode to U+FFFD.
        boundary = r"(?<!\w)" if phrase[0].isalnum() else ""
        assert not re.search(boundary + re.escape(phrase), text), (text, phrase)
    assert len({t for t in texts if t}) > 100


def test_the_phrases_occur_without_the_rule(german: Tokenizer) -> None:
    """Otherwise the test above could not fail."""
    model = ToyModel(8, vocab=german.vocab_size)
    hund = german.encode(["Hund"])[0]
    model.table[:, hund] += 3.0
    samples = sample_search(model, None, torch.full((8,), 24), uniforms(1, range(8), 9, 24), sampler=Sampler())
    texts = german.decode([h.ids for hypotheses in samples for h in hypotheses])
    assert any("Hund" in text for text in texts)
