"""Filters of sentence pairs: each says which pairs to exclude from training, with its reason."""
