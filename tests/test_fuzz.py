"""Fuzzing of file readers: any content gives a value or a `UserError`, no crash and no other exception."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer_cli.config import dump_config, load_config, parse_config
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.durable import sha256
from transformer_cli.errors import CheckpointError, ConfigError, UserError
from transformer_cli.manifest import MANIFEST, STATE, check_identity, read_manifest, verify_checkpoint
from transformer_cli.models.registry import build_model
from transformer_cli.schema import Config, ModelConfig, OptimConfig, TokenizerConfig, TrainingConfig
from transformer_cli.training.checkpoint import CheckpointStore, load_training
from transformer_cli.training.state import TrainState

EXTRA_MEMORY = 300 << 20
"""Bytes that a reader may allocate."""

relaxed = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def edited(draw: st.DrawFn, text: str) -> str:
    """A text with some characters removed or inserted."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 5)))
        text = (
            text[:start]
            + draw(st.text(alphabet="{}[]:,-&*!|>'\"%@#\n\t 01.eEabnul~\x00\ufeff", max_size=4))
            + text[end:]
        )
    return text


@relaxed
@given(st.text(max_size=60) | edited(dump_config(Config())))
def test_any_text_is_a_configuration_or_an_error(text: str) -> None:
    try:
        config = parse_config(text, "c.yaml")
    except ConfigError as error:
        assert "c.yaml" in error.what
    else:
        assert isinstance(config, Config)


@relaxed
@given(st.binary(max_size=80))
def test_any_bytes_are_a_configuration_or_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with contextlib.suppress(ConfigError):
        load_config(tmp_path / "c.yaml")


@relaxed
@given(st.text(max_size=30))
def test_any_setting_is_accepted_or_an_error(setting: str) -> None:
    for text in (setting, f"model.d_model={setting}", f"optim.betas={setting}", f"tokenizer={setting}"):
        with contextlib.suppress(ConfigError):
            load_config(None, [text])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CheckpointStore(tmp_path_factory.mktemp("run"), {"tokenizer": "abc"}).save(
        state(), best=True, keep_last=2
    )


def state() -> TrainState:
    torch.manual_seed(0)
    config = ModelConfig(d_model=8, num_heads=2, d_ff=8, encoder_layers=1, decoder_layers=1)
    return TrainState(build_model(config, 11, 11), OptimConfig(), TrainingConfig())


def json_slots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [slot for key in keys for slot in [(value, key), *json_slots(value[key])]]


@relaxed
@given(data=st.data())
def test_a_manifest_with_arbitrary_values(checkpoint: Path, data: st.DataObject) -> None:
    original = (checkpoint / MANIFEST).read_bytes()
    manifest = json.loads(original)
    container, key = data.draw(st.sampled_from(json_slots(manifest)))
    if data.draw(st.booleans()):
        container[key] = data.draw(values)
    else:
        del container[key]
    try:
        (checkpoint / MANIFEST).write_text(json.dumps(manifest))
        verified = verify_checkpoint(checkpoint)
        check_identity(checkpoint, verified, {"tokenizer": "abc"})
    except CheckpointError:
        pass
    finally:
        (checkpoint / MANIFEST).write_bytes(original)


@relaxed
@given(data=st.data())
def test_a_state_with_arbitrary_values_and_a_correct_hash(checkpoint: Path, data: st.DataObject) -> None:
    """A malicious file; accidental damage is detected by its hash."""
    originals = {name: (checkpoint / name).read_bytes() for name in (MANIFEST, STATE)}
    progress = json.loads(originals[STATE])
    container, key = data.draw(st.sampled_from(json_slots(progress)))
    container[key] = data.draw(values)
    content = json.dumps(progress).encode()
    manifest = json.loads(originals[MANIFEST])
    manifest["files"][STATE] = {"sha256": sha256(content), "bytes": len(content)}
    try:
        (checkpoint / STATE).write_bytes(content)
        (checkpoint / MANIFEST).write_text(json.dumps(manifest))
        verify_checkpoint(checkpoint)
        loaded = state()
        load_training(checkpoint, loaded)
        assert type(loaded.progress.step) is int and type(loaded.progress.position.batch) is int
    except CheckpointError:
        pass
    finally:
        for name, content in originals.items():
            (checkpoint / name).write_bytes(content)


@relaxed
@given(st.binary(max_size=40))
def test_any_bytes_as_a_manifest(checkpoint: Path, content: bytes) -> None:
    original = (checkpoint / MANIFEST).read_bytes()
    try:
        (checkpoint / MANIFEST).write_bytes(content)
        with pytest.raises(CheckpointError):
            read_manifest(checkpoint)
    finally:
        (checkpoint / MANIFEST).write_bytes(original)


def returns_or_raises_user_error(function: Callable[[], object]) -> bool:
    """Whether a function, in a child process with a memory limit, returns or raises a `UserError`."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (in_use + EXTRA_MEMORY, in_use + EXTRA_MEMORY))
            function()
            code = 0
        except UserError:
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_damaged_tokenizer_is_rejected_or_works(tmp_path: Path) -> None:
    words = [
        "der",
        "die",
        "das",
        "Hund",
        "Katze",
        "sieht",
        "einen",
        "roten",
        "Ball",
        "und",
        "läuft",
        "schnell",
        "nach",
        "Hause",
    ]
    rng = random.Random(1)
    lines = [" ".join(rng.choices(words, k=6)) for _ in range(300)]
    model = train_tokenizer(lines, TokenizerConfig(vocab_size=300))[0].model

    def use(path: Path) -> None:
        tokenizer = Tokenizer.load(path)
        (ids,) = tokenizer.encode(["Der Hund sieht einen Ball\u2028 \U0001f600"])
        tokenizer.decode([ids])

    path = tmp_path / "tokenizer.model"
    path.write_bytes(model)
    assert returns_or_raises_user_error(lambda: use(path))
    failures = []
    for i in range(60):
        content = bytearray(model)
        if i % 3 == 0:
            del content[rng.randrange(len(content)) :]
        elif i % 3 == 1:
            for _ in range(rng.choice([1, 8, 64])):
                content[rng.randrange(len(content))] = rng.randrange(256)
        else:
            content = bytearray(rng.randbytes(rng.choice([0, 1, 50, 5000])))
        path.write_bytes(content)
        if not returns_or_raises_user_error(lambda: use(path)):
            failures.append(i)
    assert not failures


def check_rejected(copy: Path) -> None:
    verify_checkpoint(copy)
    with pytest.raises(CheckpointError):
        load_training(copy, state())


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_absurd_sizes_in_a_weights_file_allocate_no_memory(checkpoint: Path, tmp_path: Path) -> None:
    """A header that declares a terabyte, with the correct hash."""
    header = {"tgt_embedding.weight": {"dtype": "F32", "shape": [1 << 20, 1 << 18], "data_offsets": [0, 1 << 40]}}
    for text in (
        json.dumps(header),
        "{" * 1000,
        json.dumps({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}),
    ):
        content = len(text).to_bytes(8, "little") + text.encode() + b"\0" * 64
        copy = tmp_path / "step_000000000"
        copy.mkdir(exist_ok=True)
        for file in checkpoint.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        manifest = json.loads((copy / MANIFEST).read_text())
        for name in ("model.safetensors", "optimizer.safetensors"):
            (copy / name).write_bytes(content)
            manifest["files"][name] = {"sha256": sha256(content), "bytes": len(content)}
            (copy / MANIFEST).write_text(json.dumps(manifest))

            assert returns_or_raises_user_error(partial(check_rejected, copy)), (name, text[:20])
