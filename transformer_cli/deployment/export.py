"""Implementation of `export`: write a model as a bundle or for another inference engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from transformer_cli import __version__, durable
from transformer_cli.artifacts.bundle import write_bundle
from transformer_cli.artifacts.loading import LoadedModel, load_model_source
from transformer_cli.artifacts.model_source import ModelSource, open_model_source
from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.artifacts.target_languages import require_one_target
from transformer_cli.data.text import Notify, read_text
from transformer_cli.deployment.ctranslate2_spec import build_spec
from transformer_cli.deployment.ctranslate2_support import (
    QUANTIZATIONS,
    check_supported,
    import_ctranslate2,
    longest_sequence,
)
from transformer_cli.deployment.engines import NOTES
from transformer_cli.deployment.parity import check_parity, decoding_options, select_lines
from transformer_cli.errors import ConfigError
from transformer_cli.runtime import tune_process

EXACT = "float32"
"""The value of `--quantization` that does not quantize: both engines compute with the same weights."""


@dataclass(frozen=True)
class ExportRequest:
    """Arguments of `export`. `proof` is source text for the parity check; None uses the validation text."""

    run: Path
    output: Path
    to: str
    quantization: str | None = None
    checkpoint: str = "best"
    proof: Path | None = None


def export_model(request: ExportRequest, notify: Notify) -> None:
    """Write `request.output` atomically.

    Raises:
        UserError: unknown target or option, existing output, or a model that cannot be read or exported.
    """
    if request.to not in TARGETS:
        raise ConfigError(f"--to {request.to}: unknown; known: {', '.join(TARGETS)}")
    output = request.output
    is_empty_directory = output.is_dir() and not output.is_symlink() and not any(output.iterdir())
    if (output.exists() or output.is_symlink()) and not is_empty_directory:
        raise ConfigError(f"{output}: exists already; nothing in it was changed", hint="choose another name")
    tune_process()
    TARGETS[request.to](request, notify)


def export_bundle(request: ExportRequest, notify: Notify) -> None:
    """Write a bundle: one file or directory that `translate` and `evaluate` accept like a run directory."""
    if request.quantization or request.proof:
        raise ConfigError("--quantization and --proof belong to --to ctranslate2; a bundle has the exact weights")
    size = write_bundle(open_model_source(request.run, request.checkpoint), request.output)
    notify(f"{request.output}: {size:,} bytes")
    notify(f"next: transformer-cli translate {request.output} < new.src > new.tgt")


def export_ctranslate2(request: ExportRequest, notify: Notify) -> None:
    """Write a CTranslate2 directory, after a check that both engines give the same translations."""
    quantization = request.quantization or EXACT
    if quantization not in QUANTIZATIONS:
        raise ConfigError(f"--quantization {quantization}: unknown; known: {', '.join(QUANTIZATIONS)}")
    import_ctranslate2()
    source = open_model_source(request.run, request.checkpoint)
    check_supported(source.config.model)
    require_one_target(source.vocabularies, request.run, "export --to ctranslate2")
    text = read_text(request.proof, notify) if request.proof else source.validation_lines()
    write_ctranslate2(source, request.output, quantization, text, notify)
    notify(f"{request.output}: {quantization}; options for decoding with it are in {NOTES}")


def write_ctranslate2(
    source: ModelSource, output: Path, quantization: str, text: Sequence[str], notify: Notify
) -> None:
    """Write a CTranslate2 directory atomically, with the notes of its parity check on lines of `text`.

    Raises:
        DataError: `text` has no usable line.
        DiskError: the directory cannot be written.
        UserError: the translations of the two engines do not agree.
    """
    loaded = load_model_source(source, torch.device("cpu"))
    lines = select_lines(text, loaded)
    with durable.staged_directory(output) as directory:
        _write_model(directory, loaded, quantization)
        tokenizer_files = _write_tokenizers(directory, loaded)
        report = check_parity(directory, loaded, lines, exact=quantization == EXACT, notify=notify)
        notes = {
            "made_by": f"transformer-cli {__version__}",
            "checkpoint": source.checkpoint.name,
            "metrics": {"metric": loaded.config.training.metric, **source.metrics()},
            "identity": dict(source.identity),
            "quantization": quantization,
            "tokenizer": tokenizer_files,
            "max_source_pieces": loaded.config.data.max_length - 1,
            "config": loaded.config.model_dump(mode="json"),
            "decoding": decoding_options(loaded, report.length_penalty),
            "proof": [asdict(agreement) for agreement in report.agreements],
            "sha256": {p.name: durable.sha256_file(p) for p in sorted(directory.iterdir())},
        }
        durable.write_json(directory / NOTES, notes)


def _write_model(directory: Path, loaded: LoadedModel, quantization: str) -> None:
    config = loaded.config
    weights = dict(loaded.model.named_parameters())
    spec = build_spec(config.model, weights, loaded.vocabularies, longest_sequence(config))
    spec.optimize(quantization)
    spec.save(str(directory))


def _write_tokenizers(directory: Path, loaded: LoadedModel) -> dict[str, str]:
    """Write the SentencePiece models. Returns: side -> file name."""
    joint = loaded.vocabularies.src is loaded.vocabularies.tgt
    paths = RunDirectory(directory).tokenizer_paths(joint=joint)
    loaded.vocabularies.save(RunDirectory(directory))
    return dict(zip(("source", "target"), (path.name for path in paths), strict=True))


TARGETS: dict[str, Callable[[ExportRequest, Notify], None]] = {
    "ctranslate2": export_ctranslate2,
    "bundle": export_bundle,
}
