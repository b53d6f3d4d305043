"""German inflection: paradigms of determiners and adjectives, verb stems, irregular verbs."""

from __future__ import annotations

import re

CASES = ("nom", "acc", "dat", "gen")
GENDERS = ("m", "f", "n", "p")
"""The columns of a paradigm; `p` is the plural of all genders."""

Paradigm = dict[tuple[str, str], str]
"""(case, gender) -> form or ending"""


def paradigm(*rows: str) -> Paradigm:
    """Read a table with one row per case and one column per gender; `-` is the empty ending."""
    cells: Paradigm = {}
    for case, row in zip(CASES, rows, strict=True):
        for gender, form in zip(GENDERS, row.split(), strict=True):
            cells[case, gender] = "" if form == "-" else form
    return cells


DEFINITE_ARTICLE = paradigm("der die das die", "den die das die", "dem der dem den", "des der des der")
RELATIVE_PRONOUN = paradigm("der die das die", "den die das die", "dem der dem denen", "dessen deren dessen deren")
DER_WORD_ENDINGS = paradigm("er e es e", "en e es e", "em er em en", "es er es er")
EIN_WORD_ENDINGS = paradigm("- e - e", "en e - e", "em er em en", "es er es er")
ADJECTIVE_ENDINGS = {
    "weak": paradigm("e e e en", "en e e en", "en en en en", "en en en en"),
    "mixed": paradigm("er e es en", "en e es en", "en en en en", "en en en en"),
    "strong": paradigm("er e es e", "en e es e", "em er em en", "en er en er"),
}
"""Declension -> endings; the determiner selects the declension."""

CONTRACTIONS = {
    "in dem": "im",
    "in das": "ins",
    "an dem": "am",
    "an das": "ans",
    "zu dem": "zum",
    "zu der": "zur",
    "bei dem": "beim",
    "von dem": "vom",
}
# Present and preterite of ich, du, er/sie/es and the plural. No other verb takes the preterite here.
IRREGULAR_VERBS = {
    verb: (present.split(), preterite.split())
    for verb, present, preterite in (
        ("sein", "bin bist ist sind", "war warst war waren"),
        ("haben", "habe hast hat haben", "hatte hattest hatte hatten"),
        ("werden", "werde wirst wird werden", "wurde wurdest wurde wurden"),
        ("wissen", "weiß weißt weiß wissen", "wusste wusstest wusste wussten"),
        ("können", "kann kannst kann können", "konnte konntest konnte konnten"),
        ("müssen", "muss musst muss müssen", "musste musstest musste mussten"),
        ("wollen", "will willst will wollen", "wollte wolltest wollte wollten"),
        ("dürfen", "darf darfst darf dürfen", "durfte durftest durfte durften"),
        ("sollen", "sollte solltest sollte sollten", ""),
        ("mögen", "möchte möchtest möchte möchten", ""),
    )
}


def takes_linking_e(stem: str) -> bool:
    """Whether a verb stem needs -e- before -st and -t: arbeitet, öffnet."""
    return bool(re.search(r"[td]$|[^aeiouäöülrhnm][nm]$", stem))


def verb_stem(infinitive: str) -> str:
    """Return the infinitive without -en or -n."""
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def regular_participle(infinitive: str) -> str:
    """Return the weak past participle: gekauft, besucht, repariert."""
    stem = verb_stem(infinitive)
    prefix = "" if re.search(r"^(be|er|ver|ent|emp|ge|zer)|ieren$", infinitive) else "ge"
    return prefix + stem + ("e" if takes_linking_e(stem) else "") + "t"


def superlative_stem(adjective: str, stem: str, comparative: str) -> str:
    """Return the stem of the attributive superlative: ältest-, größt-, höchst-, teuerst-."""
    if comparative == "größer":
        return "größt"
    if comparative == "höher":
        return "höchst"
    umlauted = stem == adjective and comparative != stem + "er"
    base = comparative.removesuffix("er") if umlauted else adjective
    return base + ("est" if base.endswith(("t", "d", "s", "z", "ß", "sch", "x", "eu")) else "st")
