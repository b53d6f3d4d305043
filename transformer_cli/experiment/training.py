"""The whole of `train`: text, vocabulary, encoded corpus, model, loop, in one run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies, hash_architecture, hash_text
from transformer_cli.batch import TokenBudget
from transformer_cli.config import flatten_config, load_config
from transformer_cli.data.batching import BatchStream
from transformer_cli.data.corpus import ParallelText, hold_out_validation
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.experiment.preparation import (
    Notify,
    epoch_corpora,
    has_checkpoints,
    prepare_corpus,
    prepare_vocabularies,
    read_texts,
    warn_about_overlap,
)
from transformer_cli.experiment.recipe import choose_recipe
from transformer_cli.experiment.validation import Validator
from transformer_cli.models.registry import build_model, check_architecture
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.runtime import resolve_precision, select_device, tune_process
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore, check_identity, load_training, read_manifest
from transformer_cli.training.distributed import Ranks
from transformer_cli.training.loop import StopRequest, Trainer
from transformer_cli.training.metrics_log import MetricsLog
from transformer_cli.training.state import Progress, TrainState
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.training.update import EagerUpdate, Update


@dataclass(frozen=True)
class TrainRequest:
    """What the user asked for on the command line."""

    run: Path
    src: Sequence[Path]
    tgt: Sequence[Path]
    valid_src: Path | None = None
    valid_tgt: Path | None = None
    config: Path | None = None
    settings: Sequence[str] = ()
    tokenizer: Path | None = None
    device: str = "auto"
    strict_utf8: bool = False


@dataclass(frozen=True)
class TrainingOutcome:
    """How training ended: `steps` updates after it began, because of `reason`, or `interrupted` by a signal."""

    reason: str
    steps: int
    interrupted: bool
    progress: Progress
    run: RunDirectory
    is_main: bool = True
    """Whether this process is to speak for all that trained together."""


def run_training(
    request: TrainRequest, notify: Notify, stop: StopRequest, ready: Callable[[], None] = lambda: None
) -> TrainingOutcome:
    """Train, or go on training, the run that `request` describes.

    `ready` is called once all is prepared, before the first update: from there on a signal has something to save.

    Raises:
        UserError: anything that the user can put right; nothing that existed is lost.
    """
    tune_process()
    device = select_device(request.device)
    ranks = Ranks.from_environment(device)
    run = RunDirectory(request.run)
    if not ranks.is_main:
        notify = _silent
        ranks.barrier()  # for the leader to check and prepare everything; what follows finds it done
    # A typo is said before anything is read.
    check_architecture(load_config(request.config, request.settings).model)
    run.require_run_or_empty()
    text, valid = read_texts(
        request.src, request.tgt, request.valid_src, request.valid_tgt, notify, strict_utf8=request.strict_utf8
    )
    config = _configure(request, run, text, device, ranks, notify)
    if request.valid_src is None:
        text, valid = hold_out_validation(text, config.training.seed)
        seed = config.training.seed
        notify(f"no validation files: {len(valid):,} pairs held out of the training text by seed {seed}")
    warn_about_overlap(text, valid, notify)
    with run.locked() if ranks.is_main else contextlib.nullcontext():
        if has_checkpoints(run):
            run.require_same_config(config)
        elif ranks.is_main:
            run.write_config(config)  # nothing has been learned yet: all may still change
        if ranks.is_main:
            vocabularies = prepare_vocabularies(run, config, text, request.tokenizer, notify)
        else:
            vocabularies = Vocabularies.load(run, joint=config.tokenizer.joint)
        identity = {
            "tokenizer": vocabularies.hash,
            "model": hash_architecture(config),
            "training text": hash_text(text.src, text.tgt),
            "validation text": hash_text(valid.src, valid.tgt),
        }
        store = CheckpointStore(run.checkpoints, identity)
        newest = _newest_checkpoint(store, notify)
        if ranks.is_main:
            # From here on the directory is this run's, and files in it are replaced.
            durable.make_directory(store.directory)
            run.write_config(config)
        train_data = prepare_corpus(run, "train", text, vocabularies, config, notify)
        valid_data = prepare_corpus(run, "valid", valid, vocabularies, config, notify)
        torch.manual_seed(config.training.seed)
        model = build_model(config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size).to(device)
        state = TrainState(model, config.optim, config.training, ranks)
        if ranks.is_main:
            _set_aside_damaged(store, newest)
            ranks.barrier()
        else:
            torch.manual_seed(int(np.random.SeedSequence([config.training.seed, ranks.rank]).generate_state(1)[0]))
        if newest is not None:
            _resume(store, newest, state, notify)
        _report_setup(config, model, train_data, device, notify)
        corpora = epoch_corpora(config, vocabularies, text, train_data)
        update, budget = _choose_update(state, config, device, notify)
        seed, position = config.training.seed, state.progress.position
        stream = BatchStream(corpora, config.data.batch_tokens, seed, position, packed=budget)
        validator = Validator(run, config, model, vocabularies, valid, valid_data, device, notify)
        log = MetricsLog(
            run.metrics if ranks.is_main else None, state.progress.step, state.progress.validated_step
        )
        _dry_run(update, stream, text, train_data, notify)
        ready()
        began = state.progress.step
        reason = Trainer(state, config, stream, update, validator, store, log, stop, notify).run()
    ranks.close()
    interrupted = reason == f"signal {stop.signal}"  # one that came later, in the last validation, ended nothing
    return TrainingOutcome(reason, state.progress.step - began, interrupted, state.progress, run, ranks.is_main)


def _silent(message: str) -> None:
    """The leader has said it."""


def _configure(
    request: TrainRequest,
    run: RunDirectory,
    text: ParallelText,
    device: torch.device,
    ranks: Ranks,
    notify: Notify,
) -> Config:
    if request.config is not None:
        return load_config(request.config, request.settings)
    if has_checkpoints(run):
        return load_config(run.config, request.settings)  # the recipe that this run was started with
    recipe = choose_recipe(text.tgt, on_gpu=device.type != "cpu", ranks=ranks.size)
    config = load_config(None, request.settings, base=recipe.values)
    notify(f"no configuration given; recipe for {len(text):,} pairs:")
    for line in recipe.told(flatten_config(config)):
        notify(f"  {line}")
    return config


def _newest_checkpoint(store: CheckpointStore, notify: Notify) -> Path | None:
    """The checkpoint to resume from. Raises: CheckpointError if it was made with other inputs."""
    newest, problems = store.newest_intact()
    for problem in problems:
        notify(f"warning: {problem}; going back to an older checkpoint")
    if newest is not None:
        check_identity(newest, read_manifest(newest), store.identity)
    return newest


def _set_aside_damaged(store: CheckpointStore, newest: Path | None) -> None:
    """Move damaged checkpoints out of the way of those that will be written."""
    for path in store.steps():
        if newest is not None and path.name > newest.name:
            store.set_aside(path)


def _resume(store: CheckpointStore, newest: Path, state: TrainState, notify: Notify) -> None:
    load_training(newest, state)
    store.forget_missing_best(state.progress)
    if state.ranks.is_main:
        store.repair_links(newest, state.progress)
    made = read_manifest(newest)
    here = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for name, value in here.items():
        if made.get(name) != value:
            notify(
                f"warning: saved with {name} {made.get(name)}, now {value}: results will differ in the last digits"
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
    state: TrainState, config: Config, device: torch.device, notify: Notify
) -> tuple[Update, TokenBudget | None]:
    """How the weights are changed, and the shape of packed batches where they have one."""
    eager, reason = EagerUpdate(state, config, notify), static_unsupported_reason(state, config)
    if not reason:
        budget = token_budget(config)
        return StaticUpdate(eager, budget, notify), budget
    if device.type == "cuda" or config.training.compile:
        also = ", and training.compile has no effect" if config.training.compile else ""
        notify(f"note: updates run operation by operation, without a CUDA graph{also}: {reason}")
    return eager, None


def _dry_run(
    update: Update, stream: BatchStream, text: ParallelText, corpus: EncodedCorpus, notify: Notify
) -> None:
    """The largest batch once, so that what does not fit is known before hours have been spent."""
    pairs = stream.largest_batch()
    peak = update.dry_run(pairs)
    row = int(np.argmax(np.maximum(corpus.src.lengths, corpus.tgt.lengths)))
    notify(
        f"largest batch: {len(pairs)} pairs, {pairs.tokens:,} target tokens, peak memory "
        f"{peak / 2**20:,.0f} MiB; longest pair: {text.place(int(corpus.lines[row]))}, "
        f"{corpus.src.lengths[row]} and {corpus.tgt.lengths[row]} tokens"
    )
