"""Random adverbials: places, destinations, times, prices."""

from __future__ import annotations

from dataclasses import replace

from sample_corpus.lexicon import ADVERBIALS, CITIES, NOUNS, SETTINGS, place_prepositions
from sample_corpus.lexicon.entries import Noun
from sample_corpus.morphology.function_words import POSSESSIVES, number_word
from sample_corpus.pair import Pair, format_pair
from sample_corpus.sampling.noun_phrases import NounPhraseSampler
from sample_corpus.syntax.noun_phrase import NP, de_prepositional_phrase

# Modals that speak of the future where the tense is the present.
PROSPECTIVE = ("can", "must", "should", "want", "have", "would")


class AdverbialSampler(NounPhraseSampler):
    """Draws adverbials and noun phrases."""

    def adverbial(self, kind: str) -> Pair:
        """Return an adverbial of a kind of `lexicon/adverbials.tsv`."""
        return self.rng.choice(ADVERBIALS[kind])

    def location(self, verb: str = "", rooms: bool = True) -> Pair:
        """Return a city, or a place that suits the English verb."""
        if self.chance(0.25):
            return self._city("in {}", "in {}")
        noun = self.noun(*SETTINGS.get(verb, ["public_place", *(["room"] if rooms else [])]))
        np = NP(noun, False, "the", self.adjectives(noun, "the") if self.chance(0.5) else ())
        prepositions = place_prepositions(noun)
        return f"{prepositions.en} {np.en('obj')}", de_prepositional_phrase(prepositions.location, "dat", np)

    def residence(self) -> Pair:
        """Return a place where people live."""
        if self.chance(0.6):
            return self._city("in {}", "in {}")
        noun = self.noun("village", "hotel", "city", "castle")
        np = NP(noun, False, "the", self.adjectives(noun, "the"))
        return f"in {np.en('obj')}", de_prepositional_phrase("in", "dat", np)

    def destination(self, far: bool) -> Pair:
        """Return a public place to go to, or a city if the destination may be `far`."""
        if far and self.chance(0.4):
            return self.city_destination()
        noun = self.noun("public_place")
        np = NP(noun, False, "the", self.adjectives(noun, "the") if self.chance(0.4) else ())
        preposition = place_prepositions(noun).destination
        case = "dat" if preposition == "zu" else "acc"
        return f"to {np.en('obj')}", de_prepositional_phrase(preposition, case, np)

    def city_destination(self) -> Pair:
        """Return a city to go to."""
        return self._city("to {}", "nach {}")

    def _city(self, en: str, de: str) -> Pair:
        return format_pair(self.rng.choice(CITIES), en, de)

    def spatial_relation(self, case: str, hanging: bool = False) -> Pair:
        """Return a relation to a piece of furniture: dative for the location, accusative for the goal."""
        if hanging:
            return "on the wall", de_prepositional_phrase("an", case, NP(NOUNS["wall"], False, "the"))
        en, de = self.adverbial("relation")
        np = self.object_phrase("surface", definite=True)
        det = np.det if np.det in ("the", "this", *POSSESSIVES) else "the"
        np = replace(np, plural=False, det=det, owner=None)
        return f"{en} {np.en('obj')}", de_prepositional_phrase(de, case, np)

    def price(self, noun: Noun | None) -> Pair:
        """Return a likely price."""
        cheap = noun is not None and not noun.classes.isdisjoint(("small", "clothes", "reading"))
        low, high = (3, 99) if cheap else (100, 999)
        n = self.rng.randint(low, high)
        return f"{n} euros", f"{n} Euro"

    def time(self, tense: str, modal: str = "", habitual: bool = False) -> Pair | None:
        """Return an adverbial of time that agrees with the tense, if there is one."""
        if tense == "past" and self.chance(0.35):
            return self._past_date(modal)
        if habitual:
            if self.chance(0.3):
                return format_pair(self.adverbial("weekday"), "every {}", "jeden {}")
            return self.adverbial("habitual_time")
        if tense == "prog":
            return self.adverbial("present_time")
        if tense == "perf":
            return None
        roll = self.rng.random()
        if tense not in ("past", "fut") and modal not in PROSPECTIVE:
            return None
        if roll < 0.2:
            return format_pair(self.adverbial("weekday"), "on {}", "am {}")
        if roll < 0.32:
            hour = self.rng.randint(1, 12)
            return f"at {hour} o'clock", f"um {hour} Uhr"
        if tense == "past":
            return self.adverbial("past_time")
        if roll < 0.42:
            return self._number_of("period", "in {} {}", "in {} {}")
        return self.adverbial("future_time")

    def _past_date(self, modal: str) -> Pair:
        """A period ago, a year, a month or a season."""
        # Number and period are drawn for each kind: the published corpus depends on the sequence of draws.
        ago = self._number_of("period", "{} {} ago", "vor {} {}")
        kind = self.rng.randint(0, 2)
        if kind == 0:
            return ago
        if kind == 1 and not modal:
            year = self.rng.randint(1950, 2024)
            return f"in {year}", f"im Jahr {year}"
        return format_pair(self.rng.choice(ADVERBIALS["month"] + ADVERBIALS["season"]), "in {}", "im {}")

    def duration(self) -> Pair:
        """Return a length of time: for three hours."""
        return self._number_of("duration", "for {} {}", "{} {} lang")

    def _number_of(self, kind: str, en: str, de: str) -> Pair:
        """Insert a numeral and a unit of time into both templates."""
        number = number_word(self.rng.randint(2, 12))
        unit = self.adverbial(kind)
        return en.format(number[0], unit[0]), de.format(number[1], unit[1])
