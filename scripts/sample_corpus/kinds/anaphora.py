"""Sentences in which `it` refers back to a thing and takes the gender of its German noun."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.lexicon import BE, adjectives_of, verbs_of
from sample_corpus.lexicon.entries import Adjective, Noun, Verb
from sample_corpus.pair import Pair
from sample_corpus.sampling import Sampler
from sample_corpus.sampling.noun_phrases import coreferent
from sample_corpus.syntax.clause import Clause, adversative, subordinated
from sample_corpus.syntax.noun_phrase import NP

# English verb -> what must hold of a thing for people to do it: a polarity, or one adjective.
REASONS = {
    "buy": "positive",
    "read": "positive",
    "wear": "positive",
    "rent": "positive",
    "use": "positive",
    "bring along": "positive",
    "translate": "positive",
    "sell": "negative",
    "throw away": "negative",
    "repair": "broken",
    "wash": "dirty",
}
ACQUISITION = ("buy", "look", "rent", "pick")
"""English verbs that a wish to do something with the thing can explain"""


def anaphora(s: Sampler) -> Pair:
    """`it` is er, sie or es, by the gender of its antecedent."""
    while True:
        noun = s.noun("thing", "private_vehicle", "reading")
        if "plural" not in noun.classes and (pair := _attempt(s, noun)):
            return pair


def _attempt(s: Sampler, noun: Noun) -> Pair | None:
    """Return a sentence about the noun, or None if the parts do not go together."""
    it = NP(pronoun="it_" + noun.gender)
    positive, negative = _adjectives_with(noun, "positive"), _adjectives_with(noun, "negative")
    tense = s.rng.choice(["pres", "past"])
    if s.chance(0.3) and positive and negative:
        return _two_qualities(s, noun, it, tense, positive, negative)
    pool = [v for v in verbs_of("transitive", without="permanent") if not v.selects.isdisjoint(noun.classes)]
    kind = s.rng.choice(["quality", "quality", "wish", "failure"])
    verbs = {
        "quality": [v for v in pool if _name(v) in REASONS],
        "wish": [v for v in pool if v.en in ACQUISITION],
        "failure": pool,
    }[kind]
    if not verbs:
        return None
    when = s.rng.choice(["past", "past", "later"])
    tense = "past" if when == "past" else "pres"
    first = s.clause(pool=verbs, when=when, negated=None if kind == "quality" else False, adverbs=0.3)
    np = NP(noun, False, "the" if first.negated else s.rng.choice(["the", "a", "this"]))
    modal = "" if first.modal == "like" else first.modal
    first = replace(first, obj=np, place=None, manner=None, aspect=None, frequency=None, modal=modal)
    first = s.fronted(first)
    if kind == "quality":
        return _because_of_quality(s, first, noun, it, tense)
    return _with_second_action(s, first, noun, it, tense, pool, wish=kind == "wish")


def _adjectives_with(noun: Noun, requirement: str) -> list[Adjective]:
    """Return the adjectives of the noun that have a polarity, or this English form."""
    adjectives = [a for a in adjectives_of(noun) if requirement in a.properties or a.en == requirement]
    return sorted(adjectives, key=lambda adjective: adjective.en)


def _name(verb: Verb) -> str:
    return f"{verb.en} {verb.particle}".strip()


def _two_qualities(
    s: Sampler, noun: Noun, it: NP, tense: str, positive: list[Adjective], negative: list[Adjective]
) -> Pair | None:
    """For example: the car is old, but it is fast."""
    one, other = s.rng.sample([s.rng.choice(positive), s.rng.choice(negative)], 2)
    np = NP(noun, False, s.rng.choice(["the", "this", s.possessive()]))
    if one.scale and one.scale == other.scale:
        return None
    return adversative(
        Clause(BE, np, tense, pred=(one.en, one.de)), Clause(BE, it, tense, pred=(other.en, other.de))
    )


def _because_of_quality(s: Sampler, first: Clause, noun: Noun, it: NP, tense: str) -> Pair | None:
    """For example: Peter sold the car because it was old (did not sell the car although it was old)."""
    because = s.chance(0.6)
    requirement = REASONS[_name(first.verb)]
    single = requirement not in ("positive", "negative")
    if because == first.negated:
        requirement, single = "negative" if requirement == "positive" else "positive", False
    adjectives = _adjectives_with(noun, requirement)
    if not adjectives or (single and not because):
        return None
    adjective = s.rng.choice(adjectives)
    en, de = ("very ", "sehr ") if s.chance(0.3) and adjective.is_gradable else ("", "")
    second = Clause(BE, it, tense, pred=(en + adjective.en, de + adjective.de))
    if because:
        return subordinated(first, " because", "weil", second)
    return subordinated(first, ", although", "obwohl", second)


def _with_second_action(
    s: Sampler, first: Clause, noun: Noun, it: NP, tense: str, pool: list[Verb], wish: bool
) -> Pair | None:
    """For example: Anna bought the book because she wanted to read it (but she was not able to read it)."""
    pronoun = coreferent(first.subj)
    unsuitable = ("forget", "look", "see", "ask", "have", first.verb.en)
    verbs = [
        v
        for v in pool
        if v.en not in unsuitable and not v.has("nonvolitional") and v.particle not in ("off", "away")
    ]
    if not pronoun or not verbs:
        return None
    if pronoun.pronoun in ("she", "they") and noun.gender == "f":
        return None  # both pronouns would be sie
    modal = "want" if wish else s.rng.choice(["want", "able", "have", "allowed"])
    second = Clause(s.rng.choice(verbs), pronoun, tense, modal, obj=it, negated=not wish)
    return subordinated(first, " because", "weil", second) if wish else adversative(first, second)
