"""Sentences with a complement clause: dass, ob, indirect questions, infinitives."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.kinds.copular import state
from sample_corpus.kinds.questions import wh_clause
from sample_corpus.lexicon import VOLITIONAL, verbs_of
from sample_corpus.morphology.function_words import POSSESSIVES
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.sampling import Sampler
from sample_corpus.syntax.clause import Clause, subordinated
from sample_corpus.syntax.english import en_clause
from sample_corpus.syntax.german import de_clause
from sample_corpus.syntax.noun_phrase import NP

SUBORDINATORS = {"that": "dass", "whether": "ob"}
INFINITIVE_FRAMES = (
    "transitive",
    "intransitive",
    "dative",
    "ditransitive",
    "reflexive",
    "dative_reflexive",
    "directional",
    "prepositional",
    "reflexive_prepositional",
)
EVALUATIONS = [
    ("difficult", "schwierig"),
    ("easy", "einfach"),
    ("important", "wichtig"),
    ("boring", "langweilig"),
    ("necessary", "notwendig"),
    ("possible", "möglich"),
]


def matrix_clause(s: Sampler, complementizer: str) -> Clause:
    """Return the clause that governs a complement with that, whether or to."""
    verbs = [v for v in verbs_of("clausal reflexive_clausal") if complementizer in v.selects]
    verb = s.rng.choice(verbs)
    subj = s.subject_phrase(definite=True)
    tense = s.rng.choice(["pres", "past"])
    if complementizer == "whether" and verb.en == "know":
        return Clause(verb, subj, "pres", negated=True)
    return Clause(verb, subj, tense)


def finite_complement(s: Sampler) -> Pair:
    """Finite complements: dass, ob, indirect questions."""
    kind = s.rng.choice(["that", "that", "whether", "wh"])
    main = matrix_clause(s, "that" if kind == "that" else "whether")
    past = main.tense == "past"
    # Drawn for an indirect question, too: the published corpus depends on the sequence of draws.
    if s.chance(0.85):
        sub = s.clause(when="past" if past else s.rng.choice(["past", "now", "later"]), adverbs=0.4)
    else:
        sub = state(s, when=s.rng.choice(["past"] if past else ["past", "now"]))
    if kind != "wh":
        return subordinated(main, f" {kind}", SUBORDINATORS[kind], sub)
    wh = wh_clause(s, past)
    return as_sentence(
        f"{en_clause(main)} {wh.en} {en_clause(wh.clause, gap=wh.gap)}",
        f"{de_clause(main)}, {wh.de} {de_clause(wh.clause, 'verb_final', gap=wh.gap)}",
    )


def infinitive(s: Sampler) -> Pair:
    """Infinitives with zu and um ... zu, separable prefixes included."""
    kind = s.rng.choice(["complement", "complement", "purpose", "evaluation"])
    pool = [v for v in VOLITIONAL if v.frame in INFINITIVE_FRAMES]
    if kind == "evaluation":
        return _evaluated_infinitive(s)
    main = matrix_clause(s, "to")
    if kind == "purpose":
        # The matrix clause is not used: the published corpus depends on the sequence of draws.
        main = s.clause("directional", negated=False, adverbs=0.2, when=s.rng.choice(["past", "later"]))
        pool = [v for v in pool if v.frame in ("transitive", "ditransitive", "dative") or v.en == "go"]
    clause = s.clause(
        pool=pool, subj=replace(main.subj, rel=None), when="later", tense=("pres", ""), negated=False, adverbs=0.2
    )
    clause = replace(clause, frequency=None, aspect=None, time=None)
    en, de = ("in order ", "um ") if kind == "purpose" else ("", "")
    return as_sentence(
        f"{en_clause(main)} {en}{en_clause(clause, 'to_infinitive')}",
        f"{de_clause(main)}, {de}{de_clause(clause, 'zu_infinitive')}",
    )


def _evaluated_infinitive(s: Sampler) -> Pair:
    """For example: it is easy to open the window."""
    pool = [v for v in VOLITIONAL if v.frame == "transitive" and v.selects.isdisjoint(("person", "kin"))]
    clause = s.clause(pool=pool, subj=NP(pronoun="you"), tense=("pres", ""), negated=False, adverbs=0)
    assert clause.obj
    obj = replace(clause.obj, det="the") if clause.obj.det in POSSESSIVES else clause.obj
    clause = replace(clause, frequency=None, place=None, obj=obj)
    en, de = s.rng.choice(EVALUATIONS)
    return as_sentence(
        f"it is {en} {en_clause(clause, 'to_infinitive')}", f"es ist {de}, {de_clause(clause, 'zu_infinitive')}"
    )
