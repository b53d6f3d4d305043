"""Joins configuration, text, model, training and search; owns the run directory."""
