"""Copular sentences, possession and existence."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.lexicon import ADJECTIVES, BE, BELONG, CITIES, COST, NOUNS, verb
from sample_corpus.lexicon.entries import Adjective
from sample_corpus.morphology.english import indefinite_article
from sample_corpus.morphology.function_words import NUMERALS, QUANTIFIERS, number_word
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.sampling import Sampler
from sample_corpus.sampling.noun_phrases import natural_gender
from sample_corpus.syntax.clause import Clause, declarative, polar
from sample_corpus.syntax.noun_phrase import NP

STATES = [adjective for adjective in ADJECTIVES if "state" in adjective.properties]
GOOD_STATES = ("happy", "satisfied")
APPETITES = {"eat": "hungry", "cook": "hungry", "order": "hungry", "drink": "thirsty"}
"""Verb -> the state that is a reason for it"""

# Nouns for people that are not professions.
NOT_PROFESSIONS = ("man", "boy", "guest", "thief", "witness", "president", "neighbour", "customer", "tourist")
YOUNG = ("child", "girl", "boy", "pupil", "nephew", "niece")
COMPARABLE = {"reading", "clothes", "vehicle", "device", "furniture", "small", "animal", "sight", "room", "person"}
"""Classes whose members are compared with each other"""


def states_for(reason: str) -> list[Adjective]:
    """Return the states that fit a subordinate clause.

    `reason` is the English verb for which the state is a reason, "although" for a reason against
    something, or empty for any state.
    """
    if not reason:
        return STATES
    if reason == "although":
        return [state for state in STATES if state.en not in GOOD_STATES]
    if reason in APPETITES:
        return [state for state in STATES if state.en == APPETITES[reason]]
    return [state for state in STATES if state.en not in APPETITES.values()]


def state(s: Sampler, subj: NP | None = None, when: str = "", reason: str = "", with_too: bool = True) -> Clause:
    """Return a clause about the temporary state of a person, perhaps with very, still or too."""
    subj = subj or s.subject_phrase(definite=True)
    tense = {"past": "past", "now": "pres", "later": "pres"}.get(when) or s.rng.choice(["pres", "past"])
    adjective = s.rng.choice(states_for(reason))
    degrees = [("", ""), ("very ", "sehr "), ("still ", "noch "), *([("too ", "zu ")] if with_too else [])]
    en, de = s.rng.choice(degrees)
    if s.chance(0.12) and reason != "although":
        return Clause(BE, subj, tense, pred=(adjective.en, adjective.de), negated=True)
    return Clause(BE, subj, tense, pred=(en + adjective.en, de + adjective.de))


def copular_clause(s: Sampler) -> Pair:
    """Qualities, states, comparisons, professions, ages, room numbers, prices."""
    kinds = [quality, temporary_state, comparison, comparison, equality, profession, age, price, room_number]
    return s.rng.choice(kinds)(s)


def temporary_state(s: Sampler) -> Pair:
    """For example: Anna is still tired."""
    return declarative(s.fronted(state(s)))


def _single_person(s: Sampler) -> NP:
    return s.name() if s.chance(0.6) else NP(pronoun=s.rng.choice(["i", "you", "he"]))


def profession(s: Sampler) -> Pair:
    """For example: he is a teacher. German has no article."""
    subj = _single_person(s)
    noun = s.noun("person")
    while "male" not in noun.classes or noun.en in NOT_PROFESSIONS:
        noun = s.noun("person")
    if natural_gender(subj) == "f":
        subj = NP(pronoun="he")
    pred = (f"{indefinite_article(noun.en)} {noun.en}", noun.de)
    return declarative(Clause(BE, subj, s.rng.choice(["pres", "past"]), pred=pred))


def age(s: Sampler) -> Pair:
    """For example: Anna is twenty years old."""
    _single_person(s)  # not used: the published corpus depends on the sequence of draws
    subj = s.person(definite=True)
    if subj.noun and "plural" not in subj.noun.classes:
        subj = replace(subj, plural=False)
    young = subj.noun is not None and subj.noun.en in YOUNG
    en, de = number_word(s.rng.randint(2, 17) if young else s.rng.randint(18, 99))
    return declarative(Clause(BE, subj, pred=(f"{en} years old", f"{de} Jahre alt")))


def room_number(s: Sampler) -> Pair:
    """For example: Anna tidied up room 204."""
    number = str(s.rng.randint(101, 999))
    clause = s.clause(pool=[verb("tidy", "aufräumen")], when="past", adverbs=0)
    room = NP(NOUNS["room"], suffix=number)
    time = s.adverbial("past_time")
    return declarative(replace(clause, obj=room, modal="", tense="past", negated=False, time=time))


def price(s: Sampler) -> Pair:
    """For example: the lamp costs 450 euros."""
    subj = s.object_phrase("thing", "private_vehicle", definite=True)
    return declarative(Clause(COST, subj, pred=s.price(subj.noun)))


def _subject_with_adjective(s: Sampler) -> tuple[NP, Adjective]:
    classes = ("thing", "private_vehicle", "animal", "sight", "room", "person")
    noun = s.noun(*classes)
    while not s.adjective(noun):
        noun = s.noun(*classes)
    adjective = s.adjective(noun)
    assert adjective
    plural = "plural" in noun.classes or s.chance(0.15)
    own = "the" if noun.is_human else s.possessive()
    return NP(noun, plural, s.rng.choice(["the", "this", own])), adjective


def quality(s: Sampler) -> Pair:
    """For example: the car is old."""
    return _quality(s, *_subject_with_adjective(s))


def _quality(s: Sampler, subj: NP, adjective: Adjective) -> Pair:
    tense = s.rng.choice(["pres", "past"])
    return declarative(Clause(BE, subj, tense, pred=(adjective.en, adjective.de), negated=s.chance(0.15)))


def comparison(s: Sampler) -> Pair:
    """For example: the car is older than the tractor."""
    subj, adjective = _subject_with_adjective(s)
    if not adjective.is_gradable:
        return _quality(s, subj, adjective)
    rival = _rival(s, subj, adjective)
    much = s.rng.choice([("", ""), ("much ", "viel ")])
    pred = (
        f"{much[0]}{adjective.en_form('comparative')} than {rival.en()}",
        f"{much[1]}{adjective.comparative} als {rival.de('nom')}",
    )
    return declarative(Clause(BE, subj, s.rng.choice(["pres", "past"]), pred=pred))


def equality(s: Sampler) -> Pair:
    """For example: the car is not as old as the tractor."""
    subj, adjective = _subject_with_adjective(s)
    if not adjective.is_gradable:
        return _quality(s, subj, adjective)
    rival = _rival(s, subj, adjective)
    negated = s.chance(0.4)
    en, de = f"as {adjective.en} as {rival.en()}", f"so {adjective.de} wie {rival.de('nom')}"
    return declarative(
        Clause(BE, subj, pred=(en, de) if negated else (f"just {en}", f"genau{de}"), negated=negated)
    )


def _rival(s: Sampler, subj: NP, adjective: Adjective) -> NP:
    """Return what the subject is compared with: a noun of a common class, with another determiner."""
    noun = subj.noun
    assert noun
    classes = noun.classes & COMPARABLE
    others = [n for n in NOUNS.values() if n.classes & adjective.modifies and n.classes & classes and n != noun]
    other = s.rng.choice(others or [noun])
    det = s.possessive() if other == noun else s.rng.choice(["the", "this" if noun.is_human else s.possessive()])
    if det == subj.det:
        det = "this" if det == "the" else "the"
    return NP(other, "plural" in other.classes, det)


def possession_or_existence(s: Sampler) -> Pair:
    """Roles that differ between the languages: belong to (gehören), there is (es gibt)."""
    return _possession(s) if s.chance(0.5) else _existence(s)


def _possession(s: Sampler) -> Pair:
    """For example: the car belongs to Anna."""
    subj = s.object_phrase("private_vehicle", "small", "furniture", "clothes", "device", definite=True)
    subj = replace(subj, owner=None, det=subj.det if subj.det in ("the", "this") else "the")
    tense = s.rng.choice(["pres", "past"])
    owner = s.object_phrase("person", "kin", definite=True)
    clause = Clause(BELONG, subj, tense, iobj=owner, negated=s.chance(0.2))
    return polar(clause) if s.chance(0.25) and not clause.negated else declarative(clause)


def _existence(s: Sampler) -> Pair:
    """For example: in Berlin there is a beautiful park."""
    np = s.object_phrase("public_place")
    noun = np.noun
    assert noun
    plural = np.det in QUANTIFIERS or np.det in NUMERALS or np.det.isdigit()
    np = NP(noun, plural, np.det if plural and not noun.is_mass else "a", np.adjectives)
    if not np.adjectives and not plural and (adjective := s.adjective(noun)):
        np = replace(np, adjectives=((adjective, ""),))
    if noun.en in ("sea", "station", "beach"):
        np = NP(NOUNS["park"], False, "a")
    city = s.rng.choice(CITIES)
    places = [
        ("in this village", "in diesem Dorf"),
        (f"in {city[0]}", f"in {city[1]}"),
        ("in our city", "in unserer Stadt"),
    ]
    en, de = s.rng.choice(places)
    return as_sentence(f"{en} there {'are' if np.plural else 'is'} {np.en()}", f"{de} gibt es {np.de('acc')}")
