"""Sentences with an adverbial clause, before or after the main clause."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.kinds.copular import state
from sample_corpus.lexicon import VOLITIONAL, verbs_of
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.sampling import Sampler
from sample_corpus.sampling.noun_phrases import coreferent
from sample_corpus.syntax.clause import Clause, subordinated
from sample_corpus.syntax.english import en_clause
from sample_corpus.syntax.german import de_clause

SUBORDINATORS = {
    "if": "wenn",
    "when": "als",
    "although": "obwohl",
    "because": "weil",
    "while": "während",
    "as soon as": "sobald",
}
PURPOSE_FRAMES = ("transitive", "intransitive", "reflexive", "dative_reflexive", "prepositional")
EVENT_FRAMES = "transitive intransitive dative ditransitive directional travel reflexive dative_reflexive"
CONSEQUENCES = [("fut", ""), ("fut", ""), ("pres", "can"), ("pres", "must"), ("pres", "should"), ("pres", "have")]
"""Tense and modal of a main clause after if and as soon as"""


def reason(s: Sampler, main: Clause, when: str, concessive: bool = False) -> Clause:
    """Return a reason for the main clause, or against it: a state, a wish, the weather, another event."""
    pronoun = coreferent(main.subj)
    past = when == "past"
    roll = s.rng.random()
    if roll < 0.3 and pronoun:
        reason_for = "although" if concessive else main.verb.en
        return state(s, pronoun, "past" if past else "now", reason_for, with_too=False)
    if roll < 0.6 and pronoun:
        tense = ("past" if past else "pres", s.rng.choice(["want", "have"]))
        return s.clause(
            pool=VOLITIONAL,
            subj=pronoun,
            when="past" if past else "later",
            tense=tense,
            negated=False,
            adverbs=0.3,
        )
    if roll < 0.75:
        return s.weather("past" if past else "now")
    return s.clause(when=when, adverbs=0.3)


def postposed(s: Sampler) -> Pair:
    """An adverbial clause after the main clause is verb-final."""
    when = s.rng.choice(["past", "past", "now", "later"])
    main = s.fronted(s.clause(when=when, adverbs=0.4))
    kind = s.rng.choice(["because", "because", "because", "although", "before", "so that"])
    if kind == "before" and when != "now":
        return _before(s, main, past=when == "past")
    if kind == "so that" and when != "past" and main.verb.is_volitional:
        pool = [v for v in VOLITIONAL if v.frame in PURPOSE_FRAMES]
        purpose = s.clause(pool=pool, when="later", tense=("pres", "can"), negated=False, adverbs=0.2)
        return subordinated(main, " so that", "damit", purpose)
    if kind == "although":
        return subordinated(main, ", although", "obwohl", reason(s, main, when, concessive=True))
    return subordinated(main, " because", "weil", reason(s, main, when))


def _before(s: Sampler, main: Clause, past: bool) -> Pair:
    """For example: Anna read the letter before she went home."""
    sub = s.clause(
        subj=coreferent(main.subj) if s.chance(0.6) else None,
        pool=verbs_of("transitive intransitive ditransitive dative_reflexive", without="stative"),
        tense=("past" if past else "pres", ""),
        negated=False,
        adverbs=0.2,
    )
    if main.negated:
        obj = replace(main.obj, negated=False) if main.obj else None
        main = replace(main, negated=False, obj=obj, aspect=None)
    return subordinated(main, " before", "bevor", replace(sub, frequency=None, time=None, aspect=None))


def preposed(s: Sampler) -> Pair:
    """After a preposed adverbial clause, the main clause is verb-first."""
    kind = s.rng.choice(["if", "if", "when", "when", "although", "because", "while", "as soon as"])
    sub, when = _preposed_clause(s, kind)
    pronoun = coreferent(sub.subj) if sub.subj.pronoun != "it_n" else None
    if kind in ("while", "when"):
        pool = verbs_of("transitive intransitive prepositional ditransitive reflexive", without="stative")
    elif when == "later":
        pool = verbs_of(EVENT_FRAMES + " prepositional reflexive_prepositional", without="stative permanent")
    else:
        pool = None
    # Drawn for each kind: the published corpus depends on the sequence of draws.
    consequence = s.rng.choice(CONSEQUENCES)
    main = s.clause(
        pool=pool,
        subj=pronoun if sub.pred or s.chance(0.5) else None,
        when=when,
        tense=("prog", "") if kind == "while" else consequence if when == "later" else None,
        negated=False if kind in ("while", "when", "as soon as") else None,
        adverbs=0 if kind == "when" else 0.3,
    )
    if kind == "while":
        main = replace(main, time=None)
    return as_sentence(
        f"{kind} {en_clause(sub)}, {en_clause(main)}",
        f"{SUBORDINATORS[kind]} {de_clause(sub, 'verb_final')}, {de_clause(main, 'verb_first')}",
    )


def _preposed_clause(s: Sampler, kind: str) -> tuple[Clause, str]:
    """Return the adverbial clause and the time frame of the main clause."""
    events = verbs_of(EVENT_FRAMES, without="stative")
    if kind == "if":
        return _condition(s), "later"
    if kind == "as soon as":
        sub = s.clause(pool=events, when="later", tense=("pres", ""), negated=False, adverbs=0.2)
        return replace(sub, frequency=None), "later"
    if kind == "while":
        pool = verbs_of("transitive intransitive prepositional", with_="place", without="stative")
        return replace(s.clause(pool=pool, tense=("prog", ""), negated=False, adverbs=0.3), time=None), "now"
    if kind == "when":
        return s.clause(pool=events, when="past", tense=("past", ""), negated=False, adverbs=0.2), "past"
    when = s.rng.choice(["past", "now"])
    if s.chance(0.5):
        return s.clause(when=when, adverbs=0.3), when
    return state(s, when=when, reason=kind, with_too=False), when


def _condition(s: Sampler) -> Clause:
    """Return the clause after if: the weather, a state or an event."""
    if s.chance(0.3):
        return s.weather("later")
    if s.chance(0.3):
        return state(s, when="later")
    modal = s.rng.choice(["", "", "want", "have"])
    pool = verbs_of(EVENT_FRAMES, without="stative")
    return replace(s.clause(pool=pool, when="later", tense=("pres", modal), adverbs=0.2), frequency=None)
