"""XLIFF: open targets are filled, with the inline elements of their sources; everything else stays."""

from __future__ import annotations

import pytest
from document_helpers import Reversal, reverse_words, sentences, translate
from lxml import etree

from transformer_cli.deployment.documents.xliff import XliffDocument, looks_like_xliff
from transformer_cli.errors import DataError

V1 = """<?xml version="1.0" encoding="UTF-8"?>
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2" xmlns:x="urn:x">
  <file original="a.txt" source-language="en" datatype="plaintext"><header/><body>
    <!-- A comment -->
    <trans-unit id="1"><source>The <g id="1">black</g> dog<x id="2"/> sees <bpt id="3">&lt;b></bpt>the house<ept id="3">&lt;/b></ept>.</source></trans-unit>
    <trans-unit id="2"><source>Done.</source><target state="translated">Fertig.</target></trans-unit>
    <trans-unit id="3" x:y="z"><source>A cat.</source><target state="new">?</target><note>Keep</note></trans-unit>
    <trans-unit id="4" translate="no"><source>Not this</source></trans-unit>
    <trans-unit id="5"><source>One. Two.</source><seg-source><mrk mtype="seg" mid="0">One.</mrk> <mrk mtype="seg" mid="1">Two <ph id="1">x</ph> three.</mrk></seg-source></trans-unit>
    <group translate="no"><trans-unit id="6"><source>Not this</source></trans-unit><trans-unit id="7" translate="yes"><source>But <mrk mtype="protected">not this</mrk> here</source></trans-unit></group>
    <trans-unit id="8" approved="yes"><source>Approved</source><target/></trans-unit>
  </body></file>
</xliff>
"""
V2 = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en" trgLang="de">
 <file id="f"><unit id="1">
  <originalData><data id="d">x</data></originalData>
  <segment id="s"><source>The <pc id="1">black <ph id="2"/></pc>dog sees <sc id="3"/>a house<ec startRef="3"/>.</source></segment>
  <ignorable><source> </source></ignorable>
  <segment state="final"><source>Old.</source><target>Alt.</target></segment>
 </unit></file>
</xliff>
"""


def without_targets(data: bytes) -> bytes:
    """The document in canonical form, without what filling changes."""
    root = etree.fromstring(data)
    for target in root.findall(".//{*}target"):
        target.getparent().remove(target)
    for element in root.iter("{*}segment"):
        element.attrib.pop("state", None)
    return etree.tostring(root, method="c14n")


def targets(data: bytes) -> list[str]:
    found = [etree.tostring(t, with_tail=False).decode() for t in etree.fromstring(data).findall(".//{*}target")]
    return [text[text.index(">") + 1 : -len("</target>")] for text in found]


def test_what_is_translated() -> None:
    assert sentences(XliffDocument(V1.encode())) == [
        "The black dog sees the house.",
        "A cat.",
        "One.",
        "Two three.",
        "But here",
    ]
    assert sentences(XliffDocument(V2.encode())) == ["The black dog sees a house."]
    assert sentences(XliffDocument(V2.encode(), retranslate=True)) == ["The black dog sees a house.", "Old."]


@pytest.mark.parametrize("text", [V1, V2])
def test_with_a_copy_only_targets_are_added(text: str) -> None:
    changed = translate(XliffDocument(text.encode()), str)
    assert without_targets(changed) == without_targets(text.encode())
    root = etree.fromstring(changed)
    for target in root.findall(".//{*}target"):
        source = target.getparent().find("{*}seg-source")
        source = target.getparent().find("{*}source") if source is None else source
        if target.get("state") == "needs-review-translation" or target.getparent().get("state") == "translated":
            assert [etree.tostring(e, method="c14n", with_tail=True) for e in target] == [
                etree.tostring(e, method="c14n", with_tail=True) for e in source
            ]
            assert target.text == source.text


def test_inline_elements_stay_on_their_words() -> None:
    first, done, cat, marked, protected, approved = targets(
        translate(XliffDocument(V1.encode()), reverse_words, Reversal)
    )
    assert (
        first
        == '<bpt id="3">&lt;b&gt;</bpt>house the<ept id="3">&lt;/b&gt;</ept> sees dog<x id="2"/> <g id="1">black</g> The.'
    )
    assert (done, cat, approved) == ("Fertig.", "cat A.", "")
    assert (
        marked == '<mrk mtype="seg" mid="0">One.</mrk> <mrk mtype="seg" mid="1"><ph id="1">x</ph> three Two.</mrk>'
    )
    assert protected == '<mrk mtype="protected">not this</mrk> here But'
    (first, old) = targets(translate(XliffDocument(V2.encode()), reverse_words, Reversal))
    assert first == '<sc id="3"/>house a<ec startRef="3"/> sees dog <pc id="1"><ph id="2"/>black</pc> The.'
    assert old == "Alt."


def test_states_and_languages() -> None:
    root = etree.fromstring(translate(XliffDocument(V1.encode()), str.upper, language="de"))
    assert root.find("{*}file").get("target-language") == "de"
    third = root.findall(".//{*}trans-unit")[2]
    assert [child.tag.split("}")[1] for child in third] == ["source", "target", "note"]
    assert third[1].attrib == {"state": "needs-review-translation", "state-qualifier": "leveraged-mt"}
    assert XliffDocument(V1.encode()).language == "en"
    segment = etree.fromstring(translate(XliffDocument(V2.encode()), str.upper, language="fr"))
    assert (segment.get("trgLang"), segment.find(".//{*}segment").get("state")) == ("de", "translated")


def test_a_finished_document_stays_the_same() -> None:
    document = XliffDocument(V1[: V1.index("    <!--")].encode() + b"</body></file></xliff>\n")
    assert translate(document, str, language="de") == document._data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<xliff", "line 1: is not well-formed XML"),
        ("<tmx/>", "is no XLIFF document: its root element is <tmx>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><xliff/>", "declares XML entities"),
        ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><xliff>&a;</xliff>", "declares XML entities"),
        ("<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/'> %p;]><xliff/>", "declares XML entities"),
        ("<xliff>" + "<group>" * 1000, "line 1: is not well-formed XML"),
        ("<?xml version='1.0' encoding='unknown'?><xliff/>", "is not well-formed XML"),
        ("", "is not well-formed XML"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        XliffDocument(text.encode())


def test_recognition() -> None:
    assert looks_like_xliff(V1.encode()) and looks_like_xliff(V2.encode("utf-16"))
    assert not looks_like_xliff(b"<tmx>") and not looks_like_xliff(b"xliff")
