"""The kinds of sentences, each with its weight in the corpus."""

from __future__ import annotations

from collections.abc import Callable

from sample_corpus.kinds.adverbial_clauses import postposed, preposed
from sample_corpus.kinds.anaphora import anaphora
from sample_corpus.kinds.complement_clauses import finite_complement, infinitive
from sample_corpus.kinds.copular import copular_clause, possession_or_existence
from sample_corpus.kinds.main_clauses import coordination, ditransitive, motion, passive, posture, simple_clause
from sample_corpus.kinds.object_focus import correction, topicalization
from sample_corpus.kinds.questions import imperative, polar_question, wh_question
from sample_corpus.kinds.relative_clauses import relative_on_object, relative_on_subject
from sample_corpus.pair import Pair
from sample_corpus.sampling import Sampler

KINDS: list[tuple[Callable[[Sampler], Pair], int]] = [
    (simple_clause, 9),
    (ditransitive, 5),
    (motion, 5),
    (posture, 2),
    (copular_clause, 6),
    (postposed, 11),
    (preposed, 11),
    (finite_complement, 9),
    (relative_on_subject, 9),
    (relative_on_object, 9),
    (wh_question, 7),
    (polar_question, 5),
    (imperative, 4),
    (correction, 3),
    (coordination, 5),
    (anaphora, 6),
    (infinitive, 6),
    (passive, 5),
    (possession_or_existence, 2),
    (topicalization, 2),
]
