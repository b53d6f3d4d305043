"""Noun phrases and clauses without word order, and their linearization in both languages."""
