"""Checkpoints: exact round trips, detection of damage, and crash safety."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import random
import resource
from pathlib import Path

import pytest
import torch
from conftest import Failing

from transformer_cli import durable
from transformer_cli.errors import CheckpointError, DiskError
from transformer_cli.manifest import MANIFEST, MODEL, check_identity, verify_checkpoint
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig, OptimConfig, TrainingConfig
from transformer_cli.training.checkpoint import CheckpointStore, load_training, load_weights, remove_checkpoint
from transformer_cli.training.state import TrainState

IDENTITY = {"tokenizer": "abc"}


def make_state(seed: int = 0, d_model: int = 8, ema: float = 0.0) -> TrainState:
    torch.manual_seed(seed)
    config = ModelConfig(d_model=d_model, num_heads=2, d_ff=8, encoder_layers=1, decoder_layers=1)
    return TrainState(build_model(config, 11, 11), OptimConfig(), TrainingConfig(ema=ema))


def advance(state: TrainState) -> None:
    """One update with random gradients."""
    for p in state.model.parameters():
        p.grad = torch.randn_like(p)
    state.optimizer.step()
    state.progress.step += 1
    if state.average:
        state.average.update(state.model, state.average.update_weight(state.progress.step))


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path, IDENTITY)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_round_trip_is_bit_exact(store: CheckpointStore, ema: float) -> None:
    state = make_state(ema=ema)
    for _ in range(3):
        advance(state)
    state.progress.best_score, state.progress.bad_validations = 12.5, 2
    path = store.save(state, best=True, keep_last=3)
    expected = [state.model_tensors(), state.optimizer_tensors(), state.progress.to_json()]
    expected = [{k: v.clone() for k, v in part.items()} for part in expected[:2]] + expected[2:]  # type: ignore[union-attr]
    advance(state)
    restored = make_state(seed=5, ema=ema)
    load_training(path, restored)
    actual = [restored.model_tensors(), restored.optimizer_tensors(), restored.progress.to_json()]
    assert actual[2] == expected[2]
    for a, b in zip(actual[:2], expected[:2], strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    advance(restored)  # equal random states and moments give an equal next step
    for a, b in zip(restored.model.parameters(), state.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_files_of_a_checkpoint(store: CheckpointStore) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    assert path.name == "step_000000000"
    names = {"model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"}
    assert {p.name for p in path.iterdir()} == names
    assert os.readlink(store.directory / "best") == os.readlink(store.directory / "last") == path.name


def test_pruning_keeps_the_best_and_the_last_checkpoints(store: CheckpointStore) -> None:
    state = make_state()
    for step in range(6):
        store.save(state, best=step == 1, keep_last=2)
        advance(state)
    assert [p.name[-1] for p in store.checkpoint_paths()] == ["1", "4", "5"]
    assert [store.resolve_link(n).name[-1] for n in ("best", "last")] == ["1", "5"]  # type: ignore[union-attr]


def test_pruning_keeps_unknown_files(store: CheckpointStore) -> None:
    state = make_state()
    first = store.save(state, best=False, keep_last=1)
    (first / "notes.txt").write_text("my notes")
    advance(state)
    store.save(state, best=True, keep_last=1)
    assert (first / "notes.txt").read_text() == "my notes"


def test_every_truncation_and_bit_flip_is_detected(store: CheckpointStore) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    rng = random.Random(0)
    verify_checkpoint(path)
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for _ in range(12):
            file.write_bytes(content[: rng.randrange(len(content))])
            with pytest.raises(CheckpointError):
                verify_checkpoint(path)
        if file.name != MANIFEST:
            for _ in range(125):
                flipped = bytearray(content)
                flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                file.write_bytes(flipped)
                with pytest.raises(CheckpointError, match=file.name):
                    verify_checkpoint(path)
        file.write_bytes(content)
        verify_checkpoint(path)


def test_newest_intact_skips_damaged_checkpoints(store: CheckpointStore) -> None:
    state = make_state()
    paths = []
    for _ in range(3):
        paths.append(store.save(state, best=True, keep_last=9))
        advance(state)
    (paths[2] / MODEL).write_bytes(b"")
    (paths[1] / MANIFEST).unlink()
    newest, problems = store.newest_intact()
    assert newest == paths[0]
    assert len(problems) == 2 and MODEL in problems[0] and MANIFEST in problems[1]


def test_newest_intact_skips_unreadable_checkpoints(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_state()
    paths = []
    for _ in range(2):
        advance(state)
        paths.append(store.save(state, best=False, keep_last=5))
    sha256_file = durable.sha256_file

    def failing(file: Path) -> str:
        if file.parent == paths[1]:
            raise OSError(errno.EIO, "Input/output error")
        return sha256_file(file)

    monkeypatch.setattr(durable, "sha256_file", failing)
    newest, problems = store.newest_intact()
    assert newest == paths[0]
    assert "cannot be read: Input/output error" in problems[0]


def test_validation_of_a_saved_step_is_added_atomically(tmp_path: Path) -> None:
    """A checkpoint saved on a signal is validated later; the N-th file operation fails, for every N.

    The checkpoint stays intact, and its best score is either the old or the new one.
    """
    for n in range(1, 30):
        directory = tmp_path / str(n)
        directory.mkdir()
        state = make_state()
        advance(state)
        CheckpointStore(directory, IDENTITY).save(state, best=False, keep_last=3)
        state.progress.validated_step = state.progress.best_step = 1
        state.progress.best_score = 7.5
        failing = Failing(n)
        store = CheckpointStore(directory, IDENTITY, failing.ops())
        with contextlib.suppress(DiskError):
            store.save(state, best=True, keep_last=3)
        newest, problems = store.newest_intact()
        assert newest is not None and not problems
        restored = make_state(seed=3)
        load_training(newest, restored)
        assert restored.progress.best_score in (None, 7.5)
        if failing.left > 0:
            break
    assert n > 6
    assert restored.progress.best_score == 7.5
    remove_checkpoint(newest)
    assert not newest.exists()


def test_a_validated_step_is_not_overwritten(store: CheckpointStore) -> None:
    """A skipped update advances the data position but not the step; the saved pair must stay consistent."""
    state = make_state()
    advance(state)
    state.progress.validated_step = 1
    path = store.save(state, best=True, keep_last=3)
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    state.progress.tokens += 100
    store.save(state, best=False, keep_last=3)
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before


def test_a_dangling_best_link_is_set_to_the_newest_checkpoint(store: CheckpointStore) -> None:
    """The best checkpoint was damaged, and the previous best had been pruned in favor of it."""
    state = make_state()
    advance(state)
    state.progress.best_score, state.progress.best_step = 9.0, 0  # step 0 is pruned
    path = store.save(state, best=False, keep_last=1)
    (store.directory / "best").symlink_to("step_000000000")
    store.forget_missing_best(state.progress)
    store.repair_links(path, state.progress)
    assert store.resolve_link("best") == path
    assert state.progress.best_score is None


def test_a_crash_at_any_point_of_a_save_leaves_an_intact_checkpoint(tmp_path: Path) -> None:
    """The N-th file operation of a save fails, for every N; outdated links are repaired from the state."""
    for n in range(1, 60):
        directory = tmp_path / str(n)
        directory.mkdir()
        state = make_state()
        first = CheckpointStore(directory, IDENTITY).save(state, best=True, keep_last=3)
        advance(state)
        state.progress.best_step = 1
        failing = Failing(n)
        store = CheckpointStore(directory, IDENTITY, failing.ops())
        try:
            store.save(state, best=True, keep_last=3)
            break
        except (OSError, DiskError):
            assert failing.left <= 0
        newest, problems = CheckpointStore(directory, IDENTITY).newest_intact()
        assert newest is not None and not problems
        restored = make_state(seed=3)
        load_training(newest, restored)
        working_store = CheckpointStore(directory, IDENTITY)
        working_store.repair_links(newest, restored.progress)
        assert newest in (first, directory / "step_000000001")
        assert working_store.resolve_link("last") == working_store.resolve_link("best") == newest
    else:
        pytest.fail("no save succeeded")
    assert n > 12


def test_a_different_identity_is_rejected(store: CheckpointStore) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    check_identity(path, verify_checkpoint(path), IDENTITY)
    with pytest.raises(CheckpointError, match="different tokenizer"):
        check_identity(path, verify_checkpoint(path), {"tokenizer": "xyz"})


def test_a_different_model_is_rejected_before_loading(store: CheckpointStore) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    larger = make_state(d_model=16)
    before = [p.clone() for p in larger.model.parameters()]
    with pytest.raises(CheckpointError, match="does not match the model"):
        load_weights(path, larger.model)
    assert all(torch.equal(a, b) for a, b in zip(before, larger.model.parameters(), strict=True))


def test_an_unsupported_format_is_rejected(store: CheckpointStore) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        verify_checkpoint(path)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return (Path.touch, (self.marker,))


def test_a_malicious_pickle_is_rejected_and_never_executed(store: CheckpointStore, tmp_path: Path) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    marker = tmp_path / "marker"
    for name in [p.name for p in path.iterdir()]:
        content = (path / name).read_bytes()
        (path / name).write_bytes(pickle.dumps(Payload(marker)))
        with pytest.raises(CheckpointError):
            verify_checkpoint(path)
        with pytest.raises(CheckpointError):
            load_training(path, make_state()) if name != MANIFEST else verify_checkpoint(path)
        (path / name).write_bytes(content)
    assert not marker.exists()


def test_a_symbolic_link_is_rejected(store: CheckpointStore, tmp_path: Path) -> None:
    path = store.save(make_state(), best=True, keep_last=3)
    (path / MODEL).rename(tmp_path / "elsewhere")
    (path / MODEL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="not a regular file"):
        verify_checkpoint(path)


def test_tied_weights_are_saved_once() -> None:
    state = make_state()
    saved = sum(t.numel() for t in state.model_tensors().values())
    assert saved == sum(p.numel() for p in state.model.parameters())


def test_a_failed_write_keeps_older_checkpoints(store: CheckpointStore) -> None:
    """A file size limit makes a write fail in the middle of a file, as a full disk or a quota would."""
    state = make_state()
    advance(state)
    older = store.save(state, best=True, keep_last=2)
    advance(state)
    sizes = sorted(file.stat().st_size for file in older.iterdir())
    for limit in (0, 100, sizes[-1] // 2, sizes[-1] - 1):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                store.save(state, best=True, keep_last=2)
            except DiskError as error:
                code = 0 if str(store.directory) in error.what else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, limit
        assert store.newest_intact() == (older, [])
        assert store.resolve_link("last") == older == store.resolve_link("best")
        assert sorted(p.name for p in store.directory.iterdir()) == ["best", "last", older.name]
    assert store.save(state, best=False, keep_last=2) != older
