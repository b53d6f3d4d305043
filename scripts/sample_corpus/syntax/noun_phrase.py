"""Noun phrases and their forms in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sample_corpus.lexicon.entries import Adjective, Noun
from sample_corpus.morphology.english import Degree, indefinite_article
from sample_corpus.morphology.function_words import (
    DER_WORDS,
    INDEFINITE,
    NUMERALS,
    POSSESSIVES,
    PRONOUNS,
    QUANTIFIERS,
)
from sample_corpus.morphology.german import (
    ADJECTIVE_ENDINGS,
    CONTRACTIONS,
    DEFINITE_ARTICLE,
    DER_WORD_ENDINGS,
    EIN_WORD_ENDINGS,
)
from sample_corpus.pair import Pair

if TYPE_CHECKING:
    from sample_corpus.syntax.clause import Relative


@dataclass(frozen=True)
class NP:
    """A pronoun, a name, or a noun with determiner, adjectives, owner, suffix and relative clause.

    - `det` is an English determiner; `a` also stands for the missing one of plurals and mass nouns.
    - `owner` is a genitive: Anna's, the teacher's.
    - `negated` turns `a` into kein (not ... a, not ... any).
    """

    noun: Noun | None = None
    plural: bool = False
    det: str = ""
    adjectives: tuple[tuple[Adjective, Degree], ...] = ()
    pronoun: str = ""
    name: Pair | None = None
    name_gender: str = ""
    title: str = ""
    owner: NP | None = None
    rel: Relative | None = None
    negated: bool = False
    suffix: str = ""

    @property
    def person(self) -> int:
        """Person for agreement: 0 I, 1 you, 2 third singular, 3 plural."""
        return PRONOUNS[self.pronoun].person if self.pronoun else 3 if self.plural else 2

    @property
    def gender(self) -> str:
        """The column of a German paradigm: m, f, n, or p for the plural."""
        return "p" if self.plural else self.noun.gender if self.noun else self.name_gender

    @property
    def definite(self) -> bool:
        """Whether the phrase precedes the place and nicht in the German middle field."""
        return not self.noun or self.owner is not None or self.det not in INDEFINITE

    def reflexive(self, case: str) -> str:
        """Return the reflexive pronoun for this subject: mich, dir, sich."""
        pronoun = PRONOUNS[self.pronoun or "he"]  # sich in the singular and the plural
        return pronoun.reflexive_acc if case == "acc" else pronoun.reflexive_dat

    def en(self, case: str = "nom") -> str:
        """Return the English phrase with its relative clause; any case but nom is the object form."""
        if self.pronoun:
            pronoun = PRONOUNS[self.pronoun]
            return pronoun.en_subject if case == "nom" else pronoun.en_object
        if self.name:
            return f"{self.title} {self.name[0]}".strip()
        assert self.noun
        words = [adjective.en_form(degree) for adjective, degree in self.adjectives]
        words.append(self.noun.en_plural if self.plural else self.noun.en)
        determiner = self._en_determiner(words[0])
        words = [word for word in (determiner, *words, self.suffix) if word]
        return " ".join(words) + (self.rel.en(self) if self.rel else "")

    def _en_determiner(self, following: str) -> str:
        """The determiner; `a` or `an` depends on the next word."""
        assert self.noun
        if self.owner:
            owner = self.owner.en()
            return owner + ("'" if owner.endswith("s") and self.owner.plural else "'s")
        if self.det == "a":
            if self.plural or self.noun.is_mass:
                return "any" if self.negated else ""
            return indefinite_article(following)
        return "these" if self.det == "this" and self.plural else self.det

    def de(self, case: str) -> str:
        """Return the German phrase without the relative clause, which may have to leave the phrase."""
        if self.pronoun:
            return PRONOUNS[self.pronoun].de(case)
        if self.name:
            title = {"Mr": "Herr" if case == "nom" else "Herrn", "Mrs": "Frau", "": ""}[self.title]
            return f"{title} {self.name[1]}".strip()
        assert self.noun
        determiner, declension = self._de_determiner(case)
        ending = ADJECTIVE_ENDINGS[declension][case, self.gender]
        words = [determiner, *(adjective.de_stem(degree) + ending for adjective, degree in self.adjectives)]
        words.append(self.noun.de_form(case, self.plural))
        if self.owner and not self.owner.name:
            words.append(self.owner.de("gen"))
        words.append(self.suffix)
        return " ".join(word for word in words if word)

    def _de_determiner(self, case: str) -> tuple[str, str]:
        """The determiner, and the declension of the adjectives after it."""
        det, cell = self.det, (case, self.gender)
        if self.owner and self.owner.name:
            return self.owner.de("gen") + "s", "strong"
        if self.owner or det == "the":
            return DEFINITE_ARTICLE[cell], "weak"
        if det in DER_WORDS:
            return DER_WORDS[det] + DER_WORD_ENDINGS[cell], "weak"
        if det == "a":
            assert self.noun
            if self.negated:
                return "kein" + EIN_WORD_ENDINGS[cell], "mixed"
            if self.plural or self.noun.is_mass:
                return "", "strong"
            return "ein" + EIN_WORD_ENDINGS[cell], "mixed"
        if det in POSSESSIVES:
            return POSSESSIVES[det] + EIN_WORD_ENDINGS[cell], "mixed"
        if det in QUANTIFIERS:
            return QUANTIFIERS[det] + DER_WORD_ENDINGS[cell], "strong"
        return NUMERALS.get(det, det), "strong"

    def de_with_relative(self, case: str) -> str:
        """Return the German phrase followed by its relative clause."""
        return self.de(case) + self.de_relative()

    def de_relative(self) -> str:
        """Return the German relative clause between commas, empty without one."""
        return self.rel.de(self) if self.rel else ""


def de_prepositional_phrase(preposition: str, case: str, np: NP) -> str:
    """Return a German prepositional phrase, contracted where possible: im Haus.

    A restrictive relative clause prevents the contraction: in dem Haus, das ...
    """
    phrase = f"{preposition} {np.de(case)}"
    has_article = np.det == "the" or (np.owner is not None and not np.owner.name)
    if has_article and not np.rel:
        start = " ".join(phrase.split(maxsplit=2)[:2])
        phrase = CONTRACTIONS.get(start, start) + phrase[len(start) :]
    return phrase
