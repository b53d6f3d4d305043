"""Constraints on translations: rules on the next token, required and forbidden phrases."""
