"""Random noun phrases, adverbials and clauses. `Sampler` is the class to use."""

from __future__ import annotations

from sample_corpus.sampling.clauses import Sampler

__all__ = ["Sampler"]
