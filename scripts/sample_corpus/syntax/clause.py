"""Clauses and relative clauses, free of any word order, and the sentences made of them."""

from __future__ import annotations

from dataclasses import dataclass

from sample_corpus.lexicon.entries import Verb
from sample_corpus.morphology.german import RELATIVE_PRONOUN
from sample_corpus.pair import Pair, as_sentence
from sample_corpus.syntax.english import en_clause
from sample_corpus.syntax.german import de_clause
from sample_corpus.syntax.noun_phrase import NP


@dataclass(frozen=True)
class Clause:
    """One predication. Arguments are noun phrases, adverbials and complements are pairs.

    - `tense` is pres, past, perf, prog or fut; `modal` is a key of the tables of modals.
    - `iobj` is the dative, `pobj` the object of a preposition, `pred` the complement of a copula.
    - `aspect` is already/schon or yet/noch, `sentence` an adverb that precedes the whole clause.
    - `front` names the role that both languages move to the front: time, place or obj.
    """

    verb: Verb
    subj: NP
    tense: str = "pres"
    modal: str = ""
    obj: NP | None = None
    iobj: NP | None = None
    pobj: NP | None = None
    pred: Pair | None = None
    place: Pair | None = None
    goal: Pair | None = None
    time: Pair | None = None
    manner: Pair | None = None
    frequency: Pair | None = None
    aspect: Pair | None = None
    sentence: Pair | None = None
    agent: NP | None = None
    negated: bool = False
    passive: bool = False
    front: str = ""


@dataclass(frozen=True)
class Relative:
    """A clause with a gap: subj, obj, iobj, pobj or place; `whose` is the owner of its subject."""

    clause: Clause
    role: str

    def en(self, head: NP) -> str:
        """Return the English clause: who, whom, that, whose or in which; prepositions are stranded."""
        assert head.noun
        if self.role == "whose":
            return " whose " + en_clause(self.clause)
        if self.role == "place":
            return " in which " + en_clause(self.clause, gap="place")
        pronoun = "that" if not head.noun.is_human else "who" if self.role == "subj" else "whom"
        return f" {pronoun} " + en_clause(self.clause, gap=self.role)

    def de(self, head: NP) -> str:
        """Return the German clause: gender and number agree with the head, the role decides the case."""
        clause, role = self.clause, self.role
        if role == "whose":
            pronoun = f"{RELATIVE_PRONOUN['gen', head.gender]} {clause.subj.de('nom')}"
            return f", {pronoun} {de_clause(clause, 'verb_final', gap='subj')},"
        cases = {"subj": "nom", "obj": "acc", "iobj": "dat", "place": "dat", "pobj": clause.verb.case}
        pronoun = RELATIVE_PRONOUN[cases[role], head.gender]
        if role == "pobj":
            pronoun = f"{clause.verb.de_preposition} {pronoun}"
        elif role == "place":
            pronoun = f"in {pronoun}"
        return f", {pronoun} {de_clause(clause, 'verb_final', gap=role)},"


def linearize(clause: Clause) -> Pair:
    """Return both sides of a main clause, without capital and stop."""
    return en_clause(clause), de_clause(clause)


def declarative(clause: Clause) -> Pair:
    """Return a main clause as a sentence."""
    return as_sentence(*linearize(clause))


def polar(clause: Clause) -> Pair:
    """Return a clause as a yes-no question."""
    return as_sentence(en_clause(clause, "interrogative"), de_clause(clause, "verb_first"), "?")


def subordinated(main: Clause, en: str, de: str, sub: Clause) -> Pair:
    """Return a sentence of a main clause and a subordinate clause after it.

    `en` joins the sides in English, with its blank or comma; `de` is the German subordinator.
    """
    return as_sentence(
        f"{en_clause(main)}{en} {en_clause(sub)}", f"{de_clause(main)}, {de} {de_clause(sub, 'verb_final')}"
    )


def adversative(first: Clause, second: Clause) -> Pair:
    """Return a sentence of two main clauses with but (aber)."""
    return as_sentence(
        f"{en_clause(first)}, but {en_clause(second)}", f"{de_clause(first)}, aber {de_clause(second)}"
    )
