"""Decides when the compiled search pays off, loads it then, and starts it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer_cli.decoding.execution.compiled.loading import (
    cache_directory,
    is_compiled,
    load_search,
    mark_compiled,
)
from transformer_cli.decoding.search.base import Search
from transformer_cli.decoding.search.hypothesis import Scorer
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS, TokenIds

MIN_SENTENCES = 500
"""Sentences from which loading the compiled functions costs less time than it saves."""
MIN_SENTENCES_TO_COMPILE = 4000
"""Sentences from which compiling them does, which is done once on a machine."""


class CompiledSearcher:
    """Starts compiled searches once a text has enough sentences. Several threads may use it."""

    def __init__(
        self,
        model: Seq2Seq,
        config: ModelConfig,
        *,
        beam: int,
        n_best: int,
        scorer: Scorer,
        scored: bool,
        int8: bool = False,
        always: bool = False,
    ) -> None:
        """
        Args:
            model: as trained; `compiled_unsupported_reason` must be empty for it.
            beam, n_best, scorer, scored: as in `BeamSearch`, or in `GreedySearch` if `beam` is 1.
            int8: quantize the weights.
            always: use it for every text.
        """
        self.model, self.config = model, config
        self.beam, self.n_best, self.scorer, self.scored = beam, n_best, scorer, scored
        self.int8, self.always = int8, always
        self.sentences = 0
        self._search: Any = None
        self._packed: Any = None
        self._failed = False
        self._lock = threading.Lock()

    def expect(self, sentences: int) -> bool:
        """Announce sentences to translate. Loads the compiled functions if that pays off.

        Returns:
            Whether they are loaded.
        """
        with self._lock:
            self.sentences += sentences
            if self._packed is None and not self._failed and sentences:
                self._load(sentences)
            return self._packed is not None

    def start(self, sources: Sequence[TokenIds], limits: Sequence[int]) -> Search | None:
        """A search of these sentences, ids without EOS; None if the compiled functions are not loaded.

        `limits`: the maximum number of tokens of each translation, EOS included.
        """
        if self._packed is None:
            return None
        return self._start(self._packed, sources, limits)

    def _start(self, packed: Any, sources: Sequence[TokenIds], limits: Sequence[int]) -> Search:
        search: Search
        if self.beam == 1:
            search = self._search.CompiledGreedySearch(
                packed, sources, limits, scorer=self.scorer, scored=self.scored
            )
        else:
            search = self._search.CompiledBeamSearch(
                packed, sources, limits, beam=self.beam, n_best=self.n_best, scorer=self.scorer
            )
        return search

    def _load(self, sentences: int) -> None:
        name, directory = "greedy" if self.beam == 1 else "beam", cache_directory()
        if directory is None:
            self._failed = True
            return
        compiled = is_compiled(directory, name)
        # A server announces few sentences at a time: it must not stop to compile.
        expected = self.sentences if compiled else min(self.sentences, 4 * sentences)
        if not self.always and expected < (MIN_SENTENCES if compiled else MIN_SENTENCES_TO_COMPILE):
            return
        if not compiled:
            print("note: compiling the search for this processor; this is done once", file=sys.stderr)
        self._search = load_search(directory)
        packed = self._search.PackedTransformer(self.model, self.config, int8=self.int8)
        if not np.isfinite(packed.decoder.weights).all():
            self._failed = True  # torch handles NaN and infinity as documented
            return
        warm_up = self._start(packed, [np.array([EOS + 1])], [2])
        while warm_up.num_active:
            warm_up.step()
        mark_compiled(directory, name)
        self._packed = packed
