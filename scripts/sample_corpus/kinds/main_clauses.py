"""Sentences of one or two main clauses."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.kinds.copular import state
from sample_corpus.lexicon import VERBS, verbs_of
from sample_corpus.morphology.function_words import POSSESSIVES
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.sampling import Sampler
from sample_corpus.sampling.noun_phrases import coreferent
from sample_corpus.syntax.clause import Clause, adversative, declarative, polar
from sample_corpus.syntax.english import en_clause
from sample_corpus.syntax.german import de_clause

PASSIVIZABLE = [verb for verb in VERBS if verb.has("passive")]


def simple_clause(s: Sampler) -> Pair:
    """One main clause with any kind of object."""
    frames = "transitive intransitive dative prepositional reflexive_prepositional reflexive dative_reflexive"
    return declarative(s.fronted(s.clause(frames, adverbs=0.7)))


def ditransitive(s: Sampler) -> Pair:
    """Dative and accusative objects."""
    return declarative(s.fronted(s.clause("ditransitive")))


def motion(s: Sampler) -> Pair:
    """The accusative of direction; where people live."""
    return declarative(s.fronted(s.clause("directional travel locative placement")))


def posture(s: Sampler) -> Pair:
    """The dative of location, with things as subjects."""
    verb = s.rng.choice(verbs_of("posture"))
    hanging = verb.de == "hängen"
    subj = s.object_phrase(*verb.selects, counted=not hanging)
    past = s.rng.choice([True, False])
    tense = "past" if past else "pres" if verb.has("stative") else "prog"
    place = s.spatial_relation("dat", hanging)
    clause = Clause(verb, subj, tense, place=place, negated=subj.definite and s.chance(0.1))
    return declarative(s.fronted(replace(clause, time=s.time(tense)) if s.chance(0.2) else clause))


def coordination(s: Sampler) -> Pair:
    """Two main clauses; aber takes a comma, und none."""
    when = s.rng.choice(["past", "now", "later"])
    first = s.fronted(s.clause(when=when, adverbs=0.3, negated=False))
    if s.chance(0.5):
        second = s.clause(when=when, adverbs=0.2, negated=False)
        return as_sentence(
            f"{en_clause(first)}, and {en_clause(second)}", f"{de_clause(first)} und {de_clause(second)}"
        )
    pronoun = coreferent(first.subj)
    if s.chance(0.7):
        subj = pronoun if s.chance(0.6) else None
        second = s.clause(subj=subj, when=when, adverbs=0.2, negated=s.chance(0.6))
    else:
        second = state(s, pronoun, when)
    return adversative(first, second)


def passive_clause(s: Sampler) -> Clause:
    """Return a passive: the object becomes the subject, the agent takes von."""
    while True:
        clause = s.clause(pool=PASSIVIZABLE, negated=False, adverbs=0.6)
        obj = clause.obj
        if not obj or obj.pronoun or obj.name or clause.modal in ("want", "would", "like", "able", "allowed"):
            continue
        agent = None if clause.subj.pronoun else clause.subj
        indefinite_plural = obj.det in ("a", "") and obj.plural
        if obj.det in POSSESSIVES or indefinite_plural or (obj.noun and obj.noun.is_mass):
            obj = replace(obj, det="the")
        return replace(
            clause,
            subj=obj,
            obj=None,
            passive=True,
            tense="prog" if clause.tense == "pres" and not clause.modal else clause.tense,
            frequency=None,
            negated=s.chance(0.1) and obj.definite and not agent,
            agent=agent if s.chance(0.5) else None,
            aspect=None,
            place=None if agent else clause.place,
            manner=None,
        )


def passive(s: Sampler) -> Pair:
    """Passive main clauses and questions."""
    clause = passive_clause(s)
    if s.chance(0.2) and not clause.negated:
        return polar(clause)
    return declarative(s.fronted(clause))
