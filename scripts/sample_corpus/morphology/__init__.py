"""Inflection of English and German words, function words and numerals."""
