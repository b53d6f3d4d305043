"""The whole of `train`: text, vocabulary, encoded corpus, model, loop, in one run directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from transformer_cli import durable
from transformer_cli.config import load_config
from transformer_cli.data.batching import BatchStream, batches_in_order
from transformer_cli.data.corpus import ParallelText, hold_out, one_sided_blanks, read_parallel
from transformer_cli.data.store import EncodedCorpus, encode_corpus, load_corpus, save_corpus
from transformer_cli.data.text import encode_lines
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.decoding.lines import Wishes
from transformer_cli.errors import CheckpointError, ConfigError, DataError
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.experiment.inference import make_translator
from transformer_cli.experiment.recipe import choose_recipe
from transformer_cli.experiment.rundir import RunDirectory, Vocabularies, model_hash, text_hash
from transformer_cli.models.registry import build_model, check_architecture
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.runtime import pick_device, pick_precision, tune_process
from transformer_cli.schema import Config, DecodingConfig
from transformer_cli.training.checkpoint import CheckpointStore, check_identity, load_training, read_manifest
from transformer_cli.training.loop import MetricsLog, StopRequest, Trainer, Validation
from transformer_cli.training.objective import smoothed_loss
from transformer_cli.training.state import Progress, TrainState

SAMPLES = 3
"""Translations shown at each validation."""
Say = Callable[[str], None]


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
    """How training ended."""

    reason: str
    progress: Progress
    run: RunDirectory


def run_training(request: TrainRequest, say: Say, stop: StopRequest) -> Outcome:
    """Train, or go on training, the run that `request` describes.

    Raises:
        UserError: anything that the user can put right; nothing that existed is lost.
    """
    tune_process()
    device = pick_device(request.device)
    run = RunDirectory(request.run)
    # A typo is said before anything is read.
    check_architecture(load_config(request.config, request.settings).model)
    run.refuse_foreign()
    text, valid = _read(request, say)
    config = _configure(request, run, text, device, say)
    if request.valid_src is None:
        text, valid = hold_out(text, config.training.seed)
        seed = config.training.seed
        say(f"no validation files: {len(valid):,} pairs held out of the training text by seed {seed}")
    _warn_of_overlap(text, valid, say)
    with run.locked():
        if has_checkpoints(run):
            run.refuse_other_config(config)
        else:
            run.write_config(config)  # nothing has been learned yet: all may still change
        vocabularies = _vocabularies(run, config, text, request.tokenizer, say)
        identity = {
            "tokenizer": vocabularies.hash,
            "model": model_hash(config),
            "training text": text_hash(text.src, text.tgt),
            "validation text": text_hash(valid.src, valid.tgt),
        }
        store = CheckpointStore(run.checkpoints, identity)
        newest = _newest_checkpoint(store, say)
        # From here on the directory is this run's, and files in it are replaced.
        durable.make_directory(store.directory)
        run.write_config(config)
        train_data = _encoded(run, "train", text, vocabularies, config, say)
        valid_data = _encoded(run, "valid", valid, vocabularies, config, say)
        torch.manual_seed(config.training.seed)
        model = build_model(config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size).to(device)
        state = TrainState(model, config.optim, config.training)
        if newest is not None:
            _resume(store, newest, state, say)
        _announce(config, model, train_data, device, say)
        stream = BatchStream(train_data, config.data.batch_tokens, config.training.seed, state.progress.position)
        validator = _Validator(run, config, model, vocabularies, valid, valid_data, device, say)
        log = MetricsLog(run.metrics, state.progress.step)
        reason = Trainer(state, config, stream, validator, store, log, stop, say).run()
    return Outcome(reason, state.progress, run)


def _read(request: TrainRequest, say: Say) -> tuple[ParallelText, ParallelText]:
    if (request.valid_src is None) != (request.valid_tgt is None):
        raise ConfigError("--valid-src and --valid-tgt go together")
    text = read_parallel(request.src, request.tgt, strict_utf8=request.strict_utf8)
    valid = ParallelText([], [])
    if request.valid_src is not None and request.valid_tgt is not None:
        valid = read_parallel([request.valid_src], [request.valid_tgt], strict_utf8=request.strict_utf8)
    for note in [*text.notes, *valid.notes]:
        say(f"warning: {note}")
    for name, side in (("training", text), ("validation", valid)):
        lines = one_sided_blanks(side)
        if lines:
            shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
            say(f"warning: {len(lines):,} {name} pairs are blank on one side (lines {shown}): check the alignment")
    return text, valid


def _warn_of_overlap(text: ParallelText, valid: ParallelText, say: Say) -> None:
    seen = set(zip(text.src, text.tgt, strict=True))
    overlap = sum(pair in seen for pair in zip(valid.src, valid.tgt, strict=True))
    if overlap:
        say(f"warning: {overlap:,} validation pairs also stand in the training text")


def has_checkpoints(run: RunDirectory) -> bool:
    """Whether anything has been learned in this directory."""
    return bool(CheckpointStore(run.checkpoints, {}).steps())


def _configure(
    request: TrainRequest, run: RunDirectory, text: ParallelText, device: torch.device, say: Say
) -> Config:
    if request.config is not None:
        return load_config(request.config, request.settings)
    if has_checkpoints(run):
        return load_config(run.config, request.settings)  # the recipe that this run was started with
    words = sum(len(line.split()) for line in text.tgt)
    recipe = choose_recipe(len(text), words, on_gpu=device.type != "cpu")
    say(f"no configuration given; recipe for {len(text):,} pairs:")
    for reason in recipe.reasons:
        say(f"  {reason}")
    return load_config(None, request.settings, base=recipe.values)


def _vocabularies(
    run: RunDirectory, config: Config, text: ParallelText, given: Path | None, say: Say
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
        say(f"training the tokenizer ({c.model_type}, {c.vocab_size} pieces)")
        sides = [text.src + text.tgt] if c.joint else [text.src, text.tgt]
        trained = [train_tokenizer(side, c, config.training.seed) for side in sides]
        for _, notes in trained:
            for note in notes:
                say(f"note: {note}")
        found = Vocabularies(trained[0][0], trained[-1][0])
    found.save(run)
    return found


def _encoded(
    run: RunDirectory,
    name: str,
    text: ParallelText,
    vocabularies: Vocabularies,
    config: Config,
    say: Say,
) -> EncodedCorpus:
    """The corpus as ids, from the run directory if its inputs are the same."""
    key = {
        "text": text_hash(text.src, text.tgt),
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
        say(f"{name}: {len(corpus):,} of {len(text):,} pairs used; left out: {reasons}")
    if not len(corpus):
        raise DataError(
            f"{name}: no pair is left after filtering",
            hint="raise data.max_length, or check the files",
        )
    return corpus


def _newest_checkpoint(store: CheckpointStore, say: Say) -> Path | None:
    """The checkpoint to resume from. Raises: CheckpointError if it was made with other inputs."""
    newest, problems = store.newest_valid()
    for problem in problems:
        say(f"warning: {problem}; going back to an older checkpoint")
    if newest is not None:
        check_identity(newest, read_manifest(newest), store.identity)
    return newest


def _resume(store: CheckpointStore, newest: Path, state: TrainState, say: Say) -> None:
    for path in store.steps():
        if path.name > newest.name:
            store.discard(path)
    load_training(newest, state)
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
        f"matrix products in {pick_precision(device, config.training.precision)}"
    )


@dataclass
class _Validator:
    """Loss, BLEU and chrF on the validation set; shows and keeps translations."""

    run: RunDirectory
    config: Config
    model: Seq2Seq
    vocabularies: Vocabularies
    text: ParallelText
    corpus: EncodedCorpus
    device: torch.device
    say: Say

    def __call__(self, step: int) -> Validation:
        # Greedy: a third of the time of a beam, and it ranks checkpoints the same way.
        options = DecodingConfig(
            beam=1,
            max_length_ratio=self.config.decoding.max_length_ratio,
            batch_tokens=self.config.decoding.batch_tokens,
        )
        wishes = Wishes(scored=False)
        translator = make_translator(self.config, self.model, self.vocabularies, options, wishes)
        loss = self._loss()
        translations = [t.text for t in translator.translate(self.text.src)]
        bleu, chrf = quick_scores(translations, self.text.tgt)
        scores = Validation(loss, bleu, chrf)
        durable.make_directory(self.run.samples)
        durable.write_bytes(self.run.samples / f"step_{step:09d}.txt", encode_lines(translations))
        self.say(
            f"step {step}: loss {loss:.3f}, perplexity {scores.perplexity:.2f}, "
            f"BLEU {bleu:.2f}, chrF {chrf:.2f} (greedy)"
        )
        for i in self._shown():
            self.say(f"    source      {self.text.src[i]}")
            self.say(f"    reference   {self.text.tgt[i]}")
            self.say(f"    translation {translations[i]}")
        return scores

    @torch.no_grad()
    def _loss(self) -> float:
        """Mean negative log-likelihood of a target token, in nats."""
        total, tokens = 0.0, 0
        for batch in batches_in_order(self.corpus, self.config.data.batch_tokens):
            on_device = batch.to(self.device)
            states = self.model(on_device)
            _, nll = smoothed_loss(states, self.model.output_weight, on_device.tgt_out, 0.0)
            total += float(nll)
            tokens += batch.tokens
        return total / tokens

    def _shown(self) -> list[int]:
        usable = [i for i, line in enumerate(self.text.src) if line.strip()]
        return usable[:: max(1, len(usable) // SAMPLES)][:SAMPLES]
