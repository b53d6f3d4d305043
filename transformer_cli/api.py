"""The Python API: train and translate from a program. `transformer_cli` exports its names; see docs/python.md."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_cli import durable
from transformer_cli.data.text import Notify
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.translation import Alternative, Translation
from transformer_cli.deployment.documents.formats import find_format
from transformer_cli.deployment.documents.translation import DocumentJob, translate_document
from transformer_cli.deployment.engines import LineTranslator, Model
from transformer_cli.errors import DataError, UserError
from transformer_cli.schema import Config

if TYPE_CHECKING:
    from transformer_cli.experiment.training import TrainingOutcome

__all__ = ["Alternative", "Translation", "Translator", "UserError", "train"]

StrPath = str | os.PathLike[str]


def _ignore(message: str) -> None:
    """The default `notify`: a library prints nothing."""


class Translator:
    """A trained model: a run directory or a bundle.

        translator = Translator.load("runs/mine")
        (translation,) = translator.translate(["A dog is running."], beam=5)
        print(translation.text, translation.score)

    The translations are those of `transformer-cli translate`. A translator may be used by one thread at a time; on
    a CPU it uses all cores by itself.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._translators: dict[str, LineTranslator] = {}

    @staticmethod
    def load(
        path: StrPath,
        *,
        checkpoint: str = "best",
        ensemble: Sequence[str] = (),
        device: str = "auto",
        notify: Notify = _ignore,
    ) -> Translator:
        """Open and verify a model.

        Args:
            path: run directory or bundle.
            checkpoint: `best`, `last`, `average` or the directory name of a step.
            ensemble: further runs with the same vocabularies, RUN or RUN@CHECKPOINT.
            device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
            notify: receives notes and warnings.

        Raises:
            UserError: no such model, or a damaged one.
        """
        return Translator(Model(Path(path), checkpoint, ensemble, device, notify))

    @property
    def config(self) -> Config:
        """The configuration of the run."""
        return self._model.source.config

    def translate(
        self,
        lines: Iterable[str],
        *,
        n_best: int = 1,
        scored: bool = True,
        align: bool = False,
        terms: Iterable[tuple[str, str]] = (),
        avoid: Iterable[str] = (),
        prefixes: Sequence[str] = (),
        to: str = "",
        progress: Callable[[int], object] = lambda done: None,
        **options: Any,
    ) -> list[Translation]:
        """Translate lines of text: one translation for each line, in order. Blank lines stay blank.

        Args:
            lines: the text; each item is translated as one line.
            n_best: number of `alternatives` of each translation.
            scored: whether log-probabilities are needed; greedy search is faster without.
            align: whether to align words (`links`).
            terms: (source, target): where a line contains the source term, the translation contains the target.
            avoid: phrases that no translation contains.
            prefixes: the beginning of each translation; an empty one leaves it free.
            to: target language, such as `"fr"`, of a model that has several.
            progress: called with the number of sentences that are newly finished.
            options: decoding options by their names in the configuration, such as `beam=5`, `sample=True`,
                `precision="int8"`, `engine="ctranslate2"`; the defaults are those of the run.

        Raises:
            UserError: unknown or contradictory options, or constraints that cannot be met.
        """
        request = TranslationRequest(n_best, scored, align, tuple(terms), tuple(avoid), to)
        key = repr((sorted(options.items()), request, bool(prefixes)))
        if key not in self._translators:
            self._translators.clear()  # one at a time: each holds a copy of the weights in its precision
            _, self._translators[key] = self._model.translator(options, request, has_prefixes=bool(prefixes))
        text = [" ".join(line.splitlines()) for line in lines]
        return self._translators[key].translate(text, progress, prefixes=prefixes)

    def translate_document(
        self,
        path: StrPath,
        output: StrPath,
        *,
        document_format: str | None = None,
        source_language: str = "",
        target_language: str = "",
        retranslate: bool = False,
        terms: Iterable[tuple[str, str]] = (),
        avoid: Iterable[str] = (),
        to: str = "",
        progress: Callable[[int, int], object] = lambda done, total: None,
        **options: Any,
    ) -> None:
        """Translate a document, which keeps its structure: .srt, .vtt, .po, .html, .docx or XLIFF.

        Args:
            path: the document.
            output: the translated document, another file; it is written when it is complete.
            document_format: `srt`, `po`, `html`, `docx` or `xliff`; by default recognised by name and content.
            source_language: code of its language, for splitting it into sentences; by default what it says.
            target_language: code of the language that the translation says it is in.
            retranslate: replace also finished translations in a PO or XLIFF document.
            terms, avoid, to, options: as in `translate`.
            progress: called with the numbers of newly finished sentences and of all sentences.

        Raises:
            UserError: as in `translate`, or a document that cannot be read, with its place and a remedy.
        """
        path, output = Path(path), Path(output)
        durable.check_writable(output, path)
        form = find_format(path, document_format)
        if form is None:
            raise DataError(f"{path}: is no document that is supported", hint="translate its lines instead")
        request = TranslationRequest(scored=False, terms=tuple(terms), avoid=tuple(avoid), to=to)
        job = DocumentJob(path, form, retranslate, source_language, target_language)
        notify = self._model.notify
        durable.write_output(output, translate_document(job, self._model, options, request, notify, progress))


def train(
    run: StrPath,
    src: StrPath | Sequence[StrPath] = (),
    tgt: StrPath | Sequence[StrPath] = (),
    *,
    data: StrPath | Sequence[StrPath] = (),
    columns: str | None = None,
    corpora: Sequence[str] = (),
    valid_corpora: Sequence[str] = (),
    valid_src: StrPath | None = None,
    valid_tgt: StrPath | None = None,
    valid_data: StrPath | None = None,
    config: StrPath | None = None,
    settings: Mapping[str, Any] | None = None,
    tokenizer: StrPath | None = None,
    starting_model: StrPath | None = None,
    device: str = "auto",
    notify: Notify = _ignore,
) -> TrainingOutcome:
    """Train a translator, or resume the training of an existing run directory, like `transformer-cli train`.

    Args:
        run: run directory.
        src, tgt: text files of source and target, one or several.
        data: files that hold both sides (CSV, TSV, JSON lines, TMX), with `columns` as in `--columns`.
        corpora, valid_corpora: corpora with their languages instead, such as `"en-de=train.en,train.de"`, as with
            `--corpus` and `--valid-corpus`.
        valid_src, valid_tgt, valid_data: validation text; by default pairs are held out.
        config: YAML configuration; by default a recipe by corpus size.
        settings: configuration keys and values, such as `{"training.max_minutes": 30}`.
        tokenizer: a trained SentencePiece model.
        starting_model: a run directory or bundle whose weights the run starts from, as with `--from`.
        device: as in `Translator.load`.
        notify: receives notes, warnings and results.

    Raises:
        UserError: anything that the user can correct; existing checkpoints are intact.
    """
    from transformer_cli.experiment.corpora import corpora_settings
    from transformer_cli.experiment.training import TrainRequest, run_training
    from transformer_cli.training.loop import StopRequest

    request = TrainRequest(
        Path(run),
        _paths(src),
        _paths(tgt),
        _path(valid_src),
        _path(valid_tgt),
        _path(config),
        corpora_settings(corpora, valid_corpora)
        + [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in (settings or {}).items()],
        _path(tokenizer),
        device,
        data=_paths(data),
        valid_data=_path(valid_data),
        columns=columns,
        starting_model=_path(starting_model),
    )
    return run_training(request, notify, StopRequest())


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: StrPath | Sequence[StrPath]) -> list[Path]:
    """One or several paths as a list."""
    return [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
