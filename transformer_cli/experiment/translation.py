"""Implementation of `translate`: stream lines through a model, and check invariance to batching."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.data.text import Notify, read_text
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.translation import UNSURE, Translation
from transformer_cli.deployment.documents.translation import DocumentJob, translate_document
from transformer_cli.deployment.engines import Model, ModelRequest, open_model, torch_translator
from transformer_cli.errors import ConfigError, DataError, UserError
from transformer_cli.experiment.source_text import Shard, SourceText, read_chunks

MIN_IDENTICAL_SHARE = {"fp64": 1.0, "fp32": 0.999}
"""Required share of lines whose translation does not depend on the batch, by precision."""


@dataclass(frozen=True)
class TranslationJob:
    """Arguments of `translate`.

    Attributes:
        model: the model, the decoding options and the requested outputs.
        input: source text; None reads stdin.
        prefix: file with a forced beginning for each translation.
        shard: part of the input to translate; None translates all of it.
    """

    model: ModelRequest
    input: Path | None = None
    prefix: Path | None = None
    strict_utf8: bool = False
    shard: Shard | None = None


def build_request(terms: Path | None, avoid: Path | None, notify: Notify, **others: Any) -> TranslationRequest:
    """Build a request with the terms of a terminology file and the phrases of a file of phrases to avoid.

    `others` are further fields of `TranslationRequest`.

    Raises:
        DataError: no such file, a line of `terms` is not 'source TAB target', or a term has a phrase to avoid.
    """
    pairs = []
    for number, line in enumerate(read_text(terms, notify) if terms else [], 1):
        source, _, target = (part.strip() for part in line.partition("\t"))
        if not line.strip():
            continue
        if not (source and line.count("\t") == 1 and target):
            raise DataError(f"{terms}: line {number} is not 'source TAB target': {line!r}")
        pairs.append((source, target))
    forbidden = [line.strip() for line in read_text(avoid, notify) if line.strip()] if avoid else []
    if pairs and forbidden:
        from transformer_cli.decoding.constraints.phrases import contains_phrase
    for _, target in pairs:
        for phrase in forbidden:
            if contains_phrase(target, phrase):
                raise DataError(f"{avoid}: forbids '{phrase}', which {terms} requires in '{target}'")
    return TranslationRequest(terms=tuple(pairs), avoid=tuple(forbidden), **others)


def translate_lines(
    job: TranslationJob, size: int, notify: Notify
) -> Iterator[tuple[int, list[str], list[Translation]]]:
    """Translate the input in chunks of at most `size` lines, as the lines are read.

    Yields:
        (number of the first line, from 0; source lines; their translations).

    Raises:
        UserError: files, run or options that cannot be used.
    """
    text = SourceText.open(job.input, strict_utf8=job.strict_utf8, shard=job.shard)
    for note in [*text.notes, *text.report.note(text.name)]:
        notify(note)
    prefixes = read_text(job.prefix, notify) if job.prefix else []
    translator = open_model(job.model, notify).translator
    first, unusual = text.first, {"split": 0, "cut": 0, "failed": 0, UNSURE: 0}
    with tqdm(
        desc="translate", unit="line", total=text.total, dynamic_ncols=True, disable=None, file=sys.stderr
    ) as bar:
        for chunk in read_chunks(text.lines, size, eager=text.total is None):
            chunk_prefixes = prefixes[first : first + len(chunk)]
            if job.prefix and len(chunk_prefixes) < len(chunk):
                raise DataError(
                    f"{job.prefix}: has {len(prefixes)} lines, the text has more",
                    hint="give one prefix per input line; a blank line forces nothing",
                )
            translations = translator.translate(chunk, bar.update, prefixes=chunk_prefixes, first=first)
            for translation in translations:
                if translation.status in unusual:
                    unusual[translation.status] += 1
            yield first, chunk, translations
            first += len(chunk)
            bar.update(first - text.first - bar.n)  # lines; the translator counts segments, and no blank lines
    if job.prefix and len(prefixes) > text.report.lines:
        notify(f"warning: {job.prefix}: has {len(prefixes)} lines, the text has only {text.report.lines}")
    for message in text.report.messages(text.name):
        notify(f"warning: {message}")
    if unusual["split"]:
        notify(f"note: {unusual['split']} lines were too long for the model and were split into segments")
    if unusual["cut"]:
        notify(
            f"warning: {unusual['cut']} lines have a sentence that is too long for the model (data.max_length) "
            "and was split in the middle; check these translations"
        )
    if unusual[UNSURE]:
        notify(f"note: {unusual[UNSURE]} of {first - text.first} lines are below --min-confidence")
    if unusual["failed"]:
        notify(f"warning: {unusual['failed']} lines have no valid translation: --avoid forbids too much")


def translate_file(job: DocumentJob, model: ModelRequest, notify: Notify) -> bytes:
    """Translate a document, with a progress bar. Raises: UserError: as in `translate_document`."""
    opened = Model(model.run, model.checkpoint, model.ensemble, model.device, notify)
    with tqdm(desc="translate", unit="sentence", dynamic_ncols=True, disable=None, file=sys.stderr) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        return translate_document(job, opened, model.overrides, model.request, notify, report)


def measure_invariance(job: TranslationJob, notify: Notify) -> None:
    """Translate the text in several orders and batch sizes, in fp32 and fp64, and report the identical lines.

    Raises:
        UserError: no text, or more lines differ than `MIN_IDENTICAL_SHARE` allows.
    """
    from transformer_cli.artifacts.loading import load_ensemble
    from transformer_cli.decoding.invariance import check_invariance
    from transformer_cli.runtime import select_device, tune_process

    text = read_text(job.input, notify, strict_utf8=job.strict_utf8) if job.input else []
    numbers = [number for number, line in enumerate(text, 1) if line.strip()]
    lines = [text[number - 1] for number in numbers]
    if not lines:
        raise DataError("--check-invariance needs an INPUT file with text in it")
    overrides, request = job.model.overrides, job.model.request
    if overrides.get("sample") or overrides.get("mbr_samples"):
        raise ConfigError("--check-invariance cannot be combined with sampling: samples depend on the line number")
    if overrides.get("engine") not in (None, "torch"):
        raise ConfigError("--check-invariance measures the engine torch: it cannot be combined with --engine")
    if job.shard is not None:
        raise ConfigError("--check-invariance cannot be combined with --shard: the check needs the whole text")
    requested = overrides.get("precision")
    tune_process()
    source = open_model_source(job.model.run, job.model.checkpoint)
    loaded = load_ensemble(source, job.model.run, job.model.ensemble, select_device(job.model.device))
    average_length = sum(map(len, loaded.vocabularies.src.encode(lines))) / len(lines) + 1
    failures = []
    for precision in [requested] if requested else MIN_IDENTICAL_SHARE:

        def translate(batch: Sequence[str], batch_tokens: int, precision: str = precision) -> list[str]:
            options = {**overrides, "precision": precision, "batch_tokens": batch_tokens}
            with tqdm(
                desc=f"{precision}, {batch_tokens} tokens", total=len(batch), disable=None, leave=False
            ) as bar:
                return [t.text for t in torch_translator(loaded, options, request).translate(batch, bar.update)]

        for result in check_invariance(translate, lines, average_length):
            difference = "" if result.first is None else f"; line {numbers[result.first]} differs"
            notify(f"{precision}, {result.name}: {result.same} of {result.lines} lines the same{difference}")
            # One line may differ in a text of any length.
            allowed = max(1.0, result.lines * (1 - MIN_IDENTICAL_SHARE["fp32"])) if precision == "fp32" else 0.0
            if precision in MIN_IDENTICAL_SHARE and result.lines - result.same > allowed:
                failures.append(f"{precision}, {result.name}")
    if failures:
        raise UserError(
            "the batch changed more translations than rounding explains: " + "; ".join(failures),
            hint="fp32 may change 1 of 1,000 lines, where two scores agree to seven digits; fp64 must change none",
        )
