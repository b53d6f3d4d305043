"""Main clauses that single out the object: topicalization and correction."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.morphology.function_words import PERSONAL
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.sampling import Sampler
from sample_corpus.syntax.clause import Clause, declarative
from sample_corpus.syntax.english import en_clause
from sample_corpus.syntax.german import de_clause
from sample_corpus.syntax.noun_phrase import NP


def _ungraded_adjectives(np: NP) -> NP:
    """Return the phrase, without its adjectives if one is a comparative or a superlative."""
    return replace(np, adjectives=()) if any(degree for _, degree in np.adjectives) else np


def topicalization(s: Sampler) -> Pair:
    """The object precedes the verb: this film I have already seen."""
    while True:
        subj = NP(pronoun=s.rng.choice(PERSONAL)) if s.chance(0.7) else s.name()
        clause = s.clause("transitive", subj=subj, when="past", adverbs=0, negated=s.chance(0.4))
        verb, obj = clause.verb, clause.obj
        if not obj or not obj.noun or obj.noun.is_mass:
            continue
        if verb.has("stative", "permanent") or verb.particle or verb.preposition:
            continue
        obj = _ungraded_adjectives(NP(obj.noun, obj.plural, "this", obj.adjectives))
        aspect = ("yet", "noch") if clause.negated else ("already", "schon")
        return declarative(
            Clause(verb, clause.subj, "perf", obj=obj, aspect=aspect, front="obj", negated=clause.negated)
        )


def correction(s: Sampler) -> Pair:
    """Not X but Y: sondern, and Y has the case of X."""
    while True:
        clause = s.clause("transitive dative", negated=False, adverbs=0.4)
        role, case = ("obj", "acc") if clause.obj else ("iobj", "dat")
        wrong = clause.obj or clause.iobj
        if not wrong or not wrong.noun or wrong.plural or wrong.noun.is_mass:
            continue
        if clause.aspect or clause.frequency or clause.manner or clause.modal == "like":
            continue
        common = sorted(clause.verb.selects & wrong.noun.classes)[:1]
        right = s.object_phrase(*common, subj=clause.subj, definite=True)
        if not right.noun or right.noun == wrong.noun or right.plural or right.noun.is_mass:
            continue
        det = wrong.det if wrong.det in ("the", "a") else "the"
        wrong, right = (
            _ungraded_adjectives(NP(np.noun, det=det, adjectives=np.adjectives)) for np in (wrong, right)
        )
        clause = replace(clause, place=None, front="time" if clause.time else "", negated=True)
        if det == "a":
            if role == "iobj":
                continue
            clause = replace(clause, obj=replace(wrong, negated=True))
        else:
            clause = _with_object_after_negation(clause, wrong, case)
        return as_sentence(
            f"{en_clause(clause)} but {right.en('obj')}", f"{de_clause(clause)}, sondern {right.de(case)}"
        )


def _with_object_after_negation(clause: Clause, np: NP, case: str) -> Clause:
    """Return the clause with its object in the position of a predicate, which nicht precedes."""
    verb = clause.verb
    after = " ".join([verb.complement, verb.particle, verb.preposition]).strip()
    verb = replace(verb, preposition="", particle="", complement=after)
    return replace(clause, verb=verb, obj=None, iobj=None, pred=(np.en("obj"), np.de(case)))
