"""English word order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sample_corpus.morphology import english

if TYPE_CHECKING:
    from sample_corpus.syntax.clause import Clause

Mood = Literal["declarative", "interrogative", "imperative", "to_infinitive"]

# Modals without do-support: the finite part (`be` inflects) and the words before the infinitive.
AUXILIARY_MODALS = {
    "can": ("can", ""),
    "must": ("must", ""),
    "should": ("should", ""),
    "would": ("would", "like to"),
    "allowed": ("be", "allowed to"),
    "able": ("be", "able to"),
}
# Modals that inflect like a full verb and take do-support, with their past: want to, have to, like to.
FULL_VERB_MODALS = {"want": "wanted", "have": "had", "like": "liked"}


def verb_complex(clause: Clause, do_support: bool) -> tuple[str, list[str]]:
    """Return the finite auxiliary (empty if there is none) and the other verb forms.

    With `do_support`, do is the auxiliary of a verb form that has none.
    """
    verb, person = clause.verb, clause.subj.person

    def content(form: str) -> str:
        return f"{english.be(form, person)} {verb.en_participle}" if clause.passive else verb.en_form(form, person)

    modal = clause.modal
    if modal in FULL_VERB_MODALS:
        if do_support:
            return english.do(clause.tense, person), [modal, "to", content("base")]
        finite = english.inflect_verb(modal, FULL_VERB_MODALS[modal], "", clause.tense, person)
        return "", [finite, "to", content("base")]
    if modal:
        auxiliary, after = AUXILIARY_MODALS[modal]
        return english.be(clause.tense, person) if auxiliary == "be" else auxiliary, [after, content("base")]
    if clause.tense == "fut":
        return "will", [content("base")]
    if clause.tense == "perf":
        return english.have("pres", person), [content("pp")]
    if clause.tense == "prog":
        return english.be("pres", person), [content("ing")]
    if clause.passive:
        return english.be(clause.tense, person), [verb.en_participle]
    if verb.en == "be":
        return english.be(clause.tense, person), []
    if do_support:
        return english.do(clause.tense, person), [content("base")]
    return "", [content(clause.tense)]


def _subject_and_verb(clause: Clause, mood: Mood, gap: str) -> list[str]:
    """The words up to the verb; frequency and aspect stand between auxiliary and verb."""
    verb = clause.verb.en
    if mood == "to_infinitive":
        return [*(["not"] if clause.negated else []), "to", verb]
    if mood == "imperative":
        return [*(["do not"] if clause.negated else []), verb]
    auxiliary, verbs = verb_complex(clause, clause.negated or mood == "interrogative")
    subject = "" if gap == "subj" else clause.subj.en()
    negation = "not" if clause.negated else ""
    adverbs = [pair[0] for pair in (clause.frequency, clause.aspect) if pair and pair[0] != "yet"]
    if mood == "interrogative":
        return [auxiliary, subject, negation, *adverbs, *verbs]
    finite = f"{auxiliary} {negation}".strip().replace("can not", "cannot")
    return [subject, finite, *adverbs, *verbs]


def _objects(clause: Clause, gap: str) -> list[str]:
    """Objects, particle and preposition. The gap and the fronted role are left out."""
    absent = (gap, clause.front)
    obj, iobj, pobj = (
        np.en("obj") if np and role not in absent else ""
        for role, np in (("obj", clause.obj), ("iobj", clause.iobj), ("pobj", clause.pobj))
    )
    verb = clause.verb
    if clause.iobj and clause.obj:
        with_to = verb.has("to_dative") or clause.obj.pronoun or gap == "iobj"
        return [obj, "to", iobj] if with_to else [iobj, obj]
    if clause.obj and clause.obj.pronoun:
        return [verb.preposition, obj, verb.particle]
    return [verb.particle, verb.preposition, obj or iobj, pobj]


def _fronted(clause: Clause) -> str:
    """The constituent that precedes the subject of a declarative clause."""
    if clause.front == "obj":
        return clause.obj.en("obj") if clause.obj else ""
    pair = clause.time if clause.front == "time" else clause.place if clause.front == "place" else None
    return pair[0] if pair else ""


def en_clause(clause: Clause, mood: Mood = "declarative", gap: str = "") -> str:
    """Return the English clause. The role `gap` has been moved out and leaves no trace."""
    words = _subject_and_verb(clause, mood, gap)
    words.append(clause.verb.complement)
    words += _objects(clause, gap)
    words += [clause.pred[0] if clause.pred else "", f"by {clause.agent.en('obj')}" if clause.agent else ""]
    adverbials = (
        ("manner", clause.manner),
        ("goal", clause.goal),
        ("place", clause.place),
        ("time", clause.time),
    )
    words += [pair[0] for role, pair in adverbials if pair and role not in (gap, clause.front)]
    if clause.aspect and clause.aspect[0] == "yet":
        words.append("yet")
    if clause.sentence:
        words.insert(0, clause.sentence[0])
    elif mood == "declarative":
        words.insert(0, _fronted(clause))
    return " ".join(word for word in words if word.strip())
