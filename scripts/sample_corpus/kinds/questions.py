"""Questions and imperatives."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sample_corpus.kinds.copular import state
from sample_corpus.lexicon import ADVERBIALS, VERBS, verbs_of
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.sampling import Sampler
from sample_corpus.syntax.clause import Clause, polar
from sample_corpus.syntax.english import Mood, en_clause
from sample_corpus.syntax.german import de_clause
from sample_corpus.syntax.noun_phrase import NP

IMPERATIVES = [v for v in VERBS if v.has("imperative") and v.frame != "posture"]
IMPERATIVE_TIMES = [
    None,
    None,
    ("today", "heute"),
    ("tomorrow", "morgen"),
    ("at once", "sofort"),
    ("now", "jetzt"),
    *ADVERBIALS["future_time"][:4],
]
WHO = NP(name=("", ""), name_gender="m")
"""A subject that agrees like who (wer)"""


class WhClause(NamedTuple):
    """A clause without the role that the question asks for, and the question phrases of both languages."""

    clause: Clause
    en: str
    de: str
    gap: str


def wh_clause(s: Sampler, past: bool = False) -> WhClause:
    """Return a clause that asks for a random role."""
    kinds = "who what whom dative pobj where where destination when when why which many whose"
    kind = s.rng.choice(kinds.split())
    when = "past" if past else s.rng.choice(["past", "now", "later"])
    if kind == "who":
        return WhClause(s.clause(subj=WHO, when=when, negated=False), "who", "wer", "subj")
    if kind in ("whom", "dative"):
        return _about_person(s, kind, when)
    if kind == "pobj":
        return _about_prepositional_object(s, when)
    if kind == "destination":
        clause = s.clause("directional travel", when=when, negated=False)
        return WhClause(replace(clause, manner=None), "where", "wohin", "goal")
    if kind == "where":
        return _about_place(s, when)
    if kind in ("when", "why"):
        return _about_circumstances(s, kind, when)
    return _about_object(s, kind, when)


def _about_object(s: Sampler, kind: str, when: str) -> WhClause:
    """Ask for the object: what, whose, how many, which."""
    unsuitable = ("person", "kin", "sport", "child", "thief")
    pool = [v for v in verbs_of("transitive") if v.selects.isdisjoint(unsuitable)]
    clause = s.clause(pool=pool, when=when, negated=False, adverbs=0.5)
    assert clause.obj and clause.obj.noun
    noun, plural = clause.obj.noun, clause.obj.plural
    clause = replace(clause, aspect=None, manner=None, place=None)
    if kind == "what":
        return WhClause(clause, "what", "was", "obj")
    if kind == "whose":
        np = NP(noun, plural, "")
        return WhClause(clause, f"whose {np.en()}", f"wessen {np.de('acc')}", "obj")
    if kind == "many" and not noun.is_mass:
        np = NP(noun, True, "")
        return WhClause(clause, f"how many {np.en()}", f"wie viele {np.de('acc')}", "obj")
    np = NP(noun, plural, "which")
    return WhClause(clause, np.en(), np.de("acc"), "obj")


def _about_person(s: Sampler, kind: str, when: str) -> WhClause:
    """Ask for a person: wen, wem."""
    frame, de, gap = ("transitive", "wen", "obj") if kind == "whom" else ("dative", "wem", "iobj")
    pool = [v for v in verbs_of(frame) if "person" in v.selects and "reading" not in v.selects]
    clause = s.clause(pool=pool, when=when, negated=False)
    return WhClause(replace(clause, manner=None, aspect=None), "who", de, gap)


def _about_prepositional_object(s: Sampler, when: str) -> WhClause:
    """Ask for a prepositional object: auf wen, worauf."""
    clause = s.clause("prepositional reflexive_prepositional", when=when, negated=False)
    verb, preposition = clause.verb, clause.verb.de_preposition
    may_be_human = not verb.selects.isdisjoint(("person", "kin"))
    if (may_be_human and s.chance(0.6)) or verb.selects <= {"person", "kin"}:
        return WhClause(clause, "who", f"{preposition} {'wen' if verb.case == 'acc' else 'wem'}", "pobj")
    linking = "r" if preposition[0] in "aeiouü" else ""
    return WhClause(clause, "what", f"wo{linking}{preposition}", "pobj")


def _about_place(s: Sampler, when: str) -> WhClause:
    """Ask for the place: wo."""
    pool = [
        v for v in VERBS if v.frame == "locative" or (v.frame in ("transitive", "intransitive") and v.has("place"))
    ]
    clause = s.clause(pool=pool, when=when, negated=False)
    place = clause.place or ("in", "in")
    return WhClause(replace(clause, place=place, manner=None, aspect=None), "where", "wo", "place")


def _about_circumstances(s: Sampler, kind: str, when: str) -> WhClause:
    """Ask for time or reason: wann, warum."""
    frames = "transitive intransitive dative ditransitive directional placement"
    if kind == "when" and when == "now":
        when = "past"
    clause = s.clause(frames, when=when, negated=False, adverbs=0.3)
    clause = replace(clause, time=None if kind == "when" else clause.time, frequency=None, aspect=None)
    return WhClause(clause, kind, {"when": "wann", "why": "warum"}[kind], "none")


def wh_question(s: Sampler) -> Pair:
    """wh-questions, but none about the speaker."""
    wh = wh_clause(s)
    while wh.clause.subj.pronoun == "i":
        wh = wh_clause(s)
    mood: Mood = "declarative" if wh.gap == "subj" else "interrogative"
    return as_sentence(
        f"{wh.en} {en_clause(wh.clause, mood, wh.gap)}", de_clause(wh.clause, "verb_second", wh.de, wh.gap), "?"
    )


def polar_question(s: Sampler) -> Pair:
    """Yes-no questions are verb-first."""
    clause = s.clause(negated=False, adverbs=0.6) if s.chance(0.85) else state(s)
    while clause.subj.pronoun == "i":
        clause = s.clause(negated=False, adverbs=0.6)
    return polar(clause)


def imperative(s: Sampler) -> Pair:
    """Imperatives of du, with or without please."""
    negated = s.chance(0.2)
    clause = s.clause(
        pool=IMPERATIVES, subj=NP(pronoun="you"), when="later", tense=("pres", ""), negated=negated, adverbs=0.3
    )
    if clause.obj and clause.obj.negated:
        clause = replace(clause, obj=replace(clause.obj, det="the", negated=False))
    time = None if negated else s.rng.choice(IMPERATIVE_TIMES)
    clause = replace(clause, frequency=None, aspect=None, time=time)
    en, de = ("please ", "bitte ") if s.chance(0.4) else ("", "")
    return as_sentence(en + en_clause(clause, "imperative"), de + de_clause(clause, "imperative"), "!")
