"""Names of languages and of columns, by which the header of a table is recognised."""

from __future__ import annotations

import re

NAMES = """
af afrikaans|am amharic|ar arabic arabisch arabe|az azerbaijani|be belarusian|bg bulgarian bulgarisch|bn bengali|
bs bosnian|ca catalan català|cs czech tschechisch čeština česky tchèque|cy welsh cymraeg|da danish dänisch dansk|
de german deutsch allemand alemán tedesco němčina|el greek griechisch ελληνικά|
en english englisch anglais inglés inglese angličtina|eo esperanto|
es spanish spanisch español espagnol spagnolo castellano|et estonian eesti|eu basque euskara|fa persian farsi|
fi finnish finnisch suomi|fr french französisch français francés francese francouzština|ga irish gaeilge|
gl galician galego|gu gujarati|ha hausa|he hebrew|hi hindi|hr croatian kroatisch hrvatski|ht haitian|
hu hungarian ungarisch magyar|hy armenian|id indonesian|ig igbo|is icelandic íslenska|
it italian italienisch italiano italien|ja japanese japanisch 日本語|ka georgian|kk kazakh|km khmer|kn kannada|
ko korean koreanisch 한국어|ku kurdish|ky kyrgyz|la latin latein|lb luxembourgish|lo lao|lt lithuanian|lv latvian|
mg malagasy|mi maori|mk macedonian|ml malayalam|mn mongolian|mr marathi|ms malay|mt maltese|my burmese|ne nepali|
nl dutch niederländisch nederlands néerlandais|no norwegian norsk|nb|nn|ny|oc occitan|or odia|pa punjabi|
pl polish polnisch polski polonais|ps pashto|pt portuguese portugiesisch português portugais|qu quechua|
ro romanian rumänisch română|ru russian russisch русский russe|rw kinyarwanda|sd sindhi|si sinhala|
sk slovak slovenčina|sl slovenian slovene|sm|sn shona|so somali|sq albanian|sr serbian|st|su|sv swedish svenska|
sw swahili kiswahili|ta tamil|te telugu|tg tajik|th thai ไทย|tk turkmen|tl tagalog filipino|tr turkish türkçe|
tt tatar|ug uyghur|uk ukrainian українська|ur urdu|uz uzbek|vi vietnamese|wo wolof|xh xhosa|yi yiddish|yo yoruba|
zh chinese chinesisch chinois 中文 汉语|zu zulu
"""
"""ISO 639-1 codes with names of the languages, in English and in languages that spreadsheets are often in."""
CODES = {name: words[0] for words in (entry.split() for entry in NAMES.split("|")) for name in words}
"""Name or code of a language -> its code."""
COLUMN_NAMES = frozenset(
    "source target src tgt trg ref reference text sentence sentences translation translated original input output "
    "src_text tgt_text source_text target_text quelle ziel übersetzung lang language id no nr number # index line "
    "comment comments note notes".split()
)
"""Other names of columns in a header."""


def language_code(name: str) -> str:
    """The code of a language given by its name or code, with or without a region (`en-US`); empty if unknown."""
    word = name.strip().casefold()
    return CODES.get(word, "") or CODES.get(re.split(r"[-_]", word)[0] if len(word) <= 7 else "", "")


def is_column_name(cell: str) -> bool:
    """Whether a cell names a column: a language, or a word such as `source`."""
    return cell.strip().casefold() in COLUMN_NAMES or bool(language_code(cell))


def same_name(a: str, b: str) -> bool:
    """Whether two names of columns or languages mean the same: `English`, `en` and `EN-us` do."""
    return a.strip().casefold() == b.strip().casefold() or "" != language_code(a) == language_code(b)


def suffix_of(name: str, default: str) -> str:
    """The suffix of a file for the language or column of this name."""
    return language_code(name) or (name if re.fullmatch(r"[A-Za-z][A-Za-z_-]{0,15}", name) else default)


def language_name(code: str) -> str:
    """The English name of a language; the code itself if it is unknown."""
    entry = next((words for words in (e.split() for e in NAMES.split("|")) if words[0] == code), [code])
    return entry[1].capitalize() if len(entry) > 1 else code
