"""The work behind `translate`: lines through a model as they come, and what a user wishes of the translations."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli.artifacts.loading import LoadedModel, Notify, load_ensemble
from transformer_cli.data.text import LineReport, iter_lines, read_lines
from transformer_cli.decoding.constraints.phrases import contains_phrase
from transformer_cli.decoding.invariance import check_invariance
from transformer_cli.decoding.segments import TranslationRequest
from transformer_cli.decoding.translator import Translation
from transformer_cli.errors import ConfigError, DataError, UserError
from transformer_cli.runtime import select_device, tune_process

FIRST = 256
"""Lines of a file's first chunk, so that something is there soon; later ones grow, for the sake of speed."""
GRACE = 0.05
"""Seconds that the first line of a chunk waits for others, so that a fast writer fills a batch."""
MIN_IDENTICAL_SHARE = {"fp64": 1.0, "fp32": 0.999}
"""Share of lines that no batch may change."""


@dataclass(frozen=True)
class TranslationJob:
    """What `translate` was asked for. `overrides` are decoding options; `input` None is stdin."""

    run: Path
    checkpoint: str
    ensemble: list[str]
    device: str
    overrides: Mapping[str, Any]
    request: TranslationRequest
    input: Path | None = None
    prefix: Path | None = None
    strict_utf8: bool = False

    def load(self) -> LoadedModel:
        """Raises: UserError."""
        tune_process()
        return load_ensemble(self.run, self.checkpoint, self.ensemble, select_device(self.device))


def read_text(path: Path | None, notify: Notify, *, strict_utf8: bool = False) -> list[str]:
    """The lines of a file, having said what had to be mended; none without a path. Raises: DataError."""
    if path is None:
        return []
    lines, report = read_lines(path, strict_utf8=strict_utf8, reject_binary=True)
    for message in report.messages(str(path)):
        notify(f"warning: {message}")
    return lines


def build_request(terms: Path | None, avoid: Path | None, notify: Notify, **others: Any) -> TranslationRequest:
    """Wishes with the phrases of a terminology file and of a file of what to avoid.

    Raises:
        DataError: no such file, a line of terms without a tab or with an empty side, a term to avoid and to say.
    """
    pairs = []
    for number, line in enumerate(read_text(terms, notify), 1):
        source, _, target = (part.strip() for part in line.partition("\t"))
        if not line.strip():
            continue
        if not (source and line.count("\t") == 1 and target):
            raise DataError(f"{terms}: line {number} is not 'source TAB target': {line!r}")
        pairs.append((source, target))
    forbidden = [line.strip() for line in read_text(avoid, notify) if line.strip()]
    for _, target in pairs:
        for phrase in forbidden:
            if contains_phrase(target, phrase):
                raise DataError(f"{avoid}: forbids '{phrase}', which {terms} demands in '{target}'")
    return TranslationRequest(terms=tuple(pairs), avoid=tuple(forbidden), **others)


def translate_lines(
    job: TranslationJob, size: int, notify: Notify
) -> Iterator[tuple[int, list[str], list[Translation]]]:
    """(number of the first line, source lines, their translations), chunk by chunk, as the lines come.

    Raises:
        UserError: a file, a run or options that cannot be used.
    """
    report = LineReport()
    if job.input is not None:
        lines, report = read_lines(job.input, strict_utf8=job.strict_utf8)
        if report.binary_format:  # before the work: nobody wants its lines translated, but lines they are
            notify(f"warning: {job.input}: {report.binary_format}")
        source = iter(lines)
    else:
        # A stream of its own: the thread that waits on it holds its lock, which must not be that of sys.stdin
        # when the interpreter ends.
        stdin = open(0, "rb", closefd=False)  # noqa: SIM115
        source = iter_lines(stdin, report, strict_utf8=job.strict_utf8)
    prefixes = read_text(job.prefix, notify)
    translator = job.load().translator(job.overrides, job.request)
    first, unusual = 0, {"split": 0, "cut": 0}
    with tqdm(desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        for chunk in read_chunks(source, size, eager=job.input is None):
            starts = prefixes[first : first + len(chunk)]
            if job.prefix and len(starts) < len(chunk):
                raise DataError(f"{job.prefix}: has {len(prefixes)} lines, the text has more")
            translations = translator.translate(chunk, bar.update, prefixes=starts, first=first)
            for translation in translations:
                if translation.status in unusual:
                    unusual[translation.status] += 1
            yield first, chunk, translations
            first += len(chunk)
    if job.prefix and len(prefixes) > first:
        notify(f"warning: {job.prefix}: has {len(prefixes)} lines, the text only {first}")
    for message in report.messages(str(job.input or "stdin")):
        notify(f"warning: {message}")
    if unusual["split"]:
        notify(f"note: {unusual['split']} lines were too long for the model and were translated in pieces")
    if unusual["cut"]:
        notify(f"warning: {unusual['cut']} lines held a sentence longer than the model takes, which was cut")


def measure_invariance(job: TranslationJob, notify: Notify) -> None:
    """Translate the text in several orders and batches, in fp32 and in fp64, and print what stayed the same.

    Raises:
        UserError: no text, or more lines changed than may.
    """
    text = read_text(job.input, notify, strict_utf8=job.strict_utf8)
    numbers = [number for number, line in enumerate(text, 1) if line.strip()]
    lines = [text[number - 1] for number in numbers]
    if not lines:
        raise DataError("--check-invariance needs an INPUT file with text in it")
    if job.overrides.get("sample") or job.overrides.get("mbr_samples"):
        raise ConfigError("--check-invariance is for search: a sample depends on the number of its line")
    asked = job.overrides.get("precision")
    loaded = job.load()
    average = sum(map(len, loaded.vocabularies.src.encode(lines))) / len(lines) + 1
    bad = []
    for precision in [asked] if asked else MIN_IDENTICAL_SHARE:

        def work(some: Any, batch_tokens: int, precision: str = precision) -> list[str]:
            overrides = {**job.overrides, "precision": precision, "batch_tokens": batch_tokens}
            with tqdm(
                desc=f"{precision}, {batch_tokens} tokens", total=len(some), disable=None, leave=False
            ) as bar:
                return [t.text for t in loaded.translator(overrides, job.request).translate(some, bar.update)]

        for found in check_invariance(work, lines, average):
            where = "" if found.first is None else f"; line {numbers[found.first]} differs"
            notify(f"{precision}, {found.name}: {found.same} of {found.lines} lines the same{where}")
            # One line may always be the one in a thousand.
            allowed = max(1.0, found.lines * (1 - MIN_IDENTICAL_SHARE["fp32"])) if precision == "fp32" else 0.0
            if precision in MIN_IDENTICAL_SHARE and found.lines - found.same > allowed:
                bad.append(f"{precision}, {found.name}")
    if bad:
        raise UserError(
            "the batch changed more translations than rounding explains: " + "; ".join(bad),
            hint="fp32 may change 1 line in 1,000, where two hypotheses score alike to seven digits; fp64 none",
        )


def read_chunks(lines: Iterator[str], size: int, *, eager: bool) -> Iterator[list[str]]:
    """Lists of at most `size` lines. `eager` gives what has come so far instead of waiting for more."""
    if not eager:
        wanted = min(FIRST, size)
        while chunk := list(islice(lines, wanted)):
            yield chunk
            wanted = min(2 * wanted, size)
        return
    waiting: queue.Queue[str | BaseException | None] = queue.Queue(maxsize=4 * size)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except BaseException as error:  # raised again where the lines are used
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    ended = False
    while not ended:
        chunk = []
        item = waiting.get()
        deadline = time.monotonic() + GRACE
        while isinstance(item, str):
            chunk.append(item)
            if len(chunk) == size:
                break
            try:
                item = waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
        if chunk:
            yield chunk
        if isinstance(item, BaseException):
            raise item
        ended = item is None
