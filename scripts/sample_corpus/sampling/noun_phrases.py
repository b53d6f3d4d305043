"""Random noun phrases."""

from __future__ import annotations

import random

from sample_corpus.lexicon import (
    ADJECTIVES,
    FEMALE_NAMES,
    MALE_NAMES,
    SURNAMES,
    adjectives_of,
    nouns_of,
)
from sample_corpus.lexicon.entries import Adjective, Noun
from sample_corpus.morphology.english import Degree
from sample_corpus.morphology.function_words import PERSONAL, POSSESSIVES, PRONOUNS, QUANTIFIERS, number_word
from sample_corpus.syntax.noun_phrase import NP

COLOURS = [adjective for adjective in ADJECTIVES if adjective.scale == "colour"]
# The determiners of an object with their weights. Three of them stand for a choice of their own:
# a possessive, a numeral, a quantifier; an owner is a genitive in place of the determiner.
OBJECT_DETERMINERS = {"the": 30, "a": 32, "this": 8, "possessive": 16, "numeral": 7, "quantifier": 4, "owner": 5}


class NounPhraseSampler:
    """Draws noun phrases. All random draws are made by `rng`, so a seed determines the corpus."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def chance(self, p: float) -> bool:
        """Return True with probability p."""
        return self.rng.random() < p

    def noun(self, *classes: str) -> Noun:
        """Return a noun of any of the classes."""
        return self.rng.choice(nouns_of(frozenset(classes)))

    def adjective(self, noun: Noun) -> Adjective | None:
        """Return an adjective that can modify the noun, if there is one."""
        adjectives = adjectives_of(noun)
        return self.rng.choice(adjectives) if adjectives else None

    def adjectives(self, noun: Noun, det: str) -> tuple[tuple[Adjective, Degree], ...]:
        """Return no adjective, one, or size or age with a colour."""
        if not self.chance(0.3) or not (adjective := self.adjective(noun)):
            return ()
        degree: Degree = ""
        if adjective.is_gradable:
            if det == "the" and self.chance(0.15):
                degree = "superlative"
            elif det == "a" and self.chance(0.1):
                degree = "comparative"
        if adjective.en in ("big", "small", "old", "new") and not degree and self.chance(0.4):
            colours = [colour for colour in COLOURS if not colour.modifies.isdisjoint(noun.classes)]
            if colours:
                return (adjective, ""), (self.rng.choice(colours), "")
        return ((adjective, degree),)

    def name(self) -> NP:
        """Return a first name, or Mr or Mrs with a surname."""
        if self.chance(0.25):
            surname = self.rng.choice(SURNAMES)
            title, gender = self.rng.choice([("Mr", "m"), ("Mrs", "f")])
            return NP(name=(surname, surname), title=title, name_gender=gender)
        gender = self.rng.choice("mf")
        first = self.rng.choice(MALE_NAMES if gender == "m" else FEMALE_NAMES)
        return NP(name=(first, first), name_gender=gender)

    def possessive(self, np: NP | None = None) -> str:
        """Return a possessive determiner, mostly the one that refers back to `np`."""
        own = ""
        if np and np.pronoun:
            own = PRONOUNS[np.pronoun].en_possessive
        elif np and np.plural:
            own = "their"
        elif np:
            own = {"m": "his", "f": "her"}.get(natural_gender(np), "")
        return own if own and self.chance(0.8) else self.rng.choice(list(POSSESSIVES))

    def person(self, definite: bool = False, named: bool = True) -> NP:
        """Return a noun phrase for people; relatives have a possessive or an owner."""
        if named and self.chance(0.25):
            return self.name()
        if self.chance(0.35):
            return self._relative_of_someone()
        roll = 1.0 if definite else self.rng.random()
        return self.person_noun("every" if roll < 0.05 else "a" if roll < 0.25 else "the")

    def _relative_of_someone(self) -> NP:
        noun = self.noun("kin")
        plural = "plural" in noun.classes or self.chance(0.15)
        adjectives = self.adjectives(noun, "my") if self.chance(0.4) else ()
        if self.chance(0.2):
            owner = self.name() if self.chance(0.6) else self.person_noun("the")
            if has_genitive(owner):
                return NP(noun, plural, owner=owner, adjectives=adjectives)
        return NP(noun, plural, self.possessive(), adjectives)

    def person_noun(self, det: str) -> NP:
        """Return a common noun for people."""
        noun = self.noun("person")
        if det == "the" and self.chance(0.1):
            det = "this"
        plural = det not in ("a", "every") and self.chance(0.2)
        return NP(noun, plural, det, self.adjectives(noun, det))

    def subject_phrase(self, definite: bool = False) -> NP:
        """Return a pronoun, a name or a noun for people."""
        roll = self.rng.random()
        if roll < 0.27:
            return NP(pronoun=self.rng.choice(PERSONAL))
        return self.name() if roll < 0.55 else self.person(definite, named=False)

    def object_phrase(
        self,
        *classes: str,
        subj: NP | None = None,
        definite: bool = False,
        bare: bool = False,
        negated: bool = False,
        counted: bool = True,
    ) -> NP:
        """Return an object of any of the classes that does not refer to the subject.

        A `bare` object has no determiner; only a `counted` one may have a numeral or a quantifier.
        """
        noun = self.noun(*classes)
        if noun.is_human:
            return self._human_object(noun, subj, definite or negated)
        if bare:
            return NP(noun, not noun.is_mass, "a")
        if noun.is_mass and "sport" in noun.classes:
            return NP(noun, False, "a", negated=negated)
        plural = "plural" in noun.classes
        kind = det = self._object_determiner(noun, definite, counted and not negated and not definite)
        owner = None
        if kind == "numeral":
            small = self.chance(0.7)
            det = number_word(self.rng.randint(2, 12))[0] if small else str(self.rng.randint(13, 60))
            plural = True
        elif kind == "quantifier":
            det, plural = self.rng.choice(list(QUANTIFIERS)), True
        elif kind == "possessive":
            det = self.possessive(subj)
        elif kind == "owner":
            owner = self.name() if self.chance(0.5) else self.person_noun("the")
            if not has_genitive(owner):
                owner, det = None, "the"
        elif not noun.is_mass and self.chance(0.15) and (counted or det != "a"):
            plural = True
        return NP(
            noun,
            plural and not noun.is_mass,
            "" if owner else det,
            self.adjectives(noun, det),
            owner=owner,
            negated=negated and det == "a",
        )

    def _human_object(self, noun: Noun, subj: NP | None, definite: bool) -> NP:
        if self.chance(0.35):
            pronouns = [pronoun for pronoun in PERSONAL if not subj or is_disjoint(subj, pronoun)]
            return NP(pronoun=self.rng.choice(pronouns)) if self.chance(0.5) else self.name()
        if "kin" in noun.classes:
            return NP(noun, "plural" in noun.classes or self.chance(0.1), self.possessive(subj))
        det = "the" if definite or self.chance(0.8) else "a"
        return NP(noun, det != "a" and self.chance(0.2), det, self.adjectives(noun, det))

    def _object_determiner(self, noun: Noun, definite: bool, counted: bool) -> str:
        """One of OBJECT_DETERMINERS that suits the noun."""
        weights = dict(OBJECT_DETERMINERS)
        if definite:
            weights["a"] = 0
        if not counted:
            weights["numeral"] = weights["quantifier"] = 0
        if not noun.classes.isdisjoint(("event", "abstract", "public_place")):
            weights["owner"] = 0
        kind = self.rng.choices(list(weights), list(weights.values()))[0]
        if noun.is_mass and kind != "a":
            return "the"
        unowned = not noun.classes.isdisjoint(("animal", "sight", "public_place", "abstract", "event"))
        return "the" if kind == "possessive" and unowned and self.chance(0.7) else kind


def natural_gender(np: NP) -> str:
    """Return m or f where he or she is the only possible pronoun, else the empty string."""
    if np.name:
        return np.name_gender
    classes = np.noun.classes if np.noun else ()
    return "m" if "male" in classes else "f" if "female" in classes else ""


def coreferent(np: NP) -> NP | None:
    """Return the pronoun that refers back to a person, if there is exactly one."""
    if np.det == "every":
        return None  # a bound variable: no single rendering
    if np.pronoun:
        return np
    if np.plural:
        return NP(pronoun="they")
    gender = natural_gender(np)
    return NP(pronoun="he" if gender == "m" else "she") if gender else None


def has_genitive(owner: NP) -> bool:
    """Whether the owner forms a genitive in -s; names in -s, -x and -z only take an apostrophe in German."""
    return not owner.name or not owner.name[0].endswith(("x", "s", "z"))


def is_disjoint(np: NP, pronoun: str) -> bool:
    """Whether a pronoun as an object certainly refers to someone else than the subject."""
    person = PRONOUNS[pronoun].person
    if {np.pronoun, pronoun} in ({"i", "we"}, {"i"}, {"we"}, {"you"}):
        return False
    return np.person != person or (person == 2 and not np.pronoun and bool(np.name))  # Anna sees him
