"""Sentences with relative clauses."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.lexicon import BE, COST, VERBS, place_prepositions, verb, verbs_of
from sample_corpus.lexicon.entries import Noun
from sample_corpus.pair import Pair
from sample_corpus.sampling import Sampler
from sample_corpus.syntax.clause import Clause, Relative, declarative
from sample_corpus.syntax.noun_phrase import NP

OBJECT_FRAMES = ("transitive", "prepositional", "reflexive_prepositional", "ditransitive")
# Verbs of creation and ordering: their object is not known yet, so it has no relative clause.
CREATION = ("bake", "cook", "build", "write", "paint", "order")


def relative_clause(s: Sampler, noun: Noun, plural: bool, depth: int = 1, when: str = "") -> Relative | None:
    """Return a relative clause that suits the noun, if there is one.

    An object in it may have a relative clause of its own, nested up to `depth`.
    """
    head = NP(noun, plural, "the")
    when = when or s.rng.choice(["past", "past", "now"])
    roll = s.rng.random()
    if "person" in noun.classes:
        return _about_person(s, head, depth, when, roll)
    return _about_thing(s, head, noun, when, roll)


def _about_person(s: Sampler, head: NP, depth: int, when: str, roll: float) -> Relative:
    if roll < 0.15:
        thing = s.noun("private_vehicle", "device", "pet")
        if adjective := s.adjective(thing):
            pred = (adjective.en, adjective.de)
            return Relative(Clause(BE, NP(thing), _tense_of_be(when), pred=pred), "whose")
    if roll < 0.6:
        frames = "transitive intransitive prepositional reflexive_prepositional locative directional ditransitive"
        clause = s.clause(frames, subj=head, when=when, negated=False, adverbs=0.25)
        return Relative(_with_nested_relative(s, clause, depth), "subj")
    roles = [
        ("transitive", "obj"),
        ("transitive", "obj"),
        ("dative", "iobj"),
        ("prepositional", "pobj"),
        ("reflexive_prepositional", "pobj"),
    ]
    frame, role = s.rng.choice(roles)
    pool = [v for v in verbs_of(frame) if "person" in v.selects]
    return Relative(replace(s.clause(pool=pool, when=when, negated=False, adverbs=0.3), manner=None), role)


def _about_thing(s: Sampler, head: NP, noun: Noun, when: str, roll: float) -> Relative | None:
    if roll < 0.5 and not noun.classes.isdisjoint(("room", "public_place")):
        pool = verbs_of("intransitive", with_="place")
        clause = s.clause(pool=pool, when=when, negated=False, adverbs=0.2)
        if place_prepositions(noun).en == "in":
            return Relative(replace(clause, place=("in", "in"), manner=None), "place")
    if roll < 0.25 and (adjective := s.adjective(noun)):
        en, de = ("very ", "sehr ") if adjective.is_gradable else ("", "")
        pred = (en + adjective.en, de + adjective.de)
        return Relative(Clause(BE, head, _tense_of_be(when), pred=pred), "subj")
    if roll < 0.32 and not noun.classes.isdisjoint(("lay", "stand")):
        lies = "lay" in noun.classes
        posture = verb("lie", "liegen") if lies else verb("stand", "stehen")
        tense = "past" if when == "past" else "prog" if lies else "pres"
        return Relative(Clause(posture, head, tense, place=s.spatial_relation("dat")), "subj")
    if roll < 0.38 and not noun.classes.isdisjoint(("thing", "private_vehicle")):
        # With a plural, "cost" is past and present alike: always the present here.
        tense = "pres" if head.plural else _tense_of_be(when)
        return Relative(Clause(COST, head, tense, pred=s.price(noun)), "subj")
    return _about_object(s, head, noun, when)


def _about_object(s: Sampler, head: NP, noun: Noun, when: str) -> Relative | None:
    pool = [v for v in VERBS if v.frame in OBJECT_FRAMES and not v.selects.isdisjoint(noun.classes)]
    if not pool:
        return None
    clause = s.clause(pool=[s.rng.choice(pool)], when=when, negated=False, adverbs=0.3)
    clause = replace(clause, manner=None)
    if clause.obj:
        clause = replace(clause, obj=head)
    if clause.verb.preposition == "in":
        clause = replace(clause, time=None, place=None)
    return Relative(clause, "pobj" if clause.pobj else "obj")


def _tense_of_be(when: str) -> str:
    return "past" if when == "past" else "pres"


def _with_nested_relative(s: Sampler, clause: Clause, depth: int) -> Clause:
    """Return the clause, sometimes with a relative clause on its object."""
    np, v = clause.obj or clause.pobj, clause.verb
    if depth < 1 or not np or not np.noun or np.det not in ("the", "a") or np.owner or np.negated:
        return clause
    if clause.goal or v.particle or clause.modal == "like" or v.has("to_dative") or v.en in CREATION:
        return clause
    if not s.chance(0.45):
        return clause
    when = "past" if clause.tense in ("past", "perf") else ""
    rel = relative_clause(s, np.noun, np.plural, depth - 1, when)
    if not rel or rel.clause.verb.en == v.en:
        return clause
    np = replace(np, rel=rel)
    clause = replace(clause, time=None, place=None, manner=None, aspect=None, agent=None)
    return replace(clause, obj=np) if clause.obj else replace(clause, pobj=np)


def relative_on_subject(s: Sampler) -> Pair:
    """A relative clause between subject and verb."""
    np = s.person_noun(s.rng.choice(["the", "the", "a"]))
    np = replace(np, det="the" if np.det == "this" else np.det, adjectives=np.adjectives if s.chance(0.4) else ())
    if s.chance(0.3) and (clause := _quality_of_thing(s)):
        return declarative(clause)
    assert np.noun
    clause = s.clause(subj=replace(np, rel=relative_clause(s, np.noun, np.plural)), negated=False, adverbs=0.4)
    return declarative(s.fronted(clause) if clause.obj and not clause.verb.prefix else clause)


def _quality_of_thing(s: Sampler) -> Clause | None:
    """For example: the car that Anna bought is old. None if a part is missing."""
    noun = s.noun("thing", "private_vehicle", "sight")
    plural = "plural" in noun.classes
    rel = relative_clause(s, noun, plural)
    adjective = s.adjective(noun)
    if not rel or not adjective or rel.clause.pred:
        return None
    head = NP(noun, plural, "the", rel=rel)
    return Clause(BE, head, s.rng.choice(["pres", "past"]), pred=(adjective.en, adjective.de))


def relative_on_object(s: Sampler) -> Pair:
    """A relative clause on the object, extraposed behind the verb cluster in German."""
    while True:
        clause = s.clause("transitive prepositional reflexive_prepositional", negated=False, adverbs=0)
        clause = replace(clause, frequency=None, manner=None, place=None, aspect=None)
        nested = _with_nested_relative(s, clause, 2)
        if nested is clause:
            continue
        if not nested.verb.has("permanent") and s.chance(0.4) and (time := s.time(nested.tense, nested.modal)):
            nested = replace(nested, time=time, front="time")
        return declarative(nested)
