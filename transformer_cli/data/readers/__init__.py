"""Readers of text and of pairs: compressed files, encodings, tables, JSON lines and TMX."""
