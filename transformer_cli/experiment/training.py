"""The whole of `train`: text, vocabulary, encoded corpus, model, loop, in one run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from transformer_cli import durable
from transformer_cli.batch import Budget
from transformer_cli.config import flat_items, load_config
from transformer_cli.data.batching import BatchStream
from transformer_cli.data.corpus import ParallelText, hold_out
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.experiment.preparation import (
    Say,
    corpora_of,
    has_checkpoints,
    prepare_corpus,
    prepare_vocabularies,
    read_texts,
    warn_of_overlap,
)
from transformer_cli.experiment.recipe import choose_recipe
from transformer_cli.experiment.rundir import RunDirectory, Vocabularies, model_hash, text_hash
from transformer_cli.experiment.validation import Validator
from transformer_cli.models.registry import build_model, check_architecture
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.runtime import pick_device, pick_precision, tune_process
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import CheckpointStore, check_identity, load_training, read_manifest
from transformer_cli.training.distributed import Ranks
from transformer_cli.training.loop import StopRequest, Trainer
from transformer_cli.training.metrics import MetricsLog
from transformer_cli.training.state import Progress, TrainState
from transformer_cli.training.static import StaticUpdate, budget_of, obstacle
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
class Outcome:
    """How training ended: `steps` updates after it began, because of `reason`, or `interrupted` by a signal."""

    reason: str
    steps: int
    interrupted: bool
    progress: Progress
    run: RunDirectory
    leads: bool = True
    """Whether this process is to speak for all that trained together."""


def run_training(
    request: TrainRequest, say: Say, stop: StopRequest, ready: Callable[[], None] = lambda: None
) -> Outcome:
    """Train, or go on training, the run that `request` describes.

    `ready` is called once all is prepared, before the first update: from there on a signal has something to save.

    Raises:
        UserError: anything that the user can put right; nothing that existed is lost.
    """
    tune_process()
    device = pick_device(request.device)
    ranks = Ranks.join(device)
    run = RunDirectory(request.run)
    if not ranks.leads:
        say = _silent
        ranks.wait()  # for the leader to check and prepare everything; what follows finds it done
    # A typo is said before anything is read.
    check_architecture(load_config(request.config, request.settings).model)
    run.refuse_foreign()
    text, valid = read_texts(
        request.src, request.tgt, request.valid_src, request.valid_tgt, say, strict_utf8=request.strict_utf8
    )
    config = _configure(request, run, text, device, ranks, say)
    if request.valid_src is None:
        text, valid = hold_out(text, config.training.seed)
        seed = config.training.seed
        say(f"no validation files: {len(valid):,} pairs held out of the training text by seed {seed}")
    warn_of_overlap(text, valid, say)
    with run.locked() if ranks.leads else contextlib.nullcontext():
        if has_checkpoints(run):
            run.refuse_other_config(config)
        elif ranks.leads:
            run.write_config(config)  # nothing has been learned yet: all may still change
        if ranks.leads:
            vocabularies = prepare_vocabularies(run, config, text, request.tokenizer, say)
        else:
            vocabularies = Vocabularies.load(run, joint=config.tokenizer.joint)
        identity = {
            "tokenizer": vocabularies.hash,
            "model": model_hash(config),
            "training text": text_hash(text.src, text.tgt),
            "validation text": text_hash(valid.src, valid.tgt),
        }
        store = CheckpointStore(run.checkpoints, identity)
        newest = _newest_checkpoint(store, say)
        if ranks.leads:
            # From here on the directory is this run's, and files in it are replaced.
            durable.make_directory(store.directory)
            run.write_config(config)
        train_data = prepare_corpus(run, "train", text, vocabularies, config, say)
        valid_data = prepare_corpus(run, "valid", valid, vocabularies, config, say)
        torch.manual_seed(config.training.seed)
        model = build_model(config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size).to(device)
        state = TrainState(model, config.optim, config.training, ranks)
        if ranks.leads:
            _tidy(store, newest)
            ranks.wait()
        else:
            torch.manual_seed(int(np.random.SeedSequence([config.training.seed, ranks.rank]).generate_state(1)[0]))
        if newest is not None:
            _resume(store, newest, state, say)
        _announce(config, model, train_data, device, say)
        corpora = corpora_of(config, vocabularies, text, train_data)
        update, budget = _choose_update(state, config, device, say)
        seed, position = config.training.seed, state.progress.position
        stream = BatchStream(corpora, config.data.batch_tokens, seed, position, packed=budget)
        validator = Validator(run, config, model, vocabularies, valid, valid_data, device, say)
        log = MetricsLog(run.metrics if ranks.leads else None, state.progress.step, state.progress.validated_step)
        _rehearse(update, stream, text, train_data, say)
        ready()
        began = state.progress.step
        reason = Trainer(state, config, stream, update, validator, store, log, stop, say).run()
    ranks.leave()
    interrupted = reason == f"signal {stop.signal}"  # one that came later, in the last validation, ended nothing
    return Outcome(reason, state.progress.step - began, interrupted, state.progress, run, ranks.leads)


def _silent(message: str) -> None:
    """The leader has said it."""


def _configure(
    request: TrainRequest, run: RunDirectory, text: ParallelText, device: torch.device, ranks: Ranks, say: Say
) -> Config:
    if request.config is not None:
        return load_config(request.config, request.settings)
    if has_checkpoints(run):
        return load_config(run.config, request.settings)  # the recipe that this run was started with
    recipe = choose_recipe(text.tgt, on_gpu=device.type != "cpu", ranks=ranks.size)
    config = load_config(None, request.settings, base=recipe.values)
    say(f"no configuration given; recipe for {len(text):,} pairs:")
    for line in recipe.told(flat_items(config)):
        say(f"  {line}")
    return config


def _newest_checkpoint(store: CheckpointStore, say: Say) -> Path | None:
    """The checkpoint to resume from. Raises: CheckpointError if it was made with other inputs."""
    newest, problems = store.newest_valid()
    for problem in problems:
        say(f"warning: {problem}; going back to an older checkpoint")
    if newest is not None:
        check_identity(newest, read_manifest(newest), store.identity)
    return newest


def _tidy(store: CheckpointStore, newest: Path | None) -> None:
    """Move damaged checkpoints out of the way of those that will be written."""
    for path in store.steps():
        if newest is not None and path.name > newest.name:
            store.discard(path)


def _resume(store: CheckpointStore, newest: Path, state: TrainState, say: Say) -> None:
    load_training(newest, state)
    store.forget_lost_best(state.progress)
    if state.ranks.leads:
        store.repair_names(newest, state.progress)
    made = read_manifest(newest)
    here = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    for name, value in here.items():
        if made.get(name) != value:
            say(
                f"warning: saved with {name} {made.get(name)}, now {value}: results will differ in the last digits"
            )
    say(f"resuming from {newest.name}")


def _announce(config: Config, model: Seq2Seq, corpus: EncodedCorpus, device: torch.device, say: Say) -> None:
    parameters = sum(p.numel() for p in model.parameters())
    tokens = int(corpus.tgt.offsets[-1])
    say(
        f"{config.model.encoder} -> {config.model.decoder}, {parameters:,} parameters; "
        f"{len(corpus):,} pairs, {tokens:,} target tokens; device {device}, {torch.get_num_threads()} threads, "
        f"matrix products in {pick_precision(device, config.training.precision, config.model.d_model)}"
    )


def _choose_update(
    state: TrainState, config: Config, device: torch.device, say: Say
) -> tuple[Update, Budget | None]:
    """How the weights are changed, and the shape of packed batches where they have one."""
    eager, reason = EagerUpdate(state, config, say), obstacle(state, config)
    if not reason:
        budget = budget_of(config)
        return StaticUpdate(eager, budget, say), budget
    if device.type == "cuda" or config.training.compile:
        also = ", and training.compile has no effect" if config.training.compile else ""
        say(f"note: updates run operation by operation, without a CUDA graph{also}: {reason}")
    return eager, None


def _rehearse(update: Update, stream: BatchStream, text: ParallelText, corpus: EncodedCorpus, say: Say) -> None:
    """The largest batch once, so that what does not fit is known before hours have been spent."""
    pairs = stream.largest()
    peak = update.rehearse(pairs)
    row = int(np.argmax(np.maximum(corpus.src.lengths, corpus.tgt.lengths)))
    say(
        f"largest batch: {len(pairs)} pairs, {pairs.tokens:,} target tokens, peak memory "
        f"{peak / 2**20:,.0f} MiB; longest pair: {text.place(int(corpus.lines[row]))}, "
        f"{corpus.src.lengths[row]} and {corpus.tgt.lengths[row]} tokens"
    )
