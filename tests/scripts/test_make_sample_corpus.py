"""The sample corpus: reproducible, clean, and grammatical where a rule can be stated."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, load_script

SAMPLE = ROOT / "data" / "sample"
COUNTS = {"train": 20000, "valid": 500, "test": 500}


SCRIPT: Any = load_script("make_sample_corpus")
BUILD: Any = load_script("sample_corpus.build")
KINDS: Any = load_script("sample_corpus.kinds")
LEXICON: Any = load_script("sample_corpus.lexicon")
READERS: Any = load_script("sample_corpus.lexicon.readers")
SAMPLING: Any = load_script("sample_corpus.sampling")
CLAUSE: Any = load_script("sample_corpus.syntax.clause")
ENGLISH: Any = load_script("sample_corpus.syntax.english")
GERMAN: Any = load_script("sample_corpus.syntax.german")
NOUN_PHRASE: Any = load_script("sample_corpus.syntax.noun_phrase")
WORDS: Any = load_script("sample_corpus.morphology.function_words")

NOUNS, NP, Clause, Relative = LEXICON.NOUNS, NOUN_PHRASE.NP, CLAUSE.Clause, CLAUSE.Relative
en_clause, de_clause, declarative = ENGLISH.en_clause, GERMAN.de_clause, CLAUSE.declarative
prepositional_phrase = NOUN_PHRASE.de_prepositional_phrase


def np(key: str, det: str = "the", *adjectives: str, **more: Any) -> Any:
    """A noun phrase from lexicon keys; `old+superlative` is a degree."""
    found = []
    for a in adjectives:
        word, _, degree = a.partition("+")
        found.append((next(x for x in LEXICON.ADJECTIVES if x.en == word), degree))
    return NP(NOUNS[key], det=det, adjectives=tuple(found), **more)


def pro(key: str) -> Any:
    return NP(pronoun=key)


def name(first: str, gender: str, title: str = "") -> Any:
    return NP(name=(first, first), name_gender=gender, title=title)


ANNA, PETER = name("Anna", "f"), name("Peter", "m")


def clause(verb: tuple[str, str], subj: Any, tense: str = "past", **more: Any) -> Any:
    return Clause(LEXICON.verb(*verb), subj, tense, **more)


def be(subj: Any, en: str, de: str, tense: str = "pres", **more: Any) -> Any:
    return Clause(LEXICON.BE, subj, tense, pred=(en, de), **more)


BUY, READ, GIVE, SEE = ("buy", "kaufen"), ("read", "lesen"), ("give", "geben"), ("see", "sehen")
YESTERDAY, TODAY = ("yesterday", "gestern"), ("today", "heute")

MAIN = [
    # perfect, case, indefinite object
    (clause(BUY, ANNA, obj=np("car", "a", "red")), "Anna bought a red car.", "Anna hat ein rotes Auto gekauft."),
    # verb second after a fronted time
    (
        clause(BUY, ANNA, obj=np("table", "the", "old"), time=YESTERDAY, front="time"),
        "Yesterday Anna bought the old table.",
        "Gestern hat Anna den alten Tisch gekauft.",
    ),
    # object in front
    (
        clause(SEE, pro("i"), "perf", obj=np("film", "this"), aspect=("already", "schon"), front="obj"),
        "This film I have already seen.",
        "Diesen Film habe ich schon gesehen.",
    ),
    # dative before accusative; weak noun; an before a vowel
    (
        clause(GIVE, pro("she"), "prog", iobj=np("student"), obj=np("umbrella", "a", "old")),
        "She is giving the student an old umbrella.",
        "Sie gibt dem Studenten einen alten Regenschirm.",
    ),
    # accusative pronoun first
    (
        clause(GIVE, pro("he"), iobj=np("child", plural=True), obj=pro("it_f")),
        "He gave it to the children.",
        "Er hat sie den Kindern gegeben.",
    ),
    # separable verb in the present, with sein, with a modal
    (clause(("call", "anrufen"), PETER, "pres", obj=pro("they")), "Peter calls them.", "Peter ruft sie an."),
    (clause(("arrive", "ankommen"), ANNA), "Anna arrived.", "Anna ist angekommen."),
    (
        clause(("tidy", "aufräumen"), pro("you"), "pres", modal="must", obj=np("room", "your")),
        "You must tidy up your room.",
        "Du musst dein Zimmer aufräumen.",
    ),
    # must not is nicht dürfen; has to is müssen
    (
        clause(("smoke", "rauchen"), pro("we"), "pres", modal="must", negated=True),
        "We must not smoke.",
        "Wir dürfen nicht rauchen.",
    ),
    (
        clause(("work", "arbeiten"), pro("he"), "pres", modal="have", negated=True),
        "He does not have to work.",
        "Er muss nicht arbeiten.",
    ),
    # nicht after a definite object, kein for an indefinite one
    (
        clause(READ, PETER, obj=np("book"), negated=True),
        "Peter did not read the book.",
        "Peter hat das Buch nicht gelesen.",
    ),
    (
        clause(BUY, PETER, obj=np("dog", "a", negated=True), negated=True),
        "Peter did not buy a dog.",
        "Peter hat keinen Hund gekauft.",
    ),
    (
        clause(("drink", "trinken"), pro("they"), "pres", obj=np("milk", "a", "cold", negated=True), negated=True),
        "They do not drink any cold milk.",
        "Sie trinken keine kalte Milch.",
    ),
    (
        clause(READ, ANNA, "perf", obj=np("letter"), negated=True, aspect=("yet", "noch")),
        "Anna has not read the letter yet.",
        "Anna hat den Brief noch nicht gelesen.",
    ),
    # time, manner, place; place before an indefinite object
    (
        clause(READ, ANNA, "prog", obj=np("poem", "a"), time=TODAY, place=("in the park", "im Park")),
        "Anna is reading a poem in the park today.",
        "Anna liest heute im Park ein Gedicht.",
    ),
    # direction and position
    (
        clause(
            ("put", "legen"),
            ANNA,
            obj=np("key"),
            goal=("on the table", prepositional_phrase("auf", "acc", np("table"))),
        ),
        "Anna put the key on the table.",
        "Anna hat den Schlüssel auf den Tisch gelegt.",
    ),
    (
        clause(
            ("lie", "liegen"),
            np("key"),
            "prog",
            place=("on the table", prepositional_phrase("auf", "dat", np("table"))),
        ),
        "The key is lying on the table.",
        "Der Schlüssel liegt auf dem Tisch.",
    ),
    # reflexives: accusative, dative, before a full subject; prepositional object
    (
        clause(("look", "ansehen"), pro("i"), "fut", obj=np("picture")),
        "I will look at the picture.",
        "Ich werde mir das Bild ansehen.",
    ),
    (
        clause(("look", "freuen"), np("man"), "pres", pobj=np("party"), time=TODAY, front="time"),
        "Today the man looks forward to the party.",
        "Heute freut sich der Mann auf die Party.",
    ),
    # passive with an agent; future passive
    (
        clause(("repair", "reparieren"), np("clock"), passive=True, agent=np("mechanic")),
        "The clock was repaired by the mechanic.",
        "Die Uhr wurde vom Mechaniker repariert.",
    ),
    (
        clause(("repair", "reparieren"), np("clock"), "prog", passive=True),
        "The clock is being repaired.",
        "Die Uhr wird repariert.",
    ),
    # likes to is gern
    (
        clause(READ, pro("he"), "pres", modal="like", obj=np("book", "a", plural=True)),
        "He likes to read books.",
        "Er liest gern Bücher.",
    ),
    # owners
    (
        clause(BUY, pro("we"), obj=np("car", "", "old", owner=np("teacher"))),
        "We bought the teacher's old car.",
        "Wir haben das alte Auto des Lehrers gekauft.",
    ),
    (
        clause(("help", "helfen"), pro("we"), iobj=np("brother", "", "young", owner=ANNA)),
        "We helped Anna's young brother.",
        "Wir haben Annas jungem Bruder geholfen.",
    ),
    (
        clause(("visit", "besuchen"), pro("we"), obj=name("Weber", "m", "Mr")),
        "We visited Mr Weber.",
        "Wir haben Herrn Weber besucht.",
    ),
    # numbers, comparison, superlative
    (
        clause(BUY, pro("we"), obj=np("apple", "twenty-one", "green", plural=True)),
        "We bought twenty-one green apples.",
        "Wir haben einundzwanzig grüne Äpfel gekauft.",
    ),
    (
        clause(SEE, ANNA, obj=np("bridge", "the", "high+superlative")),
        "Anna saw the highest bridge.",
        "Anna hat die höchste Brücke gesehen.",
    ),
    (
        be(np("house"), "bigger than the garden", "größer als der Garten"),
        "The house is bigger than the garden.",
        "Das Haus ist größer als der Garten.",
    ),
]


@pytest.mark.parametrize(("c", "en", "de"), MAIN, ids=[m[1] for m in MAIN])
def test_main_clauses(c: Any, en: str, de: str) -> None:
    assert declarative(c) == (en, de)


def test_verb_final_clauses() -> None:
    main = clause(("stay", "bleiben"), ANNA, place=("in Berlin", "in Berlin"))
    cases = {
        "weil er angekommen ist": clause(("arrive", "ankommen"), pro("he")),
        "weil er morgen ankommen wird": clause(
            ("arrive", "ankommen"), pro("he"), "fut", time=("tomorrow", "morgen")
        ),
        "weil sie ihn anruft": clause(("call", "anrufen"), pro("she"), "pres", obj=pro("he")),
        "weil sich Peter ausruhen muss": clause(("rest", "ausruhen"), PETER, "pres", modal="have"),
    }
    for german, sub in cases.items():
        pair = CLAUSE.subordinated(main, " because", "weil", sub)
        assert pair[1] == f"Anna ist in Berlin geblieben, {german}."
    sub = cases["weil er angekommen ist"]
    assert CLAUSE.subordinated(main, " because", "weil", sub)[0] == "Anna stayed in Berlin because he arrived."
    assert de_clause(sub, "verb_first") == "ist er angekommen"


def test_relative_clauses() -> None:
    sold = Relative(clause(("sell", "verkaufen"), PETER, obj=np("table")), "obj")
    c = clause(BUY, ANNA, obj=np("table", rel=sold))
    assert declarative(c) == (
        "Anna bought the table that Peter sold.",
        "Anna hat den Tisch gekauft, den Peter verkauft hat.",
    )
    inner = Relative(
        clause(
            READ,
            np("woman"),
            obj=np("letter", rel=Relative(clause(("write", "schreiben"), pro("i"), obj=np("letter")), "obj")),
        ),
        "subj",
    )
    c = clause(("cry", "weinen"), np("woman", rel=inner), "prog")
    assert declarative(c) == (
        "The woman who read the letter that I wrote is crying.",
        "Die Frau, die den Brief gelesen hat, den ich geschrieben habe, weint.",
    )
    cases = {
        ("iobj", "children", ", denen Peter geholfen hat,"): clause(("help", "helfen"), PETER, iobj=np("child")),
        ("pobj", "children", ", auf die Peter wartet,"): clause(
            ("wait", "warten"), PETER, "prog", pobj=np("child")
        ),
        ("place", "hotel", ", in dem ich arbeite,"): clause(
            ("work", "arbeiten"), pro("i"), "pres", place=("in", "in")
        ),
        ("whose", "woman", ", deren Auto rot ist,"): be(NP(NOUNS["car"]), "red", "rot"),
    }
    for (role, head, german), c in cases.items():
        noun = np("child", plural=True) if head == "children" else np(head)
        assert Relative(c, role).de(noun) == german
    assert prepositional_phrase("in", "dat", np("house")) == "im Haus"
    assert prepositional_phrase("in", "dat", np("house", rel=sold)) == "in dem Haus"


@pytest.mark.parametrize(("key", "german"), [("table", "er"), ("lamp", "sie"), ("radio", "es")])
def test_it_takes_the_gender_of_its_noun(key: str, german: str) -> None:
    it = NP(pronoun="it_" + NOUNS[key].gender)
    assert de_clause(be(it, "new", "neu"), "verb_final") == f"{german} neu ist"
    assert en_clause(be(it, "new", "neu")) == "it is new"


def test_questions_commands_and_infinitives() -> None:
    c = clause(READ, ANNA, obj=np("book"))
    assert (en_clause(c, "interrogative"), de_clause(c, "verb_first")) == (
        "did Anna read the book",
        "hat Anna das Buch gelesen",
    )
    assert en_clause(c, "interrogative", "obj") == "did Anna read"
    assert de_clause(c, "verb_second", "was", "obj") == "was hat Anna gelesen"
    c = clause(("go", "gehen"), pro("he"), "prog", goal=("to the park", "in den Park"))
    assert (en_clause(c, "interrogative", "goal"), de_clause(c, "verb_second", "wohin", "goal")) == (
        "is he going",
        "wohin geht er",
    )
    you = clause(("open", "öffnen"), pro("you"), "pres", obj=np("window"))
    assert (en_clause(you, "imperative"), de_clause(you, "imperative")) == ("open the window", "öffne das Fenster")
    you = replace(you, verb=LEXICON.verb("forget", "vergessen"), negated=True)
    assert (en_clause(you, "imperative"), de_clause(you, "imperative")) == (
        "do not forget the window",
        "vergiss das Fenster nicht",
    )
    rest = clause(("rest", "ausruhen"), pro("i"), "pres")
    assert (en_clause(rest, "to_infinitive"), de_clause(rest, "zu_infinitive")) == ("to rest", "mich auszuruhen")
    walk = clause(("go", "spazieren gehen"), pro("i"), "pres")
    assert (en_clause(walk, "to_infinitive"), de_clause(walk, "zu_infinitive")) == (
        "to go for a walk",
        "spazieren zu gehen",
    )


def test_every_kind_writes_sentences() -> None:
    sampler = SAMPLING.Sampler(5)
    needed = {KINDS.correction: ", sondern ", KINDS.infinitive: "zu", KINDS.anaphora: ", "}
    for kind, _ in KINDS.KINDS:
        for _ in range(20):
            en, de = kind(sampler)
            assert needed.get(kind, "") in de and en[-1] == de[-1]
    assert max(w for _, w in KINDS.KINDS) / sum(w for _, w in KINDS.KINDS) <= 0.15


NOUN_FORMS = {  # genitive, plural, dative plural
    "man": "Mannes Männer Männern",
    "boy": "Jungen Jungen Jungen",
    "student": "Studenten Studenten Studenten",
    "woman": "Frau Frauen Frauen",
    "book": "Buches Bücher Büchern",
    "car": "Autos Autos Autos",
    "museum": "Museums Museen Museen",
    "garden": "Gartens Gärten Gärten",
    "bus": "Busses Busse Bussen",
    "secret": "Geheimnisses Geheimnisse Geheimnissen",
    "tree": "Baumes Bäume Bäumen",
    "kitchen_table": "Küchentisches Küchentische Küchentischen",
    "apple": "Apfels Äpfel Äpfeln",
    "waitress": "Kellnerin Kellnerinnen Kellnerinnen",
    "hotel_room": "Hotelzimmers Hotelzimmer Hotelzimmern",
}


@pytest.mark.parametrize("key", NOUN_FORMS)
def test_noun_paradigms(key: str) -> None:
    noun = NOUNS[key]
    forms = [noun.de_form("gen", False), noun.de_form("nom", True), noun.de_form("dat", True)]
    assert " ".join(forms) == NOUN_FORMS[key]


def test_compounds_use_their_linking_elements() -> None:
    compounds = {
        "birthday_cake": "Geburtstagskuchen",
        "kitchen_table": "Küchentisch",
        "bookshelf": "Bücherregal",
        "school_director": "Schuldirektor",
        "love_story": "Liebesgeschichte",
    }
    assert {key: NOUNS[key].de for key in compounds} == compounds


def test_adjective_endings() -> None:
    expected = {
        ("the", "nom"): "der alte Tisch",
        ("the", "acc"): "den alten Tisch",
        ("the", "gen"): "des alten Tisches",
        ("a", "nom"): "ein alter Tisch",
        ("a", "dat"): "einem alten Tisch",
        ("my", "acc"): "meinen alten Tisch",
    }
    for (det, case), phrase in expected.items():
        assert np("table", det, "old").de(case) == phrase
    assert np("house", "a", "expensive").de("nom") == "ein teures Haus"
    assert np("tower", "the", "high").de("dat") == "dem hohen Turm"
    assert np("milk", "a", "cold").de("dat") == "kalter Milch"
    assert np("book", "three", "new", plural=True).de("dat") == "drei neuen Büchern"
    assert np("book", "our", "new", plural=True).de("nom") == "unsere neuen Bücher"
    assert np("book", "many", "new", plural=True).de("acc") == "viele neue Bücher"
    assert np("room", "a", "dark").en() == "a dark room"
    assert (np("egg", "a").en(), np("university", "a").en(), np("man", "a", "honest").en()) == (
        "an egg",
        "a university",
        "an honest man",
    )


def test_verb_forms() -> None:
    present = {
        ("read", "lesen"): "lese liest liest lesen",
        ("work", "arbeiten"): "arbeite arbeitest arbeitet arbeiten",
        ("drive", "fahren"): "fahre fährst fährt fahren",
        ("feed", "füttern"): "füttere fütterst füttert füttern",
        ("dance", "tanzen"): "tanze tanzt tanzt tanzen",
        ("invite", "einladen"): "lade lädst lädt laden",
    }
    for key, forms in present.items():
        assert " ".join(LEXICON.verb(*key).de_present(p) for p in range(4)) == forms
    participles = {
        ("visit", "besuchen"): "besucht",
        ("repair", "reparieren"): "repariert",
        ("celebrate", "feiern"): "gefeiert",
        ("answer", "beantworten"): "beantwortet",
    }
    assert {k: LEXICON.verb(*k).de_participle for k in participles} == participles
    assert LEXICON.verb("pick", "abholen").de_zu_infinitive() == "abzuholen"
    assert WORDS.number_word(21) == ("twenty-one", "einundzwanzig")
    assert WORDS.number_word(70) == ("seventy", "siebzig")
    assert [
        LEXICON.verb(e, d).en_form("ing", 2)
        for e, d in (("lie", "liegen"), ("swim", "schwimmen"), ("write", "schreiben"))
    ] == ["lying", "swimming", "writing"]
    assert LEXICON.verb("carry", "tragen").en_form("pres", 2) == "carries"


def test_no_english_noun_has_two_german_forms() -> None:
    rows = READERS.read_table("nouns.tsv") + READERS.read_table("compounds.tsv")
    nouns = [row["english"] for row in rows]
    assert len(nouns) == len(set(nouns)) == len(NOUNS)
    classes = set(READERS.read_groups("noun_classes.txt"))
    assert not classes & set(NOUNS), "a class named like a noun would select its members too"


def test_the_lexicon_is_consistent() -> None:
    classes = set().union(*(noun.classes for noun in NOUNS.values()))
    complementizers = {"that", "whether", "to"}
    for verb in LEXICON.VERBS:
        assert verb.selects <= (complementizers if "clausal" in verb.frame else classes), verb.en
        assert set(verb.manner) <= set(LEXICON.MANNER), verb.en
    assert all(adjective.modifies <= classes for adjective in LEXICON.ADJECTIVES)
    assert set().union(*LEXICON.SETTINGS.values()) <= classes
    assert set(LEXICON.PLACES) <= set(NOUNS)


@pytest.mark.parametrize(
    ("name", "columns"), [("verbs.tsv", ("frame", "properties")), ("adjectives.tsv", ("properties",))]
)
def test_lexicon_files_document_their_values(name: str, columns: tuple[str, ...]) -> None:
    text = (READERS.FOLDER / name).read_text(encoding="utf-8")
    documented = set(re.findall(r"\w+", "".join(re.findall(r"(?m)^#.*\n", text))))
    for row in READERS.read_table(name):
        for column in columns:
            assert set(row[column].split()) <= documented, row


def test_a_row_with_a_missing_column_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.tsv").write_text("# comment\nenglish\tgerman\nhouse\tHaus\ncar\n", encoding="utf-8")
    monkeypatch.setattr(READERS, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"words\.tsv: 1 columns instead of 2: \['car'\]"):
        READERS.read_table("words.tsv")


# ------------------------------------------------------------------------------- the files


@pytest.fixture(scope="module")
def pairs() -> dict[str, list[tuple[str, str]]]:
    sides = {n: [(SAMPLE / f"{n}.{s}").read_bytes().decode() for s in ("en", "de")] for n in COUNTS}
    assert all(text.endswith("\n") and "\r" not in text for texts in sides.values() for text in texts)
    return {n: list(zip(en.splitlines(), de.splitlines(), strict=True)) for n, (en, de) in sides.items()}


def test_files_are_what_the_seed_makes(pairs: dict[str, list[tuple[str, str]]]) -> None:
    assert SCRIPT.main(["--check", "--out", str(SAMPLE)]) == 0
    assert {name: len(split) for name, split in pairs.items()} == COUNTS


def test_seed_decides(tmp_path: Path) -> None:
    size = ["--train", "60", "--valid", "5", "--test", "5"]
    for folder, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert SCRIPT.main([*size, "--seed", seed, "--out", str(tmp_path / folder)]) == 0
    text = {f: (tmp_path / f / "train.de").read_bytes() for f in "abc"}
    assert text["a"] == text["b"] != text["c"]
    check = [*size, "--seed", "3", "--check", "--out", str(tmp_path / "a")]
    assert SCRIPT.main(check) == 0
    (tmp_path / "a" / "test.de").write_text("Anders.\n", encoding="utf-8")
    assert SCRIPT.main(check) == 1


def test_splits_are_disjoint(pairs: dict[str, list[tuple[str, str]]]) -> None:
    every = [pair for split in pairs.values() for pair in split]
    for side in (0, 1):
        assert len({pair[side] for pair in every}) == len(every)


def test_sentences_are_clean(pairs: dict[str, list[tuple[str, str]]]) -> None:
    lengths = []
    for en, de in (pair for split in pairs.values() for pair in split):
        lengths.append(len(en.split()))
        assert en[-1] == de[-1] and en[-1] in ".?!", en
        for text in (en, de):
            assert not text[0].islower() and text == text.strip(), text
            assert not re.search(r"  |,,| ,|[,.]\.|\b(in dem|zu der|bei dem) [A-ZÄÖÜ]\w+[.?!]", text), text
        assert not re.search(r"\ba [aeio]|\ban [^aeiouh]", en), en
    assert min(lengths) >= 3 and max(lengths) <= 30 and 10 <= sum(lengths) / len(lengths) <= 12


def test_vocabulary(pairs: dict[str, list[tuple[str, str]]]) -> None:
    for side in (0, 1):
        known = Counter(w for pair in pairs["train"] for w in BUILD.word_types(pair[side]))
        assert len({w.lower() for w in known}) >= 600
        assert all(known[w] >= 5 for pair in pairs["test"] for w in BUILD.word_types(pair[side]))
    size = sum(path.stat().st_size for path in SAMPLE.iterdir())
    assert size < 3_000_000


def test_a_named_subject_keeps_its_reflexive_in_the_infinitive() -> None:
    c = clause(("get", "anziehen"), PETER, "pres")
    assert (de_clause(c, "zu_infinitive"), de_clause(c, "verb_final")) == ("sich anzuziehen", "sich Peter anzieht")
