"""Exports for other programs, each verified against the translations of this program."""
