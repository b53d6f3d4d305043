"""The texts of a training: read, normalised and split once, and remembered in the run directory.

A later start with the same files reads none of them, unless their lines are needed (see `TrainingTexts`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import hash_text
from transformer_cli.data import fingerprint
from transformer_cli.data.corpus import LineNumbers, ParallelText, TextFile, read_corpus
from transformer_cli.data.directions import Direction
from transformer_cli.data.filters.base import Filter
from transformer_cli.data.filters.pipeline import BLANK, VERSION, build_filters, judge
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.held_out import hold_out_validation
from transformer_cli.data.line_file import DeferredLines, RemainingRows
from transformer_cli.data.normalization import Normalizer
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.survey import Survey, normalize_text, survey_text
from transformer_cli.errors import DataError
from transformer_cli.schema import Config
from transformer_cli.schema.data import FiltersConfig
from transformer_cli.untrusted import read_bounded

FILE = "text.json"
FORMAT = 1
MAX_BYTES = 32 << 20
"""Size limit of the file. Texts with more to remember, such as a huge TMX file, are read at every start."""


@dataclass(frozen=True)
class TextFilters:
    """The filters of the training text, which are built when they are needed.

    Attributes:
        text: the training text, whose profile the filters use.
        valid: the validation text, for `overlap`.
    """

    config: FiltersConfig
    text: ParallelText
    valid: ParallelText

    @cached_property
    def profile(self) -> CorpusProfile:
        return CorpusProfile.of_text(self.text)

    @cached_property
    def key(self) -> str:
        """Identifies what the filters depend on, other than the training text and the configuration."""
        return f"{VERSION} {hash_text(self.valid.src, self.valid.tgt) if self.config.overlap else ''}".strip()

    def build(self) -> list[Filter]:
        """Raises: ConfigError."""
        excluded = [*self.valid.src, *self.valid.tgt] if self.config.overlap else None
        return build_filters(self.config, self.profile, excluded)

    def of_part(self, part: ParallelText) -> TextFilters:
        """The filters of a part of the text, such as one direction, which has a profile of its own."""
        return self if part is self.text else replace(self, text=part)

    def sift_validation(self, held_out: ParallelText) -> tuple[ParallelText, list[str]]:
        """Held-out pairs without those that the filters exclude, which would be no measure of a translation.

        Returns:
            These pairs, and notes for the user.
        """
        kept: list[int] = []
        for (_, _, rows), (_, _, train_rows) in zip(
            held_out.direction_rows(), self.text.direction_rows(), strict=True
        ):
            profile = self.of_part(self.text.part(train_rows)).profile
            judged = judge(held_out.part(rows).pairs(), build_filters(self.config, profile))
            found = [i for i, (_, reason) in zip(rows, judged, strict=True) if reason in ("", BLANK)]
            kept += found or list(rows)
        if len(kept) in (0, len(held_out)):
            return held_out, []
        note = f"validation: {len(held_out) - len(kept):,} of the held-out pairs excluded by the filters"
        return held_out.select(kept), [note]


@dataclass
class TrainingTexts:
    """The text to train on and the one for validation, both normalised.

    Attributes:
        train: the pairs to train on. If the texts are remembered, its lines are read when they are first needed.
        valid: the pairs for validation.
        survey: counts over all pairs that were read, validation files not included.
        hashes: SHA-256 of `train` and `valid`.
        filters_key: see `TextFilters.key`.
        reading_notes, split_notes: messages for the user, about reading and about what followed.
    """

    train: ParallelText
    valid: ParallelText
    survey: Survey
    hashes: tuple[str, str]
    filters_key: str
    reading_notes: list[str]
    split_notes: list[str]
    _load: Callable[[], TextFilters]
    _key: dict[str, Any] = field(default_factory=dict)
    _fingerprints: list[fingerprint.Fingerprint] = field(default_factory=list)

    @cached_property
    def filters(self) -> TextFilters:
        """The filters of the training text."""
        return self._load()

    def remember(self, directory: Path) -> None:
        """Write what a later start needs, if the files are regular ones and have not changed since they were read.

        Raises:
            DiskError
        """
        if not self._fingerprints or not fingerprint.unchanged(self._fingerprints):
            return
        values = {
            "key": self._key,
            "files": fingerprint.dump(self._fingerprints),
            "survey": asdict(self.survey),
            "hashes": self.hashes,
            "filters_key": self.filters_key,
            "reading_notes": self.reading_notes,
            "split_notes": self.split_notes,
            "languages": self.train.languages,
            "train": {**_dump_files(self.train), "held_out": _held_out(self.train), "pairs": len(self.train)},
            "valid": {
                **_dump_files(self.valid),
                "src": list(self.valid.src),
                "tgt": list(self.valid.tgt),
                "rows": None if self.valid.rows is None else list(self.valid.rows),
            },
        }
        content = json.dumps(values).encode()
        if len(content) <= MAX_BYTES:
            durable.make_directory(directory)
            durable.write_bytes(directory / FILE, content)


@dataclass(frozen=True)
class TextRequest:
    """What the texts depend on.

    Attributes:
        validation: the validation files; none = hold pairs out.
        directory: where temporary files take space.
    """

    files: CorpusFiles
    validation: CorpusFiles
    config: Config
    strict_utf8: bool
    directory: Path

    @property
    def key(self) -> dict[str, Any]:
        """Everything but the content of the files."""
        data = self.config.data
        values = {
            "train": _describe(self.files),
            "valid": _describe(self.validation),
            "strict_utf8": self.strict_utf8,
            "seed": self.config.training.seed,
            "normalization": data.normalization.model_dump(),
            "filters": data.filters.model_dump(),
        }
        digest = hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()
        return {"format": FORMAT, "filters": VERSION, "options": digest}


def _describe(files: CorpusFiles) -> dict[str, Any]:
    values = asdict(files)
    return values if files.directed else {key: value for key, value in values.items() if key != "directed"}


def prepare_texts(request: TextRequest, remembered_in: Path) -> TrainingTexts:
    """Read the texts, or remember them if files and options are those of the last start.

    Args:
        remembered_in: the directory that `TrainingTexts.remember` wrote to.

    Raises:
        UserError: missing, empty, unreadable or misaligned files.
    """
    paths = [*request.files.paths, *request.validation.paths]
    try:
        values = json.loads(read_bounded(remembered_in / FILE, MAX_BYTES))
        if values["key"] == request.key:
            known = fingerprint.parse(values["files"])
            found = fingerprint.take_fingerprints(paths, known)
            if found is not None and fingerprint.contents(found) == fingerprint.contents(known):
                return replace(_parse(values, request), _key=request.key, _fingerprints=found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # there is none, or it is damaged: the files tell everything
    found = fingerprint.take_fingerprints(paths)
    texts = _read(request)
    return replace(texts, _key=request.key, _fingerprints=found or [])


def _read(request: TextRequest) -> TrainingTexts:
    directory, data = request.directory, request.config.data
    text = read_corpus(request.files, strict_utf8=request.strict_utf8, directory=directory)
    has_files = bool(request.validation)
    valid = ParallelText([], [])
    if has_files:
        valid = read_corpus(request.validation, strict_utf8=request.strict_utf8)
    survey = survey_text(text)
    reading = [*text.forms, *valid.forms, *(f"warning: {note}" for note in [*text.notes, *valid.notes])]
    reading += [f"warning: {warning}" for warning in survey.warnings(text, "training")]
    reading += [f"warning: {warning}" for warning in survey_text(valid).warnings(valid, "validation")]
    normalizer = Normalizer(data.normalization)
    text, valid = (normalize_text(side, normalizer, directory) for side in (text, valid))
    split = []
    if not has_files:
        seed = request.config.training.seed
        text, valid = hold_out_validation(text, seed)
        split.append(f"no validation files: {len(valid):,} pairs held out of the training text by seed {seed}")
        parts = ((direction, len(rows)) for direction, _, rows in valid.direction_rows() if direction)
        split[-1] += "".join(f", {direction}: {pairs:,}" for direction, pairs in parts)
    filters = TextFilters(data.filters, text, valid)
    if not has_files:
        valid, notes = filters.sift_validation(valid)
        split += notes
    split += _overlap_warning(text, valid)
    hashes = hash_text(text.src, text.tgt), hash_text(valid.src, valid.tgt)
    return TrainingTexts(text, valid, survey, hashes, filters.key, reading, split, lambda: filters)


def _overlap_warning(text: ParallelText, valid: ParallelText) -> list[str]:
    """A warning about validation pairs that are also in the training text."""
    wanted = set(zip(valid.src, valid.tgt, strict=True))
    seen = set()
    for found in text.map_parts(lambda _, src, tgt: [p for p in zip(src, tgt, strict=True) if p in wanted]):
        seen.update(found)
    overlap = sum(pair in seen for pair in zip(valid.src, valid.tgt, strict=True))
    return [f"warning: {overlap:,} validation pairs are also in the training text"] if overlap else []


def _dump_files(text: ParallelText) -> dict[str, Any]:
    files = []
    for file in text.files:
        assert isinstance(file.lines, LineNumbers)
        direction = {"direction": list(file.direction)} if file.direction else {}
        files.append({"path": str(file.path), "pairs": file.pairs, "runs": file.lines.runs, **direction})
    return {"files": files}


def _parse_files(values: Sequence[dict[str, Any]]) -> Iterator[TextFile]:
    for value in values:
        pairs = int(value["pairs"])
        runs = [(int(row), int(line)) for row, line in value["runs"]]
        direction = Direction(*map(str, value["direction"])) if "direction" in value else None
        yield TextFile(Path(value["path"]), pairs, LineNumbers(runs, pairs), direction)


def _held_out(text: ParallelText) -> list[int] | None:
    return text.rows.excluded if isinstance(text.rows, RemainingRows) else None


def _parse(values: dict[str, Any], request: TextRequest) -> TrainingTexts:
    """The remembered texts. Raises: KeyError, TypeError, ValueError, AttributeError."""
    train, valid = values["train"], values["valid"]
    pairs, hashes = int(train["pairs"]), (str(values["hashes"][0]), str(values["hashes"][1]))
    loaded: list[TrainingTexts] = []

    def load() -> TrainingTexts:
        if not loaded:
            loaded.append(_read(request))
            if loaded[0].hashes != hashes:
                raise DataError(
                    f"{request.files.paths[0]}: the text has changed, but not the times of its files",
                    hint=f"delete {FILE} in the folder data of the run directory, and run again",
                )
        return loaded[0]

    rows = None
    if train["held_out"] is not None:
        rows = RemainingRows(pairs + len(train["held_out"]), map(int, train["held_out"]))
    languages = values["languages"] and (str(values["languages"][0]), str(values["languages"][1]))
    lines = [DeferredLines(pairs, lambda: load().train.src), DeferredLines(pairs, lambda: load().train.tgt)]
    return TrainingTexts(
        train=ParallelText(
            lines[0], lines[1], files=list(_parse_files(train["files"])), rows=rows, languages=languages
        ),
        valid=ParallelText(
            [str(line) for line in valid["src"]],
            [str(line) for line in valid["tgt"]],
            files=list(_parse_files(valid["files"])),
            rows=valid["rows"],
        ),
        survey=Survey(**values["survey"]),
        hashes=hashes,
        filters_key=str(values["filters_key"]),
        reading_notes=[str(note) for note in values["reading_notes"]],
        split_notes=[str(note) for note in values["split_notes"]],
        _load=lambda: load().filters,
    )
