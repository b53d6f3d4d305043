"""Entries of the lexicon: nouns, adjectives and verbs of both languages with their inflection."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sample_corpus.morphology import english, german
from sample_corpus.morphology.english import Degree


@dataclass(frozen=True)
class Noun:
    """A noun: its forms, its German gender and its selectional classes."""

    en: str
    en_plural: str
    de: str
    gender: str
    de_genitive: str
    de_plural: str
    classes: frozenset[str]

    @property
    def key(self) -> str:
        """The name of the entry: the English noun, with _ for a blank."""
        return self.en.replace(" ", "_")

    @property
    def is_mass(self) -> bool:
        """Whether the noun has no plural."""
        return not self.de_plural

    @property
    def is_human(self) -> bool:
        """Whether the noun denotes people."""
        return not self.classes.isdisjoint(("person", "kin"))

    @property
    def is_weak(self) -> bool:
        """Whether all German cases but the nominative have one ending, -n or -en."""
        return self.gender == "m" and not self.de_genitive.endswith("s")

    def de_form(self, case: str, plural: bool) -> str:
        """Return a German form; the dative plural adds -n."""
        if plural:
            return self.de_plural + ("n" if case == "dat" and self.de_plural[-1] not in "ns" else "")
        oblique = case == "gen" or (case != "nom" and self.is_weak)
        return self.de_genitive if oblique else self.de


@dataclass(frozen=True)
class Adjective:
    """An adjective; `stem` is the attributive one (teur-, dunkl-, hoh-)."""

    en: str
    de: str
    stem: str
    comparative: str
    scale: str
    properties: frozenset[str]
    modifies: frozenset[str]

    @property
    def is_gradable(self) -> bool:
        """Whether the adjective has degrees of comparison."""
        return "ungradable" not in self.properties

    def en_form(self, degree: Degree) -> str:
        """Return the English form of a degree."""
        return english.compare(self.en, degree)

    def de_stem(self, degree: Degree) -> str:
        """Return the German form of a degree that takes the attributive endings."""
        if degree == "superlative":
            return german.superlative_stem(self.de, self.stem, self.comparative)
        return self.comparative if degree == "comparative" else self.stem


@dataclass(frozen=True)
class Verb:
    """A verb; `lexicon/verbs.tsv` documents frames, selection and properties."""

    en: str
    en_past: str
    en_participle: str
    particle: str
    preposition: str
    complement: str
    de: str
    prefix: str
    changed_stem: str
    de_participle: str
    takes_sein: bool
    de_preposition: str
    case: str
    frame: str
    selects: frozenset[str]
    properties: frozenset[str]
    manner: tuple[str, ...]

    def has(self, *properties: str) -> bool:
        """Whether the verb has at least one of the properties."""
        return not self.properties.isdisjoint(properties)

    @property
    def stem(self) -> str:
        """The infinitive without -en or -n."""
        return german.verb_stem(self.de)

    @property
    def is_volitional(self) -> bool:
        """Whether people can be told to do it, or can plan it."""
        return self.has("imperative") and not self.has("stative", "permanent", "nonvolitional")

    def en_form(self, form: str, person: int) -> str:
        """Return `pres`, `past`, `ing`, `pp` or `base`, without the particle."""
        return english.inflect_verb(self.en, self.en_past, self.en_participle, form, person)

    def de_present(self, person: int) -> str:
        """Return the present tense, without the prefix: 0 ich, 1 du, 2 er/sie/es, 3 plural."""
        if self.de in german.IRREGULAR_VERBS:
            return german.IRREGULAR_VERBS[self.de][0][person]
        if person == 0:
            return self.stem + "e"
        if person == 3:
            return self.de
        stem = self.changed_stem or self.stem
        changed = stem != self.stem
        linking = "e" if german.takes_linking_e(stem) and not changed else ""
        if person == 1:
            return stem + linking + ("t" if stem[-1] in "sßzx" else "st")
        return stem + linking + ("" if changed and stem.endswith("t") else "t")

    def de_imperative(self) -> str:
        """Return the imperative of du: a change from e to i remains (lies), one from a to ä does not (fahr)."""
        if self.changed_stem and not re.search("[äöü]", self.changed_stem):
            return self.changed_stem
        return self.stem + ("e" if german.takes_linking_e(self.stem) or self.stem.endswith(("er", "ig")) else "")

    def de_zu_infinitive(self) -> str:
        """Return the infinitive with zu, which a separable prefix precedes: anzukommen."""
        if self.prefix and not self.prefix.endswith(" "):
            return f"{self.prefix}zu{self.de}"
        return f"{self.prefix}zu {self.de}"
