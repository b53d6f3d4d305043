"""Prepare the inputs of training: texts, vocabularies and encoded corpora."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, hash_text
from transformer_cli.data.augmentation import AugmentedCorpus
from transformer_cli.data.batching import EpochCorpora
from transformer_cli.data.corpus import (
    ParallelText,
    find_copied_pairs,
    find_one_sided_blanks,
    find_shifted_blocks,
    read_corpus,
)
from transformer_cli.data.filters.pipeline import BLANK, VERSION, build_filters, judge
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.mixing import MixedCorpora, files_of_pairs, pairs_per_file
from transformer_cli.data.noise import KINDS, SourceNoise
from transformer_cli.data.normalization import Normalizer
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.store import EncodedCorpus, encode_corpus, load_corpus, save_corpus
from transformer_cli.data.text import Notify
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.errors import CheckpointError, DataError
from transformer_cli.schema import Config
from transformer_cli.schema.data import FiltersConfig, MixingConfig
from transformer_cli.training.checkpoint import CheckpointStore


def read_texts(
    files: CorpusFiles, valid_files: CorpusFiles, notify: Notify, *, strict_utf8: bool
) -> tuple[ParallelText, ParallelText]:
    """Read the training and the validation text, which is empty without files, and warn about problems.

    Raises:
        UserError: missing, empty, unreadable or misaligned files.
    """
    text = read_corpus(files, strict_utf8=strict_utf8)
    valid = read_corpus(valid_files, strict_utf8=strict_utf8) if valid_files else ParallelText([], [])
    for form in [*text.forms, *valid.forms]:
        notify(form)
    for note in [*text.notes, *valid.notes]:
        notify(f"warning: {note}")
    for name, side in (("training", text), ("validation", valid)):
        lines = find_one_sided_blanks(side)
        if lines:
            shown = "; ".join(side.location(line - 1) for line in lines[:5]) + ("; ..." if len(lines) > 5 else "")
            notify(f"warning: {len(lines):,} {name} pairs are blank on one side ({shown}): check the alignment")
        shifted, copies = find_shifted_blocks(*side.lengths()), len(find_copied_pairs(side))
        if shifted:
            notify(
                f"warning: the {name} files seem to be shifted against each other near "
                f"{side.location(shifted[0])}; run transformer-cli check for details"
            )
        if copies > len(side) / 2:
            notify(
                f"warning: in {copies:,} of {len(side):,} {name} pairs the target equals the source; "
                "check that --src and --tgt are different files"
            )
    return text, valid


def warn_about_overlap(text: ParallelText, valid: ParallelText, notify: Notify) -> None:
    """Warn about validation pairs that are also in the training text."""
    seen = set(zip(text.src, text.tgt, strict=True))
    overlap = sum(pair in seen for pair in zip(valid.src, valid.tgt, strict=True))
    if overlap:
        notify(f"warning: {overlap:,} validation pairs are also in the training text")


def has_checkpoints(run: RunDirectory) -> bool:
    """Whether the run has saved a checkpoint."""
    return bool(CheckpointStore(run.checkpoints, {}).checkpoint_paths())


def prepare_vocabularies(
    run: RunDirectory,
    config: Config,
    text: ParallelText,
    given: Path | None,
    initial: Vocabularies | None,
    notify: Notify,
) -> Vocabularies:
    """Load the vocabularies of a run with checkpoints; otherwise copy `given` or `initial`, or train them.

    Args:
        given: a tokenizer file; None for none.
        initial: the vocabularies of the model that the run starts from.

    Raises:
        CheckpointError: a damaged tokenizer, or `given` differs from the one the run was started with.
        DataError: the tokenizer cannot be trained on this text.
    """
    c = config.tokenizer
    if has_checkpoints(run):
        saved = Vocabularies.load(run, joint=c.joint)
        if given is not None and Tokenizer.load(given).hash != saved.src.hash:
            raise CheckpointError(
                f"{given}: is not the tokenizer that {run.path} was started with",
                hint="omit --tokenizer to resume with the run's tokenizer, or choose another --run",
            )
        return saved
    if given is not None:
        tokenizer = Tokenizer.load(given)
        vocabularies = Vocabularies(tokenizer, tokenizer if c.joint else Tokenizer.load(given))
    elif initial is not None:
        vocabularies = initial
    else:
        notify(f"training the tokenizer ({c.model_type}, {c.vocab_size} tokens)")
        sides = [text.src + text.tgt] if c.joint else [text.src, text.tgt]
        trained = [train_tokenizer(side, c, config.training.seed) for side in sides]
        for _, notes in trained:
            for note in notes:
                notify(f"note: {note}")
        vocabularies = Vocabularies(trained[0][0], trained[-1][0])
    vocabularies.save(run)
    return vocabularies


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
        return CorpusProfile.draw(self.text.pairs())

    @property
    def key(self) -> str:
        """Identifies what the filters depend on, other than the training text and the configuration."""
        return f"{VERSION} {hash_text(self.valid.src, self.valid.tgt) if self.config.overlap else ''}".strip()

    def reasons(self) -> Iterator[str]:
        """Why each pair of the training text is excluded; empty for pairs to keep. Raises: ConfigError."""
        excluded = self.valid.src + self.valid.tgt if self.config.overlap else None
        judged = judge(self.text.pairs(), build_filters(self.config, self.profile, excluded))
        return (reason for _, reason in judged)

    def sift_validation(self, held_out: ParallelText, notify: Notify) -> ParallelText:
        """Held-out pairs without those that the filters exclude, which would be no measure of a translation."""
        judged = judge(held_out.pairs(), build_filters(self.config, self.profile))
        reasons = [reason for _, reason in judged]
        kept = [i for i, reason in enumerate(reasons) if reason in ("", BLANK)]
        if len(kept) in (0, len(held_out)):
            return held_out
        notify(f"validation: {len(held_out) - len(kept):,} of the held-out pairs excluded by the filters")
        return held_out.select(kept)


def normalize_text(text: ParallelText, config: Config) -> ParallelText:
    """The text after the normalisations of the configuration."""
    normalizer = Normalizer(config.data.normalization)
    if normalizer.is_identity:
        return text
    return replace(text, src=list(map(normalizer, text.src)), tgt=list(map(normalizer, text.tgt)))


def prepare_corpus(
    run: RunDirectory,
    name: str,
    text: ParallelText,
    vocabularies: Vocabularies,
    config: Config,
    notify: Notify,
    filters: TextFilters | None = None,
) -> EncodedCorpus:
    """Encode a corpus, or load it from the run directory if its inputs have not changed.

    Args:
        filters: of the text, in addition to the limits of the number of tokens.

    Raises:
        DataError: the filters leave no pair.
    """
    key = {
        "text": hash_text(text.src, text.tgt),
        "tokenizer": vocabularies.hash,
        "data": repr(sorted(config.data.model_dump().items())),
        "filters": filters.key if filters else "",
    }
    corpus = load_corpus(run.data, name, key)
    if corpus is None:
        rejected = filters.reasons() if filters else None
        corpus = encode_corpus(text, vocabularies.src, vocabularies.tgt, config.data, rejected)
        save_corpus(corpus, run.data, name, key)
    excluded = {reason: count for reason, count in corpus.left_out.items() if count}
    if excluded:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items())
        notify(f"{name}: {len(corpus):,} of {len(text):,} pairs used; excluded: {reasons}")
    if not len(corpus):
        raise DataError(
            f"{name}: no pair is left after filtering",
            hint="check the files, raise data.max_length, or turn a filter off: --set data.filters.NAME=...",
        )
    return corpus


def epoch_corpora(
    config: Config, vocabularies: Vocabularies, text: ParallelText, plain: EncodedCorpus, notify: Notify
) -> EpochCorpora:
    """The corpus of each epoch: always `plain`, or a new variant of it (subword sampling, noise), mixed."""
    corpora = _augmented_corpora(config, vocabularies, text, plain)
    if config.data.mixing == MixingConfig():
        return corpora
    files = files_of_pairs(text, plain.lines)
    counts = pairs_per_file(config.data.mixing, text, files)
    shares = ", ".join(
        f"{file.path.name} {count:,} ({count / len(plain):.0%}, has {size:,})"
        for file, count, size in zip(text.files, counts, np.bincount(files, minlength=len(counts)), strict=True)
    )
    notify(f"mixing: pairs of an epoch: {shares}")
    return MixedCorpora(corpora, files, counts, config.training.seed)


def _augmented_corpora(
    config: Config, vocabularies: Vocabularies, text: ParallelText, plain: EncodedCorpus
) -> EpochCorpora:
    options = config.data
    if not options.subword_sampling and not options.noise.share:
        return lambda epoch: plain
    noise = SourceNoise(options.noise.share, [kind for kind in KINDS if getattr(options.noise, kind)])
    return AugmentedCorpus(
        text,
        plain,
        (vocabularies.src, vocabularies.tgt),
        options.subword_sampling,
        options.max_length,
        config.training.seed,
        noise if options.noise.share else None,
    )
