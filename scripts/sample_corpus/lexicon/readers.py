"""Readers of the data files. Each file documents its columns in a comment at the top."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sample_corpus.lexicon.entries import Adjective, Noun, Verb
from sample_corpus.morphology.english import regular_past, regular_plural
from sample_corpus.morphology.german import regular_participle
from sample_corpus.pair import Pair

FOLDER = Path(__file__).parent


def read_lines(name: str) -> list[str]:
    """Return the lines of a data file without comments and blank lines."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of a file of tab-separated columns as column -> cell; `-` is an empty cell.

    Raises ValueError for a row that is longer or shorter than the header.
    """
    header, *rows = (line.split("\t") for line in read_lines(name))
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{name}: {len(row)} columns instead of {len(header)}: {row}")
    return [
        {column: "" if cell == "-" else cell for column, cell in zip(header, row, strict=True)} for row in rows
    ]


def read_groups(name: str) -> dict[str, list[str]]:
    """Return the groups of a file of lines `group: members`; an indented line continues a group."""
    groups: dict[str, list[str]] = {}
    members: list[str] = []
    for line in read_lines(name):
        if not line[0].isspace():
            group, _, line = line.partition(":")
            members = groups.setdefault(group, [])
        members += line.split()
    return groups


def read_nouns() -> dict[str, Noun]:
    """Return all nouns by key: simple nouns, then compounds."""
    nouns: dict[str, Noun] = {}
    for row in read_table("nouns.tsv"):
        en = row["english"]
        noun = Noun(
            en,
            row["english_plural"] or regular_plural(en),
            row["german"],
            row["gender"],
            row["genitive"],
            row["german_plural"],
            frozenset(row["classes"].split()),
        )
        nouns[noun.key] = replace(noun, classes=noun.classes | {noun.key})
    for row in read_table("compounds.tsv"):
        compound = _compound(row["english"], nouns[row["head"]], row["modifier"])
        nouns[compound.key] = compound
    for name, members in read_groups("noun_classes.txt").items():
        for key in members:
            nouns[key] = replace(nouns[key], classes=nouns[key].classes | {name})
    return nouns


def _compound(en: str, head: Noun, modifier: str) -> Noun:
    """A compound inflects like its head, and belongs to the same classes."""
    return replace(
        head,
        en=en,
        en_plural=en.removesuffix(head.en) + head.en_plural,
        de=modifier + head.de.lower(),
        de_genitive=modifier + head.de_genitive.lower(),
        de_plural="" if head.is_mass else modifier + head.de_plural.lower(),
        classes=(head.classes - {head.key}) | {en.replace(" ", "_"), "compound"},
    )


def read_adjectives() -> list[Adjective]:
    """Return all adjectives."""
    adjectives = []
    for row in read_table("adjectives.tsv"):
        stem = row["stem"] or row["german"]
        comparative = row["comparative"] or stem + "er"
        sets = (frozenset(row[column].split()) for column in ("properties", "modifies"))
        adjectives.append(Adjective(row["english"], row["german"], stem, comparative, row["scale"], *sets))
    return adjectives


def read_verbs() -> list[Verb]:
    """Return all verbs."""
    return [_verb(row) for row in read_table("verbs.tsv")]


def _verb(row: dict[str, str]) -> Verb:
    forms, *words = row["english"].split()
    base, *irregular = forms.split("/")
    past, participle = irregular or [regular_past(base)] * 2
    german, _, preposition = row["german"].partition(" ")
    prefix, _, infinitive = german.replace("_", " ").rpartition("|")
    de_participle = row["participle"].removeprefix("ist ").removeprefix(prefix)
    de_preposition, _, case = preposition.partition("+")
    return Verb(
        en=base,
        en_past=past,
        en_participle=participle,
        particle=next((word[1:] for word in words if word[0] == "+"), ""),
        preposition=next((word[1:] for word in words if word[0] == "_"), ""),
        complement=" ".join(word for word in words if word[0] not in "+_").replace("_", " "),
        de=infinitive,
        prefix=prefix,
        changed_stem=row["stem"],
        de_participle=de_participle or regular_participle(infinitive),
        takes_sein=row["participle"].startswith("ist "),
        de_preposition=de_preposition,
        case=case,
        frame=row["frame"],
        selects=frozenset(row["selects"].split()),
        properties=frozenset(row["properties"].split()),
        manner=tuple(row["manner"].split()),
    )


def read_adverbials() -> dict[str, list[Pair]]:
    """Return the adverbials by kind."""
    adverbials: dict[str, list[Pair]] = {}
    for row in read_table("adverbials.tsv"):
        adverbials.setdefault(row["kind"], []).append((row["english"], row["german"]))
    return adverbials


def read_cities() -> list[Pair]:
    """Return the names of the cities."""
    names = (name.partition("=") for name in read_groups("names.txt")["city"])
    return [(en, de or en) for en, _, de in names]
