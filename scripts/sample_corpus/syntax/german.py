"""German word order: verb complex, middle field, verb-second and verb-final clauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sample_corpus.morphology.german import IRREGULAR_VERBS
from sample_corpus.syntax.noun_phrase import NP, de_prepositional_phrase

if TYPE_CHECKING:
    from sample_corpus.syntax.clause import Clause

Order = Literal["verb_second", "verb_first", "verb_final", "zu_infinitive", "imperative"]

MODALS = {
    "can": "können",
    "must": "müssen",
    "should": "sollen",
    "want": "wollen",
    "have": "müssen",
    "would": "mögen",
    "allowed": "dürfen",
    "able": "können",
}
"""English modal -> German modal. `like` is the adverb gern."""

PRETERITE = ("sein", "haben", "wissen")
"""Full verbs whose past is the preterite; the modals are the others."""

Slots = list[tuple[str, str]]
"""The constituents of the middle field: (role, text)"""


def verb_complex(clause: Clause) -> tuple[str, list[str], str]:
    """Return the finite verb, the clause-final verb forms, and the separable prefix of the finite verb."""
    verb, person = clause.verb, clause.subj.person
    participle = verb.prefix + verb.de_participle
    nonfinite = [participle, "werden"] if clause.passive else [verb.prefix + verb.de]
    past = clause.tense in ("past", "perf")

    def finite(infinitive: str, past: bool = False) -> str:
        present, preterite = IRREGULAR_VERBS[infinitive]
        return (preterite if past and preterite else present)[person]

    if clause.modal and clause.modal != "like":
        # must not is a prohibition, nicht müssen is not.
        modal = "dürfen" if clause.modal == "must" and clause.negated else MODALS[clause.modal]
        return finite(modal, past), nonfinite, ""
    if clause.tense == "fut":
        return finite("werden"), nonfinite, ""
    if clause.passive:
        if clause.tense == "perf":
            return finite("sein"), [participle, "worden"], ""
        return finite("werden", past), [participle], ""
    if past:
        if verb.de in PRETERITE:
            return finite(verb.de, past), [], ""
        return finite("sein" if verb.takes_sein else "haben"), [participle], ""
    return verb.de_present(person), [], verb.prefix


def middle_field(clause: Clause, gap: str = "") -> Slots:
    """Return the constituents between the finite verb and the final verb forms, in their only order.

    Pronouns precede everything else. A definite object precedes negation and particles, or else
    follows the time; an indefinite object follows the place.
    """
    obj, iobj, pobj = (
        np if role != gap else None
        for role, np in (("obj", clause.obj), ("iobj", clause.iobj), ("pobj", clause.pobj))
    )
    slots = _pronouns(clause, obj, iobj)
    definite: Slots = []
    if iobj and not iobj.pronoun:
        # The only object moves with the definite ones; before an accusative it stays in front.
        (definite if clause.obj is None else slots).append(("iobj", iobj.de("dat")))
    if obj and not obj.pronoun and obj.definite:
        definite.append(("obj", obj.de("acc")))
    before_time = clause.negated or clause.aspect is not None or clause.modal == "like"
    if before_time:
        slots += definite
    slots += [(role, pair[1]) for role, pair in (("time", clause.time), ("frequency", clause.frequency)) if pair]
    if clause.agent:
        slots.append(("agent", de_prepositional_phrase("von", "dat", clause.agent)))
    if not before_time:
        slots += definite
    slots += _particles(clause)
    slots += [
        (role, pair[1])
        for role, pair in (("manner", clause.manner), ("place", clause.place))
        if pair and role != gap
    ]
    if obj and not obj.pronoun and not obj.definite:
        slots.append(("obj", obj.de("acc")))
    if pobj:
        slots.append(("pobj", de_prepositional_phrase(clause.verb.de_preposition, clause.verb.case, pobj)))
    slots += [
        (role, pair[1]) for role, pair in (("pred", clause.pred), ("goal", clause.goal)) if pair and role != gap
    ]
    return slots


def _pronouns(clause: Clause, obj: NP | None, iobj: NP | None) -> Slots:
    """Personal and reflexive pronouns: accusative before dative."""
    slots: Slots = []
    if obj and obj.pronoun:
        slots.append(("obj", obj.de("acc")))
    if clause.verb.frame in ("reflexive", "reflexive_prepositional", "reflexive_clausal"):
        slots.append(("reflexive", clause.subj.reflexive("acc")))
    if iobj and iobj.pronoun:
        slots.append(("iobj", iobj.de("dat")))
    if clause.verb.frame == "dative_reflexive":
        slots.append(("reflexive", clause.subj.reflexive("dat")))
    return slots


def _particles(clause: Clause) -> Slots:
    """gern, schon or noch, nicht; kein has taken in nicht."""
    likes = clause.modal == "like"
    slots: Slots = []
    if likes and not clause.negated:
        slots.append(("aspect", "gern"))
    if clause.aspect:
        slots.append(("aspect", clause.aspect[1]))
    if clause.negated and not (clause.obj and clause.obj.negated):
        slots.append(("negation", "nicht gern" if likes else "nicht"))
    return slots


def _extraposed(clause: Clause, gap: str) -> str:
    """The relative clauses of the objects, which follow the final verb forms."""
    if clause.front == "obj":
        return ""
    objects = (("obj", clause.obj), ("pobj", clause.pobj))
    return "".join(np.de_relative() for role, np in objects if np and role != gap)


def de_clause(clause: Clause, order: Order = "verb_second", first: str | None = None, gap: str = "") -> str:
    """Return the German clause. The role `gap` has been moved out and leaves no trace.

    `first` is the constituent before the finite verb of a verb-second clause; without it, the
    sentence adverb, the fronted role, or else the subject takes this position.
    """
    finite, final, prefix = verb_complex(clause)
    slots = middle_field(clause, gap)
    subject = "" if gap == "subj" else clause.subj.de_with_relative("nom")
    if order == "verb_second" and first is None:
        if clause.sentence:
            first = clause.sentence[1]
        elif clause.front:
            first = next(text for role, text in slots if role == clause.front)
            first += clause.obj.de_relative() if clause.front == "obj" and clause.obj else ""
            slots = [slot for slot in slots if slot[0] != clause.front]
        else:
            first, subject = subject, ""
    if subject and order != "zu_infinitive" and not clause.subj.pronoun and slots and slots[0][0] == "reflexive":
        subject = f"{slots.pop(0)[1]} {subject}"  # a reflexive pronoun precedes a full subject
    middle = [text for _, text in slots]
    if order == "zu_infinitive":
        words = [*middle, clause.verb.de_zu_infinitive()]
    elif order == "imperative":
        words = [clause.verb.de_imperative(), *middle, clause.verb.prefix.strip()]
    elif order == "verb_final":
        words = [subject, *middle, *final, prefix + finite]
    else:
        words = [first or "", finite, subject, *middle, *final, prefix.strip()]
    return " ".join(word for word in words if word) + _extraposed(clause, gap)
