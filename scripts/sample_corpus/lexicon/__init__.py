"""The words of the corpus, read from the data files in this folder."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sample_corpus.lexicon.entries import Adjective, Noun, Verb
from sample_corpus.lexicon.readers import (
    read_adjectives,
    read_adverbials,
    read_cities,
    read_groups,
    read_nouns,
    read_table,
    read_verbs,
)

NOUNS = read_nouns()
ADJECTIVES = read_adjectives()
VERBS = read_verbs()
ADVERBIALS = read_adverbials()
MANNER = {en: (en, de) for en, de in ADVERBIALS["manner"]}
SETTINGS = read_groups("settings.txt")
"""English verb -> classes of the places where people do it"""

MALE_NAMES, FEMALE_NAMES, SURNAMES = (read_groups("names.txt")[kind] for kind in ("male", "female", "surname"))
CITIES = read_cities()


class PlacePrepositions(NamedTuple):
    """The prepositions of a place; `zu` takes the dative, any other destination the accusative."""

    en: str = "in"
    location: str = "in"
    destination: str = "in"


PLACES = {
    row["noun"]: PlacePrepositions(row["english"], row["location"], row["destination"])
    for row in read_table("places.tsv")
}
IN = PlacePrepositions()


def place_prepositions(noun: Noun) -> PlacePrepositions:
    """Return the prepositions of a place."""
    return PLACES.get(noun.key, IN)


def verb(en: str, de: str) -> Verb:
    """Return the verb with both infinitives, for the constructions that name their verb."""
    return next(v for v in VERBS if v.en == en and v.prefix + v.de == de)


BE = verb("be", "sein")
COST = verb("cost", "kosten")
BELONG = verb("belong", "gehören")


@cache
def nouns_of(classes: frozenset[str]) -> tuple[Noun, ...]:
    """Return the nouns that belong to at least one of the classes."""
    return tuple(noun for noun in NOUNS.values() if not noun.classes.isdisjoint(classes))


@cache
def adjectives_of(noun: Noun) -> tuple[Adjective, ...]:
    """Return the adjectives that can modify a noun."""
    return tuple(adjective for adjective in ADJECTIVES if not adjective.modifies.isdisjoint(noun.classes))


@cache
def verbs_of(frames: str, with_: str = "", without: str = "") -> tuple[Verb, ...]:
    """Return the verbs with one of the frames, all properties of `with_` and none of `without`.

    Each argument is a list of words, separated by blanks.
    """
    allowed, required, excluded = frames.split(), set(with_.split()), without.split()
    return tuple(v for v in VERBS if v.frame in allowed and required <= v.properties and not v.has(*excluded))


VOLITIONAL = [v for v in VERBS if v.is_volitional]
