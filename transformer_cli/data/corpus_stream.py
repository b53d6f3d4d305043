"""A corpus as a stream of pairs that can be read several times, without being in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformer_cli.data.corpus import explain_unequal_lengths
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.normalization import Normalizer
from transformer_cli.data.readers.corpus_files import PairSource, describe
from transformer_cli.data.readers.pairs import PairReport, Row
from transformer_cli.data.text import Notify
from transformer_cli.schema.data import NormalizationConfig


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
        normalize = self._normalize
        for index, source in enumerate(self.sources):
            for row in self._rows(index, source):
                yield Pair(row.line, normalize(row.src), normalize(row.tgt), index)

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
