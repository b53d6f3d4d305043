"""Closed classes of words: pronouns, determiners, numerals."""

from __future__ import annotations

from dataclasses import dataclass

from sample_corpus.pair import Pair


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun with its possessive and reflexive forms.

    `person` is all that agreement needs: 0 I, 1 you, 2 third singular, 3 plural.
    """

    en_subject: str
    en_object: str
    en_possessive: str
    nom: str
    acc: str
    dat: str
    possessive: str
    reflexive_acc: str
    reflexive_dat: str
    person: int

    def de(self, case: str) -> str:
        """Return the German nominative, accusative or dative."""
        return {"nom": self.nom, "acc": self.acc, "dat": self.dat}[case]


PRONOUNS = {
    "i": Pronoun("I", "me", "my", "ich", "mich", "mir", "mein", "mich", "mir", 0),
    "you": Pronoun("you", "you", "your", "du", "dich", "dir", "dein", "dich", "dir", 1),
    "he": Pronoun("he", "him", "his", "er", "ihn", "ihm", "sein", "sich", "sich", 2),
    "she": Pronoun("she", "her", "her", "sie", "sie", "ihr", "ihr", "sich", "sich", 2),
    "we": Pronoun("we", "us", "our", "wir", "uns", "uns", "unser", "uns", "uns", 3),
    "they": Pronoun("they", "them", "their", "sie", "sie", "ihnen", "ihr", "sich", "sich", 3),
    "it_m": Pronoun("it", "it", "its", "er", "ihn", "ihm", "sein", "sich", "sich", 2),
    "it_f": Pronoun("it", "it", "its", "sie", "sie", "ihr", "ihr", "sich", "sich", 2),
    "it_n": Pronoun("it", "it", "its", "es", "es", "ihm", "sein", "sich", "sich", 2),
}
PERSONAL = ["i", "you", "he", "she", "we", "they"]
"""The pronouns of people: `it` needs an antecedent."""

POSSESSIVES = {PRONOUNS[key].en_possessive: PRONOUNS[key].possessive for key in PERSONAL}
DER_WORDS = {"this": "dies", "every": "jed", "which": "welch"}
"""Determiners that inflect like `der`; a weak adjective follows."""

QUANTIFIERS = {"many": "viel", "some": "einig", "several": "mehrer"}
"""Plural determiners that inflect like an adjective; a strong adjective follows."""

ONES = [
    *[
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
    ],
    *["fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
]
DE_ONES = [
    *[
        "null",
        "ein",
        "zwei",
        "drei",
        "vier",
        "fünf",
        "sechs",
        "sieben",
        "acht",
        "neun",
        "zehn",
        "elf",
        "zwölf",
        "dreizehn",
        "vierzehn",
    ],
    *["fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"],
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DE_TENS = ["zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]


def number_word(n: int) -> Pair:
    """Return a cardinal below 100; in German the unit precedes the ten: einundzwanzig."""
    if n < 20:
        return ONES[n], DE_ONES[n]
    tens, one = divmod(n, 10)
    en, de = TENS[tens - 2], DE_TENS[tens - 2]
    return (f"{en}-{ONES[one]}", f"{DE_ONES[one]}und{de}") if one else (en, de)


NUMERALS = dict(number_word(n) for n in range(2, 100))
"""Cardinals from 2 to 99, English -> German"""

INDEFINITE = {"a", "", *QUANTIFIERS, *NUMERALS}
"""Determiners of indefinite noun phrases"""
