"""Random clauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sample_corpus.lexicon import MANNER, verbs_of
from sample_corpus.lexicon.entries import Verb
from sample_corpus.sampling.adverbials import AdverbialSampler
from sample_corpus.syntax.clause import Clause
from sample_corpus.syntax.noun_phrase import NP

FRAME_WEIGHTS = {
    "transitive": 40,
    "intransitive": 17,
    "dative": 7,
    "ditransitive": 12,
    "prepositional": 8,
    "reflexive_prepositional": 8,
    "reflexive": 5,
    "dative_reflexive": 2,
    "directional": 7,
    "travel": 4,
    "locative": 4,
    "placement": 5,
}
TIME_FRAMES = ["past", "past", "past", "recent", "now", "now", "later", "later"]


class Sampler(AdverbialSampler):
    """Draws clauses, adverbials and noun phrases.

    Many methods take a time frame `when`: past, recent (the present perfect), now or later.
    """

    def tense_and_modal(self, verb: Verb, when: str) -> tuple[str, str]:
        """Return the tense and the modal of a verb in a time frame."""
        stative = verb.has("stative")
        if when == "past":
            if stative:
                return "past", ""
            return "past", self.rng.choices(["", "want", "have", "able", "allowed"], [22, 2, 2, 1, 1])[0]
        if when == "recent":
            return ("past" if stative else "perf"), ""
        if when == "later" and not verb.has("permanent"):
            if stative or self.chance(0.4):
                return "fut", ""
            return "pres", self.rng.choice(["can", "must", "should", "want", "have", "would", "allowed"])
        if verb.has("habitual") and self.chance(0.15):
            return "pres", "like"
        return ("pres" if stative or self.chance(0.35) else "prog"), ""

    def clause(
        self,
        frames: str = "",
        pool: Sequence[Verb] | None = None,
        subj: NP | None = None,
        when: str = "",
        tense: tuple[str, str] | None = None,
        negated: bool | None = None,
        adverbs: float = 0.5,
    ) -> Clause:
        """Return a complete clause about people (now and then about animals).

        Args:
            frames: The frames of the verb, separated by blanks; by default all of FRAME_WEIGHTS.
            pool: The verbs to choose from, instead of `frames`.
            subj: The subject; drawn by default.
            when: The time frame; drawn by default.
            tense: Tense and modal; drawn for the time frame by default.
            negated: Whether the clause is negated; drawn by default.
            adverbs: The probability of optional adverbials.
        """
        verb = self.rng.choice(self._pool(frames) if pool is None else pool)
        when = when or self.rng.choice(TIME_FRAMES)
        form, modal = tense or self.tense_and_modal(verb, when)
        if verb.has("nonvolitional") and modal:
            form, modal = ("past" if form == "past" else "fut"), ""
        if negated is None:
            negated = self.chance(0.13)
        subj = subj or self._subject_of(verb, modal, negated)
        # "they read" and "they put" are present and past alike.
        ambiguous = verb.en == verb.en_past and subj.person != 2
        if tense is None and (form, modal) == ("pres", "") and ambiguous:
            form = "prog"
        habitual = form == "pres" and not modal and verb.has("habitual") and not negated
        bare = (habitual or modal == "like") and verb.frame == "transitive" and "person" not in verb.selects
        clause = self._with_arguments(Clause(verb, subj, form, modal, negated=negated), bare)
        return self._with_adverbials(clause, habitual, adverbs)

    def _pool(self, frames: str) -> Sequence[Verb]:
        """The verbs of a random frame."""
        weights = {f: w for f, w in FRAME_WEIGHTS.items() if not frames or f in frames.split()}
        return verbs_of(self.rng.choices(list(weights), list(weights.values()))[0])

    def _subject_of(self, verb: Verb, modal: str, negated: bool) -> NP:
        if verb.has("animal_subject") and self.chance(0.3) and not modal:
            return NP(self.noun("animal"), self.chance(0.2), self.rng.choice(["the", "the", "my", "this"]))
        return self.subject_phrase(definite=negated)

    def _with_arguments(self, clause: Clause, bare: bool) -> Clause:
        """Add what the frame of the verb requires."""
        verb, subj, negated = clause.verb, clause.subj, clause.negated
        frame, selects = verb.frame, verb.selects
        if frame in ("transitive", "ditransitive", "dative_reflexive", "placement"):
            obj = self.object_phrase(
                *selects,
                subj=subj,
                definite=frame in ("dative_reflexive", "placement"),
                bare=bare,
                negated=negated,
                counted=frame == "transitive",
            )
            clause = replace(clause, obj=obj)
        if frame in ("ditransitive", "dative"):
            classes = ("person", "kin") if frame == "ditransitive" else selects
            return replace(clause, iobj=self.object_phrase(*classes, subj=subj, definite=negated))
        if frame in ("prepositional", "reflexive_prepositional"):
            return replace(clause, pobj=self.object_phrase(*selects, subj=subj, definite=negated, counted=False))
        if frame == "placement":
            goal = self.spatial_relation("acc", hanging=verb.de == "hängen")
            return replace(clause, goal=goal, obj=replace(clause.obj, plural=False) if clause.obj else None)
        if frame == "directional":
            return replace(clause, goal=self.destination(far=verb.en == "drive"))
        if frame == "travel":
            return replace(clause, goal=self.city_destination())
        if frame == "locative":
            return replace(clause, place=self.location(rooms=False) if verb.de == "bleiben" else self.residence())
        return clause

    def _with_adverbials(self, clause: Clause, habitual: bool, adverbs: float) -> Clause:
        """Add what verb and tense allow: frequency or time, manner or place, already or yet."""
        verb, perfect = clause.verb, clause.tense == "perf"
        if clause.negated:
            if perfect and clause.obj and clause.obj.definite:
                return replace(clause, aspect=("yet", "noch"))
            timed = self.chance(adverbs * 0.6)
            return replace(clause, time=self.time(clause.tense, clause.modal)) if timed else clause
        if perfect and (clause.obj is None or clause.obj.definite) and self.chance(0.6):
            return replace(clause, aspect=("already", "schon"))
        lasts = verb.has("duration") and clause.tense == "past" and not clause.modal
        if habitual and self.chance(0.6):
            clause = replace(clause, frequency=self.adverbial("frequency"))
        elif lasts and self.chance(adverbs * 0.4):
            clause = replace(clause, time=self.duration())
        elif self.chance(adverbs) and not verb.has("permanent"):
            clause = replace(clause, time=self.time(clause.tense, clause.modal, habitual))
        # well describes what somebody does or did, not a plan.
        planned = clause.modal or clause.tense == "fut"
        manner = [adverb for adverb in verb.manner if not (adverb == "well" and planned)]
        if manner and clause.modal != "like" and self.chance(adverbs * 0.4):
            return replace(clause, manner=MANNER[self.rng.choice(manner)])
        if verb.has("place") and clause.place is None and self.chance(adverbs * 0.8):
            return replace(clause, place=self.location(verb.en))
        return clause

    def fronted(self, clause: Clause) -> Clause:
        """Return the clause, perhaps with an adverbial in front of both sides."""
        roll = self.rng.random()
        if clause.time and roll < 0.55 and not clause.time[0].startswith("for "):
            return replace(clause, front="time")
        if clause.place and clause.verb.frame not in ("locative", "posture") and roll < 0.4:
            return replace(clause, front="place")
        if roll < 0.12 and not clause.aspect and not clause.frequency:
            return replace(clause, sentence=self.adverbial("sentence_adverb"))
        return clause

    def weather(self, when: str) -> Clause:
        """Return a clause with the impersonal subject it (es): it is raining."""
        tense = {"past": "past", "later": "pres"}.get(when, "prog")
        return Clause(self.rng.choice(verbs_of("impersonal")), NP(pronoun="it_n"), tense)
