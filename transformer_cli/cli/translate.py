"""`translate`: one output line for each input line, in order."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from transformer_cli import durable
from transformer_cli.cli import options
from transformer_cli.cli.terminal import exit_on_signal, notify, require_file, write_stdout
from transformer_cli.schema import DecodingConfig

CHUNK = 4096
"""Lines of a file that are translated at a time; a terminal or pipe is read as its lines arrive."""
EXAMPLES = (
    "transformer-cli translate runs/mine < new.en > new.de",
    "transformer-cli translate runs/mine new.en -o new.jsonl --format jsonl --beam 5 --n-best 5",
    "transformer-cli translate runs/mine page.html -o seite.html --target-lang de",
)


@options.schema_options(DecodingConfig, *DecodingConfig.model_fields)
def translate(
    run: options.Run,
    input: options.Input = None,
    output: options.Output = None,
    overrides: dict[str, Any] | None = None,
    prefix: options.Prefix = None,
    terms: options.Terms = None,
    avoid: options.Avoid = None,
    format: options.Format = "text",
    n_best: options.NBest = 1,
    alignments: options.Alignments = None,
    to: options.To = "",
    checkpoint: options.Checkpoint = "best",
    ensemble: options.Ensemble = None,
    device: options.Device = "auto",
    shard: options.Shard = None,
    strict_utf8: options.StrictUtf8 = False,
    check_invariance: options.CheckInvariance = False,
    document: options.DocumentFormat = None,
    source_lang: options.SourceLang = "",
    target_lang: options.TargetLang = "",
    retranslate: options.Retranslate = False,
) -> None:
    """Translate text line by line, one output line for each input line, or a document that keeps its structure.

    Decoding options not given here come from the run's config.yaml; the defaults shown are those of a new
    configuration.
    """
    from transformer_cli.cli.documents import document_format
    from transformer_cli.cli.formats import check_format, render
    from transformer_cli.deployment.documents.translation import DocumentJob
    from transformer_cli.deployment.engines import ModelRequest
    from transformer_cli.experiment import translation
    from transformer_cli.experiment.source_text import Shard

    check_format(format)
    input, output = (None if str(path) == "-" else path for path in (input, output))
    read = [run, input or Path("/dev/stdin"), terms, avoid, prefix]
    read += [Path(name) for other in ensemble or [] for name in (other, other.rpartition("@")[0]) if name]
    durable.check_writable(output, *read, alignments)
    durable.check_writable(alignments, *read, output)
    wanted = {"n_best": n_best, "scored": format == "jsonl" or n_best > 1, "align": bool(alignments), "to": to}
    request = translation.build_request(terms, avoid, notify, **wanted)
    source = None if input is None else require_file(input)
    lines_only = {"--prefix": prefix, "--shard": shard, "--strict-utf8": strict_utf8, "--alignments": alignments}
    lines_only |= {"--format": format != "text", "--n-best": n_best > 1, "--check-invariance": check_invariance}
    languages = {"--source-lang": source_lang, "--target-lang": target_lang, "--retranslate": retranslate}
    form = document_format(source, output, document, lines_only, languages)
    model = ModelRequest(
        run, checkpoint, ensemble or [], device, overrides or {}, request, has_prefixes=prefix is not None
    )
    job = translation.TranslationJob(model, source, prefix, strict_utf8, Shard.parse(shard) if shard else None)
    outputs: list[durable.OutputFile] = []
    exit_on_signal(signal.SIGINT, note=lambda: _partial_note(outputs))
    if form is not None:
        document_job = DocumentJob(source or Path("/dev/stdin"), form, retranslate, source_lang, target_lang)
        content = translation.translate_file(document_job, model, notify)
        write_stdout(content) if output is None else durable.write_output(output, content)
        return
    if check_invariance:
        translation.measure_invariance(job, notify)
        return
    with contextlib.ExitStack() as files:
        outputs += [files.enter_context(durable.open_output(path)) for path in (output, alignments) if path]
        write = write_stdout if output is None else outputs[0].write
        for first, sources, translations in translation.translate_lines(job, CHUNK, notify):
            write(render(sources, translations, format, n_best, first))
            if alignments is not None:
                outputs[-1].write(render(sources, translations, "pharaoh", 1, first))


def _partial_note(outputs: list[durable.OutputFile]) -> str:
    """Where the finished part of the outputs is, for the message at Ctrl-C."""
    places = [str(file.partial) for file in outputs if file.started and file.regular]
    return f"; the finished part is in {' and '.join(places)}" if places else ""
