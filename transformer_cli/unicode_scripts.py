"""Character ranges of the scripts that are written without spaces between words."""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters, as the inside of a character class."""
KANA = "\u3040-\u30ff"
"""Hiragana and katakana, as the inside of a character class."""
UNSPACED = re.compile(f"[{HAN}{KANA}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""A character of a script without spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer."""
