"""What a training reads, made ready once: texts, vocabularies, encoded corpora."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, hash_text
from transformer_cli.data.batching import EpochCorpora
from transformer_cli.data.corpus import (
    ParallelText,
    find_copied_pairs,
    find_one_sided_blanks,
    find_shifted_blocks,
    read_parallel,
)
from transformer_cli.data.store import EncodedCorpus, encode_corpus, load_corpus, save_corpus
from transformer_cli.data.subwords import SampledCorpus
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.errors import CheckpointError, ConfigError, DataError
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore

Notify = Callable[[str], None]


def read_texts(
    src: Sequence[Path],
    tgt: Sequence[Path],
    valid_src: Path | None,
    valid_tgt: Path | None,
    notify: Notify,
    *,
    strict_utf8: bool,
) -> tuple[ParallelText, ParallelText]:
    """The training text, and the validation text, empty if no files of it are given.

    Raises:
        UserError: files that are missing, unequal, empty, or only half given.
    """
    if (valid_src is None) != (valid_tgt is None):
        raise ConfigError("--valid-src and --valid-tgt go together")
    text = read_parallel(src, tgt, strict_utf8=strict_utf8)
    valid = ParallelText([], [])
    if valid_src is not None and valid_tgt is not None:
        valid = read_parallel([valid_src], [valid_tgt], strict_utf8=strict_utf8)
    for note in [*text.notes, *valid.notes]:
        notify(f"warning: {note}")
    for name, side in (("training", text), ("validation", valid)):
        lines = find_one_sided_blanks(side)
        if lines:
            shown = "; ".join(side.place(line - 1) for line in lines[:5]) + ("; ..." if len(lines) > 5 else "")
            notify(f"warning: {len(lines):,} {name} pairs are blank on one side ({shown}): check the alignment")
        slipped, copies = find_shifted_blocks(side), len(find_copied_pairs(side))
        if slipped:
            notify(
                f"warning: the {name} files seem shifted against each other near {side.place(slipped[0])}; "
                "transformer-cli check says more"
            )
        if copies > len(side) / 2:
            of = f"{copies:,} of {len(side):,} {name} pairs"
            notify(f"warning: in {of} the target is the source: the same file twice?")
    return text, valid


def warn_about_overlap(text: ParallelText, valid: ParallelText, notify: Notify) -> None:
    """Say how many validation pairs the model will have seen."""
    seen = set(zip(text.src, text.tgt, strict=True))
    overlap = sum(pair in seen for pair in zip(valid.src, valid.tgt, strict=True))
    if overlap:
        notify(f"warning: {overlap:,} validation pairs also stand in the training text")


def has_checkpoints(run: RunDirectory) -> bool:
    """Whether anything has been learned in this directory."""
    return bool(CheckpointStore(run.checkpoints, {}).steps())


def prepare_vocabularies(
    run: RunDirectory, config: Config, text: ParallelText, given: Path | None, notify: Notify
) -> Vocabularies:
    """The run's vocabularies; trained on the training text (or taken from `given`) the first time."""
    c = config.tokenizer
    if has_checkpoints(run):
        kept = Vocabularies.load(run, joint=c.joint)
        if given is not None and Tokenizer.load(given).hash != kept.src.hash:
            raise CheckpointError(
                f"{given}: is not the tokenizer that {run.path} was started with",
                hint="leave --tokenizer out to go on with the run's own, or choose another --run",
            )
        return kept
    if given is not None:
        tokenizer = Tokenizer.load(given)
        found = Vocabularies(tokenizer, tokenizer if c.joint else Tokenizer.load(given))
    else:
        notify(f"training the tokenizer ({c.model_type}, {c.vocab_size} pieces)")
        sides = [text.src + text.tgt] if c.joint else [text.src, text.tgt]
        trained = [train_tokenizer(side, c, config.training.seed) for side in sides]
        for _, notes in trained:
            for note in notes:
                notify(f"note: {note}")
        found = Vocabularies(trained[0][0], trained[-1][0])
    found.save(run)
    return found


def prepare_corpus(
    run: RunDirectory,
    name: str,
    text: ParallelText,
    vocabularies: Vocabularies,
    config: Config,
    notify: Notify,
) -> EncodedCorpus:
    """The corpus as ids, from the run directory if its inputs are the same."""
    key = {
        "text": hash_text(text.src, text.tgt),
        "tokenizer": vocabularies.hash,
        "data": repr(sorted(config.data.model_dump().items())),
    }
    corpus = load_corpus(run.data, name, key)
    if corpus is None:
        corpus = encode_corpus(text, vocabularies.src, vocabularies.tgt, config.data)
        save_corpus(corpus, run.data, name, key)
    left_out = {reason: count for reason, count in corpus.left_out.items() if count}
    if left_out:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        notify(f"{name}: {len(corpus):,} of {len(text):,} pairs used; left out: {reasons}")
    if not len(corpus):
        raise DataError(
            f"{name}: no pair is left after filtering",
            hint="raise data.max_length, or check the files",
        )
    return corpus


def epoch_corpora(
    config: Config, vocabularies: Vocabularies, text: ParallelText, plain: EncodedCorpus
) -> EpochCorpora:
    """What each epoch reads."""
    if not config.data.subword_sampling:
        return lambda epoch: plain
    tokenizers = (vocabularies.src, vocabularies.tgt)
    alpha, longest, seed = config.data.subword_sampling, config.data.max_length, config.training.seed
    return SampledCorpus(text, plain, tokenizers, alpha, longest, seed)
