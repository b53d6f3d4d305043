"""English inflection: plurals, articles, degrees of comparison, verb forms."""

from __future__ import annotations

import re
from typing import Literal

Degree = Literal["", "comparative", "superlative"]
"""Degree of comparison; empty for the positive."""

VOWELS = "aeiou"
BE_FORMS = {"pres": ("am", "are", "is", "are"), "past": ("was", "were", "was", "were")}
THIRD_PERSON = {"have": "has", "go": "goes", "do": "does"}
DOUBLED_FINAL = re.compile(r"^(cancel|travel|forget|begin|[^aeiou]*[aeiou][bdgmnpt])$")
# Exceptions to the rule that adjectives of one syllable take a suffix and longer ones do not.
WITH_SUFFIX = {"clever"}
WITHOUT_SUFFIX = {"ill"}


def regular_plural(noun: str) -> str:
    """Return the noun with its plural -s."""
    if noun.endswith("y") and noun[-2] not in VOWELS:
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "z")) else "s")


def indefinite_article(following: str) -> str:
    """Return `a` or `an` by the sound of the next word: a university, an honest man."""
    vowel = following[0].lower() in VOWELS and not following.startswith(("uni", "use", "Euro"))
    return "an" if vowel or following.startswith(("hour", "honest")) else "a"


def compare(adjective: str, degree: Degree) -> str:
    """Return a degree of comparison: older, most expensive."""
    if not degree:
        return adjective
    suffix, adverb = {"comparative": ("er", "more"), "superlative": ("est", "most")}[degree]
    syllables = len(re.findall(r"[aeiouy]+", re.sub(r"e$", "", adjective)))
    if adjective in WITHOUT_SUFFIX:
        return f"{adverb} {adjective}"
    if adjective.endswith("y") and syllables < 3:
        return adjective + suffix if adjective == "shy" else adjective[:-1] + "i" + suffix
    if syllables > 1 and adjective not in WITH_SUFFIX:
        return f"{adverb} {adjective}"
    if adjective.endswith("e"):
        return adjective + suffix[1:]
    doubled = re.search(r"[^aeiou][aeiou][dgnt]$", adjective)
    return adjective + (adjective[-1] if doubled else "") + suffix


def regular_past(verb: str) -> str:
    """Return the verb with -ed."""
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in VOWELS:
        return verb[:-1] + "ied"
    return verb + "ed"


def inflect_verb(base: str, past: str, participle: str, form: str, person: int) -> str:
    """Return a form of a verb: `base`, `pres`, `past`, `ing` or `pp`.

    `person` is 0 for I, 1 for you, 2 for the third singular, 3 for the plural.
    """
    if base == "be" and form in BE_FORMS:
        return BE_FORMS[form][person]
    if form == "pres" and person == 2:
        return THIRD_PERSON.get(base) or regular_plural(base)  # the same -s
    if form == "ing":
        return _present_participle(base)
    return {"past": past, "pp": participle}.get(form, base)


def _present_participle(base: str) -> str:
    if base in ("lie", "die"):
        return base[:-2] + "ying"
    if re.search(r"[^aeiou]e$|ue$", base) and base != "be":
        return base[:-1] + "ing"
    return base + (base[-1] if DOUBLED_FINAL.search(base) else "") + "ing"


def be(form: str, person: int) -> str:
    """Return a form of the auxiliary be."""
    return inflect_verb("be", "was", "been", form, person)


def have(form: str, person: int) -> str:
    """Return a form of the auxiliary have."""
    return inflect_verb("have", "had", "had", form, person)


def do(form: str, person: int) -> str:
    """Return a form of the auxiliary do."""
    return inflect_verb("do", "did", "done", form, person)
