"""A corpus as a stream of pairs that can be read several times, without being in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from transformer_cli.data.corpus import explain_unequal_lengths
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.pipeline import BATCH
from transformer_cli.data.normalization import Normalizer
from transformer_cli.data.parallel import ordered_map
from transformer_cli.data.readers.corpus_files import PairSource, describe
from transformer_cli.data.readers.pairs import PairReport, Row
from transformer_cli.data.text import Notify
from transformer_cli.schema.data import NormalizationConfig

Batch = list[tuple[int, Row]]
"""Rows as they were read, each with the index of its source."""
Result = TypeVar("Result")


class CorpusStream:
    """The pairs of several sources in order, normalised.

    A source that is not a regular file, such as a pipe, can be read only once and is kept in memory.

    Attributes:
        reports: of the sources; complete after the first pass.
    """

    def __init__(
        self, sources: Sequence[PairSource], notify: Notify, normalization: NormalizationConfig | None = None
    ) -> None:
        self.sources = sources
        self.reports: list[PairReport] = []
        self._normalize = Normalizer(normalization or NormalizationConfig())
        self._notify = notify
        self._kept: dict[int, list[Row]] = {}

    def __iter__(self) -> Iterator[Pair]:
        """Read all pairs. Raises: DataError."""
        if self._normalize.is_identity:
            for batch in self._batches():
                yield from self.pairs(batch)
        else:
            for _, texts in self.map(lambda pairs: [(pair.line, pair.src, pair.tgt, pair.file) for pair in pairs]):
                yield from (Pair(*text) for text in texts)

    def map(self, function: Callable[[list[Pair]], Result]) -> Iterator[tuple[Batch, Result]]:
        """Read all pairs, and process batches of `BATCH` pairs in parallel; see `ordered_map`.

        Yields:
            Each batch, of which `pairs` makes pairs, with the result of `function` for its pairs.

        Raises:
            DataError
        """
        return ordered_map(lambda batch: function(self.pairs(batch)), self._batches())

    def pairs(self, batch: Batch) -> list[Pair]:
        """The pairs of a batch, normalised."""
        normalize = self._normalize
        return [Pair(row.line, normalize(row.src), normalize(row.tgt), file) for file, row in batch]

    def _batches(self) -> Iterator[Batch]:
        rows = ((file, row) for file, source in enumerate(self.sources) for row in self._rows(file, source))
        while batch := list(islice(rows, BATCH)):
            yield batch

    def location(self, pair: Pair) -> str:
        """The file and line of a pair, for messages."""
        return f"{self.sources[pair.file].path}, line {pair.line:,}"

    @property
    def messages(self) -> list[str]:
        """Warnings from reading; complete after the first pass."""
        pairs = zip(self.sources, self.reports, strict=False)
        return [message for source, report in pairs for message in report.messages(str(source.path))]

    def _rows(self, index: int, source: PairSource) -> Iterator[Row]:
        if index in self._kept:
            yield from self._kept[index]
            return
        report = PairReport()
        first = len(self.reports) == index
        again = all(path.is_file() for path in source.paths)
        rows = self._kept.setdefault(index, []) if not again else []
        with explain_unequal_lengths():
            for row in source.rows(report):
                if not again:
                    rows.append(row)
                yield row
        if first:
            self.reports.append(report)
            for note in describe(source, report):
                self._notify(note)
