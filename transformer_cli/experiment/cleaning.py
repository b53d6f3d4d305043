"""Implementation of `clean`: write the pairs to keep, the removed ones with their reasons, and a report."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from transformer_cli import durable
from transformer_cli.data.corpus_stream import Batch, CorpusStream
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.pipeline import Judge, build_filters
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.readers.corpus_files import CorpusFiles, DataFile, read_form
from transformer_cli.data.readers.pairs import PairReport
from transformer_cli.data.text import Notify, encode_lines, read_text
from transformer_cli.errors import DataError
from transformer_cli.schema.data import DataConfig

REMOVED_COLUMNS = ("file", "line", "reason", "source", "target")
"""Header of the file of removed pairs."""


@dataclass(frozen=True)
class CleanRequest:
    """Arguments of `clean`.

    Attributes:
        output: prefix of the files to write.
        excluded: files, text or with both languages, whose lines must not occur in the result.
    """

    files: CorpusFiles
    output: Path
    config: DataConfig
    excluded: Sequence[Path] = ()
    strict_utf8: bool = False


@dataclass(frozen=True)
class CleanReport:
    """What was kept and removed: `read` is `kept` and all of `removed` together.

    Attributes:
        removed: number of pairs by reason, in falling order.
        outputs: the files that were written.
    """

    read: int
    kept: int
    removed: dict[str, int]
    outputs: list[str] = field(default_factory=list)


def clean_corpus(request: CleanRequest, notify: Notify) -> CleanReport:
    """Filter a corpus in two passes, the first of which learns what is usual in it. Memory does not grow with it,
    except for 16 bytes a pair if repetitions are removed.

    Raises:
        UserError: unreadable or misaligned files, an output that is an input, or no pair left; nothing is written.
    """
    sources = request.files.sources(strict_utf8=request.strict_utf8)
    stream = CorpusStream(sources, notify, request.config.normalization)
    profile = CorpusProfile.draw(stream)
    for message in stream.messages:
        notify(f"warning: {message}")
    paths = _output_paths(request.output, sources[0].suffixes(stream.reports[0]))
    for path in paths.values():
        durable.check_writable(path, *request.files.paths, *request.excluded, create_parents=True)
    excluded = read_excluded(request.excluded, notify) if request.excluded else None
    filters = build_filters(request.config.filters, profile, excluded)
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        outputs = {}
        for name in ("src", "tgt", "removed"):
            outputs[name] = durable.OutputFile(paths[name])
            stack.callback(outputs[name].close)
        outputs["removed"].write(_table([REMOVED_COLUMNS]))
        judge = Judge(filters)
        for batch, (sides, judgement) in stream.map(lambda pairs: (_sides(pairs), judge.judge_alone(pairs))):
            reasons = judge.compare(judgement)
            for output, side in zip((outputs["src"], outputs["tgt"]), sides, strict=True):
                output.write(encode_lines(line for line, reason in zip(side, reasons, strict=True) if not reason))
            outputs["removed"].write(_table(_removed_rows(batch, sides, reasons, stream)))
            counts.update(reasons)
        report = CleanReport(
            read=counts.total(),
            kept=counts.pop("", 0),
            removed=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
            outputs=[str(path) for path in paths.values()],
        )
        if not report.kept:
            for output in outputs.values():
                output.partial.unlink(missing_ok=True)
            removed = ", ".join(f"{count:,} {reason}" for reason, count in report.removed.items()) or "no pairs"
            raise DataError(
                f"no pair is left: {removed}",
                hint="turn filters off with --set data.filters.NAME=..., or check the files",
            )
        # A kill while the files get their names leaves no mixture of old and new ones: the old ones go first.
        for path in reversed(paths.values()):
            path.resolve().unlink(missing_ok=True)
        for output in outputs.values():
            output.finish()
    summary = {**asdict(report), "filters": request.config.filters.model_dump()}
    summary["normalization"] = request.config.normalization.model_dump()
    durable.write_json(paths["report"], summary)
    return report


def read_excluded(files: Iterable[Path], notify: Notify) -> Iterator[str]:
    """The lines of text files, and both sides of files with both languages."""
    for path in files:
        if not path.is_file():  # a pipe, which can be read only once, or missing
            yield from read_text(path, notify)
            continue
        if read_form(path) is None:
            yield from read_text(path, notify)
            continue
        for row in DataFile(path).rows(PairReport()):
            yield row.src
            yield row.tgt


def _output_paths(prefix: Path, suffixes: tuple[str, str]) -> dict[str, Path]:
    src, tgt = suffixes if suffixes[0] != suffixes[1] else ("src", "tgt")
    names = {"src": src, "tgt": tgt, "removed": "removed.tsv", "report": "report.json"}
    return {kind: prefix.with_name(f"{prefix.name}.{suffix}") for kind, suffix in names.items()}


def _sides(pairs: Iterable[Pair]) -> tuple[list[str], list[str]]:
    return [pair.src for pair in pairs], [pair.tgt for pair in pairs]


def _removed_rows(
    batch: Batch, sides: tuple[list[str], list[str]], reasons: Sequence[str], stream: CorpusStream
) -> Iterator[Sequence[str]]:
    for (file, row), src, tgt, reason in zip(batch, *sides, reasons, strict=True):
        if reason:
            yield str(stream.sources[file].path), str(row.line), reason, src, tgt


def _table(rows: Iterable[Sequence[str]]) -> bytes:
    return encode_lines("\t".join(cell.replace("\t", " ") for cell in row) for row in rows)
