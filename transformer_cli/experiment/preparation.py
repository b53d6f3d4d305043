"""Prepare the inputs of training: vocabularies and encoded corpora."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies
from transformer_cli.data.augmentation import AugmentedCorpus
from transformer_cli.data.batching import EpochCorpora
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.encoding import encode_text
from transformer_cli.data.mixing import MixedCorpora, files_of_pairs, pairs_per_file
from transformer_cli.data.noise import KINDS, SourceNoise
from transformer_cli.data.store import CorpusWriter, EncodedCorpus, load_corpus
from transformer_cli.data.text import Notify
from transformer_cli.data.tokenizer import Tokenizer, balance_lines, train_tokenizer
from transformer_cli.errors import CheckpointError, ConfigError, DataError
from transformer_cli.experiment.texts import TrainingTexts
from transformer_cli.schema import Config, TokenizerConfig
from transformer_cli.schema.data import MixingConfig
from transformer_cli.training.checkpoint import CheckpointStore
from transformer_cli.untrusted import read_bounded

TOKENIZER_KEY = "tokenizer.json"
"""File in the folder `data` with what the run's tokenizer was trained on."""
MAX_KEY_BYTES = 1 << 16


def has_checkpoints(run: RunDirectory) -> bool:
    """Whether the run has saved a checkpoint."""
    return bool(CheckpointStore(run.checkpoints, {}).checkpoint_paths())


def prepare_vocabularies(
    run: RunDirectory,
    config: Config,
    texts: TrainingTexts,
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
    vocabularies = None
    if given is not None:
        tokenizer = Tokenizer.load(given)
        vocabularies = Vocabularies(tokenizer, tokenizer if c.joint else Tokenizer.load(given))
    elif initial is not None:
        vocabularies = initial
    languages = tagged_languages(config)
    if vocabularies is not None:
        require_tags(vocabularies, languages, "--tokenizer" if given is not None else "--from")
        vocabularies.save(run)
        return vocabularies
    key = {
        "text": texts.hashes[0],
        "config": c.model_dump(),
        "seed": config.training.seed,
        "sentencepiece": version("sentencepiece"),
    }
    if texts.train.directions:
        key["directions"] = direction_key(texts.train)
    remembered = _remembered_vocabularies(run, key, joint=c.joint)
    if remembered is not None:
        return remembered
    notify(f"training the tokenizer ({c.model_type}, {c.vocab_size} tokens)")
    trained = [
        train_tokenizer(side, c, config.training.seed, languages if i == 0 else ())
        for i, side in enumerate(_vocabulary_texts(texts.train, c, config.training.seed))
    ]
    for _, notes in trained:
        for note in notes:
            notify(f"note: {note}")
    vocabularies = Vocabularies(trained[0][0], trained[-1][0])
    durable.make_directory(run.data)
    vocabularies.save(run)
    durable.write_json(run.data / TOKENIZER_KEY, {"key": key, "tokenizer": vocabularies.hash})
    return vocabularies


def tagged_languages(config: Config) -> tuple[str, ...]:
    """The target languages whose sources get a tag; none if there is only one."""
    languages = config.data.target_languages
    return languages if len(languages) > 1 else ()


def require_tags(vocabularies: Vocabularies, languages: Sequence[str], origin: str) -> None:
    """Raises: ConfigError if a vocabulary that the user gives has no tags for the target languages."""
    missing = [language for language in languages if language not in vocabularies.src.tags]
    if missing:
        raise ConfigError(
            f"{origin}: its vocabulary has no tag for the target languages {', '.join(missing)}",
            hint="leave it out: train learns a vocabulary with the tags of all target languages",
        )


def direction_key(text: ParallelText) -> str:
    """Which pairs are of which direction, for the keys of what depends on it."""
    return ", ".join(f"{direction} {len(rows)}" for direction, _, rows in text.direction_rows())


def _vocabulary_texts(text: ParallelText, config: TokenizerConfig, seed: int) -> list[Iterable[str]]:
    """The text that each vocabulary is learned from: one text if it is joint, or source and target.

    With several languages each has the same number of lines.
    """
    if not text.directions:
        return [chain(text.src, text.tgt)] if config.joint else [iter(text.src), iter(text.tgt)]
    sides: list[dict[str, list[Sequence[str]]]] = [{}] if config.joint else [{}, {}]
    for direction, _, rows in text.direction_rows():
        assert direction is not None
        part = text.part(rows)
        sides[0].setdefault(direction.source, []).append(part.src)
        sides[-1].setdefault(direction.target, []).append(part.tgt)
    texts = [[chain(*side[language]) for language in sorted(side)] for side in sides]
    return [balance_lines(languages, config.max_lines, seed) for languages in texts]


def _remembered_vocabularies(run: RunDirectory, key: dict[str, Any], *, joint: bool) -> Vocabularies | None:
    """The vocabularies that an earlier start of the run trained on the same text; None if there are none."""
    try:
        saved = json.loads(read_bounded(run.data / TOKENIZER_KEY, MAX_KEY_BYTES))
        if saved["key"] != key:
            return None
        vocabularies = Vocabularies.load(run, joint=joint)
        return vocabularies if vocabularies.hash == saved["tokenizer"] else None
    except (OSError, ValueError, KeyError, TypeError, CheckpointError):
        return None


def prepare_corpus(
    run: RunDirectory,
    name: str,
    text: ParallelText,
    text_hash: str,
    vocabularies: Vocabularies,
    config: Config,
    notify: Notify,
    texts: TrainingTexts | None = None,
) -> EncodedCorpus:
    """Encode a corpus, or load it from the run directory if its inputs have not changed.

    Args:
        text_hash: `hash_text` of the text.
        texts: has the filters of the text, in addition to the limits of the number of tokens.

    Raises:
        DataError: the filters leave no pair.
    """
    key = {
        "text": text_hash,
        "tokenizer": vocabularies.hash,
        "data": repr(sorted(config.data.model_dump(exclude={"corpora", "valid_corpora"}).items())),
        "filters": texts.filters_key if texts else "",
    }
    if text.directions:
        key["directions"] = direction_key(text)
    corpus = load_corpus(run.data, name, key)
    if corpus is None:
        left_out: Counter[str] = Counter()
        with CorpusWriter(run.data, name) as writer:
            for direction, _, rows in text.direction_rows():
                part, tag = text.part(rows), vocabularies.tag(direction.target if direction else "")
                filters = texts.filters.of_part(part).build() if texts else []
                tokenizers = vocabularies.src, vocabularies.tgt
                left_out.update(
                    encode_text(part, *tokenizers, config.data, filters, writer, tag=tag, first=rows.start)
                )
            writer.finish(key, dict(left_out))
        corpus = load_corpus(run.data, name, key)
        assert corpus is not None
    excluded = {reason: count for reason, count in corpus.left_out.items() if count}
    if excluded:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in excluded.items())
        notify(f"{name}: {len(corpus):,} of {len(text):,} pairs used; excluded: {reasons}")
    if not len(corpus):
        raise DataError(
            f"{name}: no pair is left after filtering",
            hint="check the files, raise data.max_length, or turn a filter off: --set data.filters.NAME=...",
        )
    if text.directions:
        left = {text.files[file].direction for file in np.unique(files_of_pairs(text, corpus.lines))}
        for direction in text.directions:
            if direction not in left:
                raise DataError(f"{name}: no pair of {direction} is left", hint="add pairs, or leave it out")
    return corpus


def epoch_corpora(
    config: Config, vocabularies: Vocabularies, text: ParallelText, plain: EncodedCorpus, notify: Notify
) -> EpochCorpora:
    """The corpus of each epoch: always `plain`, or a new variant of it (subword sampling, noise), mixed."""
    corpora = _augmented_corpora(config, vocabularies, text, plain)
    shares = config.data.shares
    if shares == MixingConfig() and not text.directions:
        return corpora
    files = files_of_pairs(text, plain.lines)
    counts = pairs_per_file(shares, text, files)
    described = ", ".join(
        f"{file.label} {count:,} ({count / len(plain):.0%}, has {size:,})"
        for file, count, size in zip(text.files, counts, np.bincount(files, minlength=len(counts)), strict=True)
    )
    notify(f"mixing: pairs of an epoch: {described}")
    return corpora if shares == MixingConfig() else MixedCorpora(corpora, files, counts, config.training.seed)


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
        tagged=bool(vocabularies.src.tags),
    )
