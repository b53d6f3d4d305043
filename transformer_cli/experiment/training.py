"""Implementation of `train`: prepare the data, build the model, and train in one run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, hash_architecture
from transformer_cli.batch import TokenBudget
from transformer_cli.config import load_config
from transformer_cli.data.batching import BatchStream
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.data.text import Notify
from transformer_cli.errors import ConfigError
from transformer_cli.experiment.configuration import choose_config
from transformer_cli.experiment.corpora import directed_files, require_targets
from transformer_cli.experiment.length_penalty import tune_length_penalty
from transformer_cli.experiment.preparation import (
    epoch_corpora,
    has_checkpoints,
    prepare_corpus,
    prepare_vocabularies,
)
from transformer_cli.experiment.starting_model import open_starting_model
from transformer_cli.experiment.texts import TextRequest, prepare_texts
from transformer_cli.experiment.validation import Validator
from transformer_cli.manifest import check_identity, read_manifest
from transformer_cli.models.registry import build_model, check_architecture
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.runtime import resolve_precision, select_device, tune_process
from transformer_cli.schema import Config, DataConfig
from transformer_cli.training.checkpoint import CheckpointStore, load_training
from transformer_cli.training.distributed import Ranks
from transformer_cli.training.loop import StopRequest, Trainer
from transformer_cli.training.metrics_log import MetricsLog
from transformer_cli.training.state import Progress, TrainState
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.training.update import EagerUpdate, Update


@dataclass(frozen=True)
class TrainRequest:
    """Arguments of `train`.

    Attributes:
        settings: `section.key=value`.
        tokenizer: a trained SentencePiece model.
        starting_model: run directory or bundle whose weights the run starts from.
    """

    run: Path
    src: Sequence[Path] = ()
    tgt: Sequence[Path] = ()
    valid_src: Path | None = None
    valid_tgt: Path | None = None
    config: Path | None = None
    settings: Sequence[str] = ()
    tokenizer: Path | None = None
    device: str = "auto"
    strict_utf8: bool = False
    data: Sequence[Path] = ()
    valid_data: Path | None = None
    columns: str | None = None
    data_format: str | None = None
    starting_model: Path | None = None

    def corpus(self, config: DataConfig) -> CorpusFiles:
        """The files of the training text."""
        directed = directed_files(config.corpora)
        return CorpusFiles(self.src, self.tgt, self.data, self.columns, self.data_format, directed)

    def validation(self, config: DataConfig) -> CorpusFiles:
        """The files of the validation text; empty if it is to be held out. Raises: ConfigError."""
        if config.corpora:
            if self.valid_src or self.valid_tgt or self.valid_data:
                raise ConfigError(
                    "--corpus cannot be combined with --valid-src, --valid-tgt and --valid-data",
                    hint="name the languages of the validation text: --valid-corpus en-de=valid.en,valid.de",
                )
            return CorpusFiles(form=self.data_format, directed=directed_files(config.valid_corpora))
        if (self.valid_src is None) != (self.valid_tgt is None):
            raise ConfigError("--valid-src and --valid-tgt must be given together")
        columns = self.columns if self.valid_data else None
        return CorpusFiles.of(self.valid_src, self.valid_tgt, self.valid_data, columns, self.data_format)


@dataclass(frozen=True)
class TrainingOutcome:
    """How training ended.

    Attributes:
        reason: the condition that stopped it.
        steps: number of updates in this process.
        interrupted: whether a signal stopped it.
        progress: the final state.
        run: the run directory.
        is_main: whether this is the main process of distributed training, which reports the outcome.
    """

    reason: str
    steps: int
    interrupted: bool
    progress: Progress
    run: RunDirectory
    is_main: bool = True


def run_training(
    request: TrainRequest, notify: Notify, stop: StopRequest, ready: Callable[[], None] = lambda: None
) -> TrainingOutcome:
    """Start or resume the training run of `request`.

    Args:
        notify: receives messages for the user.
        stop: a signal handler sets it to stop training after the current update.
        ready: called after all preparation, before the first update. From then on there is progress to save.

    Raises:
        UserError: anything that the user can correct; existing checkpoints are intact.
    """
    tune_process()
    device = select_device(request.device)
    ranks = Ranks.from_environment(device)
    run = RunDirectory(request.run)
    if not ranks.is_main:
        notify = _discard
        ranks.barrier()  # the main process first checks and writes everything; the others then read its files
    # Report a typo before reading any data.
    check_architecture(load_config(request.config, request.settings).model)
    run.require_run_or_empty()
    start_from = open_starting_model(request.starting_model, run)
    # The recipe, which depends on the text, sets nothing that the text depends on.
    base = request.config or (run.config if has_checkpoints(run) else None)
    values = start_from.values if start_from is not None and base is None else None
    options = load_config(base, request.settings, values)
    files = request.corpus(options.data), request.validation(options.data)
    require_targets(options.data)
    texts = prepare_texts(TextRequest(*files, options, request.strict_utf8, _nearest(run.path)), run.data)
    for note in texts.reading_notes:
        notify(note)
    config = choose_config(
        request.config,
        request.settings,
        run,
        texts.survey,
        texts.train.languages,
        start_from,
        notify,
        on_gpu=device.type != "cpu",
        ranks=ranks.size,
    )
    for note in texts.split_notes:
        notify(note)
    with run.locked() if ranks.is_main else contextlib.nullcontext():
        if has_checkpoints(run):
            run.require_same_config(config)
        elif ranks.is_main:
            run.write_config(config)  # without a checkpoint, all keys may still change
        if ranks.is_main:
            initial = start_from.vocabularies if start_from else None
            vocabularies = prepare_vocabularies(run, config, texts, request.tokenizer, initial, notify)
        else:
            vocabularies = Vocabularies.load(run, joint=config.tokenizer.joint)
        identity = {
            "tokenizer": vocabularies.hash,
            "model": hash_architecture(config),
            "training text": texts.hashes[0],
            "validation text": texts.hashes[1],
        }
        store = CheckpointStore(run.checkpoints, identity)
        newest = _newest_checkpoint(store, notify)
        if ranks.is_main:
            # All checks have passed: from here on files in the directory are replaced.
            durable.make_directory(store.directory)
            run.write_config(config)
            if start_from is not None:
                start_from.record(run)
            texts.remember(run.data)
        text, valid = texts.train, texts.valid
        train_data = prepare_corpus(run, "train", text, texts.hashes[0], vocabularies, config, notify, texts)
        valid_data = prepare_corpus(run, "valid", valid, texts.hashes[1], vocabularies, config, notify)
        del texts  # and the sample of the corpus in its filters
        torch.manual_seed(config.training.seed)
        model = build_model(config.model, *vocabularies.sizes).to(device)
        if start_from is not None and newest is None:
            start_from.copy_weights(model, vocabularies, notify)
        state = TrainState(model, config.optim, config.training, ranks)
        if ranks.is_main:
            _set_aside_damaged(store, newest)
            ranks.barrier()
        else:
            torch.manual_seed(int(np.random.SeedSequence([config.training.seed, ranks.rank]).generate_state(1)[0]))
        if newest is not None:
            _resume(store, newest, state, notify)
        _report_setup(config, model, train_data, device, notify)
        corpora = epoch_corpora(config, vocabularies, text, train_data, notify)
        update, budget = _choose_update(state, config, train_data, device, notify)
        seed, position = config.training.seed, state.progress.position
        stream = BatchStream(corpora, config.data.batch_tokens, seed, position, packed=budget)
        validator = Validator(run, config, model, vocabularies, valid, valid_data, device, notify)
        log = MetricsLog(
            run.metrics if ranks.is_main else None, state.progress.step, state.progress.validated_step
        )
        _dry_run(update, stream, text, train_data, notify)
        ready()
        start = state.progress.step
        trainer = Trainer(state, config, stream, update, validator, store, log, stop, notify)
        reason = trainer.run(validate_first=start_from is not None and newest is None)
        if ranks.is_main and config.training.tune_length_penalty and not stop.signal:
            tune_length_penalty(run, config, valid, device, notify, lambda: stop.signal > 0)
        ranks.barrier()
    ranks.close()
    interrupted = reason == f"signal {stop.signal}"  # a signal during the last validation stopped nothing
    return TrainingOutcome(reason, state.progress.step - start, interrupted, state.progress, run, ranks.is_main)


def _nearest(path: Path) -> Path:
    """The nearest directory that exists: the path itself, or one above it."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _discard(message: str) -> None:
    """Ignore a message that the main process also reports."""


def _newest_checkpoint(store: CheckpointStore, notify: Notify) -> Path | None:
    """The newest intact checkpoint. Raises: CheckpointError if it was trained with other inputs."""
    newest, problems = store.newest_intact()
    for problem in problems:
        notify(f"warning: {problem}; trying an older checkpoint")
    if newest is not None:
        check_identity(newest, read_manifest(newest), store.identity)
    return newest


def _set_aside_damaged(store: CheckpointStore, newest: Path | None) -> None:
    """Rename damaged checkpoints, so that new ones of the same step can be written."""
    for path in store.checkpoint_paths():
        if newest is not None and path.name > newest.name:
            store.set_aside(path)


def _resume(store: CheckpointStore, newest: Path, state: TrainState, notify: Notify) -> None:
    """Restore `state` from a checkpoint."""
    load_training(newest, state)
    store.forget_missing_best(state.progress)
    if state.ranks.is_main:
        store.repair_links(newest, state.progress)
    manifest = read_manifest(newest)
    environment = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for name, value in environment.items():
        if manifest.get(name) != value:
            notify(
                f"warning: the checkpoint was saved with {name} {manifest.get(name)}, this process has {value}; "
                "results will differ in the last digits"
            )
    notify(f"resuming from {newest.name}")


def _report_setup(
    config: Config, model: Seq2Seq, corpus: EncodedCorpus, device: torch.device, notify: Notify
) -> None:
    parameters = sum(p.numel() for p in model.parameters())
    tokens = int(corpus.tgt.offsets[-1])
    notify(
        f"{config.model.encoder} -> {config.model.decoder}, {parameters:,} parameters; "
        f"{len(corpus):,} pairs, {tokens:,} target tokens; device {device}, {torch.get_num_threads()} threads, "
        f"matrix products in {resolve_precision(device, config.training.precision, config.model.d_model)}"
    )


def _choose_update(
    state: TrainState, config: Config, corpus: EncodedCorpus, device: torch.device, notify: Notify
) -> tuple[Update, TokenBudget | None]:
    """Choose static updates (CUDA graphs, with the budget of their packed batches) if supported, or eager ones."""
    eager, reason = EagerUpdate(state, config, notify), static_unsupported_reason(state, config)
    if not reason:
        budget = token_budget(config, corpus.src, corpus.tgt)
        return StaticUpdate(eager, budget, notify), budget
    if device.type == "cuda" or config.training.compile:
        compile_note = ", and training.compile has no effect" if config.training.compile else ""
        notify(f"note: updates run in eager mode, without a CUDA graph{compile_note}: {reason}")
    return eager, None


def _dry_run(
    update: Update, stream: BatchStream, text: ParallelText, corpus: EncodedCorpus, notify: Notify
) -> None:
    """Run the largest batch once, so that running out of memory shows at the start of training."""
    pairs = stream.largest_batch()
    peak = update.dry_run(pairs)
    row = int(np.argmax(np.maximum(corpus.src.lengths, corpus.tgt.lengths)))
    notify(
        f"largest batch: {len(pairs)} pairs, {pairs.tokens:,} target tokens, peak memory "
        f"{peak / 2**20:,.0f} MiB; longest pair: {text.location(int(corpus.lines[row]))}, "
        f"{corpus.src.lengths[row]} and {corpus.tgt.lengths[row]} tokens"
    )
