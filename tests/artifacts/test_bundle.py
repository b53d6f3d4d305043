"""Bundles: complete or rejected, whatever an attacker puts into one."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Failing, toy_pairs, tree

from transformer_cli import durable
from transformer_cli.artifacts import bundle
from transformer_cli.artifacts.bundle import BundleSource, write_bundle, zip_bytes
from transformer_cli.artifacts.loading import load_model
from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.config import dump_config
from transformer_cli.deployment.export import ExportRequest, export_model
from transformer_cli.errors import CheckpointError, ConfigError, DataError, DiskError
from transformer_cli.experiment.averaging import average_checkpoints

CPU = torch.device("cpu")
LINES = [s for s, _ in toy_pairs(12, seed=5)]
Members = dict[str, bytes]


def export(run: Path, output: Path, checkpoint: str = "best") -> Path:
    export_model(ExportRequest(run, output, "bundle", checkpoint=checkpoint), lambda message: None)
    return output


@pytest.fixture(scope="module")
def zipped(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a valid bundle."""
    return export(toy_run, tmp_path_factory.mktemp("bundle") / "model.zip").read_bytes()


def members_of(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def signed(members: Mapping[str, bytes], **facts: Any) -> bytes:
    """A zip file whose manifest has the correct hashes of its members, as an attacker would write it."""
    manifest = json.loads(members["MANIFEST.json"]) | facts
    files = {name: content for name, content in members.items() if name != "MANIFEST.json"}
    manifest.setdefault("files", {})
    if "files" not in facts:
        manifest["files"] = {n: {"sha256": durable.sha256(c), "bytes": len(c)} for n, c in files.items()}
    return zip_bytes({"MANIFEST.json": json.dumps(manifest).encode(), **files})


def check_rejected(path: Path, content: bytes | None = None, match: str | None = None) -> CheckpointError:
    """Open a bundle, which must raise a `CheckpointError` and write nothing; returns the error."""
    if content is not None:
        path.write_bytes(content)
    before = tree(path.parent)
    with pytest.raises(CheckpointError, match=match) as caught:
        load_model(path, CPU)
    assert caught.value.exit_code == 4 and tree(path.parent) == before
    return caught.value


@pytest.mark.parametrize("name", ["model.zip", "model_dir"])
def test_bundle_translates_like_its_run(name: str, toy_run: Path, tmp_path: Path) -> None:
    path = export(toy_run, tmp_path / "new" / name)
    before = tree(tmp_path)
    texts = [t.text for t in load_model(path, CPU).translator().translate(LINES)]
    assert texts == [t.text for t in load_model(toy_run, CPU).translator().translate(LINES)]
    assert tree(tmp_path) == before
    source = BundleSource.open(path, "best")
    assert source.metrics()["best_score"] > 0 and source.metrics()["metric"] == "bleu"
    assert source.evaluation == tmp_path / "new" / f"{name}.evaluation"


def test_bundle_has_only_the_model(toy_run: Path, zipped: bytes) -> None:
    members = members_of(zipped)
    assert list(members) == ["MANIFEST.json", "config.yaml", "model.safetensors", "tokenizer.model"]
    best = toy_run / "checkpoints/best"
    assert members["model.safetensors"] == (best / "model.safetensors").read_bytes()
    assert members["tokenizer.model"] == (toy_run / "tokenizer.model").read_bytes()
    assert len(zipped) < len(members["model.safetensors"]) + 20_000


def test_export_is_reproducible(toy_run: Path, zipped: bytes, tmp_path: Path) -> None:
    time.sleep(0.01)
    assert export(toy_run, tmp_path / "again.zip").read_bytes() == zipped
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert {m.date_time for m in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    # A bundle can be exported again, in either form.
    directory = export(tmp_path / "again.zip", tmp_path / "unpacked")
    assert tree(directory) == members_of(zipped)
    assert export(directory, tmp_path / "packed.zip").read_bytes() == zipped
    best = load_model(toy_run, CPU).checkpoint.name
    (name,) = {"step_000000250", "step_000000500"} - {best}
    other = export(toy_run, tmp_path / "other.zip", name)
    assert other.read_bytes() != zipped and load_model(other, CPU).checkpoint.name == name


def test_extracted_zip_is_a_bundle(zipped: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        archive.extractall(tmp_path / "extracted")
    assert load_model(tmp_path / "extracted", CPU).translator({"beam": 1}).translate(LINES)


def test_separate_vocabularies(toy_run: Path, tmp_path: Path) -> None:
    source = open_model_source(toy_run, "best")
    config = source.config.model_copy(
        update={"tokenizer": source.config.tokenizer.model_copy(update={"joint": False})}
    )
    vocabularies = dataclasses.replace(
        source.vocabularies, tgt=type(source.vocabularies.tgt)(source.vocabularies.tgt.model)
    )
    separate = dataclasses.replace(source, config=config, vocabularies=vocabularies)  # type: ignore[type-var]
    write_bundle(separate, tmp_path / "m.zip")
    assert {"tokenizer.src.model", "tokenizer.tgt.model"} <= set(members_of((tmp_path / "m.zip").read_bytes()))


def test_bundle_has_one_checkpoint(zipped: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    path.write_bytes(zipped)
    name = load_model(path, CPU, "best").checkpoint.name
    assert load_model(path, CPU, name).checkpoint.name == name
    with pytest.raises(CheckpointError, match="a bundle holds one model"):
        load_model(path, CPU, "last")


@pytest.mark.parametrize("name", ["m.zip", "m"])
def test_failed_write_leaves_a_complete_bundle_or_none(
    name: str, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, original = open_model_source(toy_run, "best"), (durable.write_bytes, durable.write_directory)
    for n in range(1, 40):
        path = tmp_path / str(n) / name
        failing = Failing(n)
        ops = failing.ops()
        monkeypatch.setattr(durable, "write_bytes", lambda p, c, ops=ops: original[0](p, c, ops))
        monkeypatch.setattr(durable, "write_directory", lambda p, ops=ops: original[1](p, ops))
        try:
            write_bundle(source, path)
        except (DiskError, OSError):
            if path.exists():
                assert load_model(path, CPU)
            else:
                assert not list(path.parent.iterdir())
        else:
            break
    assert failing.left > 0 and n > 3


def test_truncated_bundle_is_rejected(zipped: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    for size in [0, 1, 21, 22, 100, len(zipped) - 1, *(rng.randrange(len(zipped)) for _ in range(44))]:
        check_rejected(tmp_path / "m.zip", zipped[:size])


def test_flipped_bit_is_rejected_or_harmless(zipped: bytes, tmp_path: Path) -> None:
    """A flipped bit in a member is detected; in the zip records it is detected or does not change the members."""
    rng = random.Random(1)
    path, original, harmless = tmp_path / "m.zip", members_of(zipped), 0
    start = zipped.index(b"PK\x01\x02")  # the central directory, after all members
    positions = [rng.randrange(start) for _ in range(150)] + [
        rng.randrange(start, len(zipped)) for _ in range(350)
    ]
    for i, position in enumerate(positions):
        content = bytearray(zipped)
        content[position] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            members = bundle._read_zip(path)
            bundle._verify(members, path)
            assert members == original
            harmless += 1
        except CheckpointError:
            check_rejected(path) if i % 10 == 0 else None
    assert harmless < 300
    assert list(tmp_path.iterdir()) == [path]


def test_flipped_bit_in_a_member_is_reported_by_name(zipped: bytes, tmp_path: Path) -> None:
    rng, original = random.Random(2), members_of(zipped)
    for name in ("config.yaml", "model.safetensors", "tokenizer.model"):
        for _ in range(10):
            content = bytearray(original[name])
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            # The checksums in the zip records match the changed content; only the manifest does not.
            check_rejected(
                tmp_path / "m.zip",
                zip_bytes({**original, name: bytes(content)}),
                f"{name} does not match its SHA-256",
            )


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.model", "MANIFEST.json"])
def test_missing_or_changed_file_of_a_directory_is_rejected(name: str, toy_run: Path, tmp_path: Path) -> None:
    path = export(toy_run, tmp_path / "m")
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1] + b"?")
    check_rejected(path)
    (path / name).unlink()
    check_rejected(path)
    (path / name).symlink_to(toy_run / "config.yaml")
    check_rejected(path)


UNSAFE_NAMES = ["../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "sub/model.safetensors", "model.pt", "evil\x00config.yaml", "x" * 300, "../model.safetensors", "Config.yaml", "config.yaml/"]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_unknown_member_is_rejected_before_anything_is_read(name: str, zipped: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO(zipped)
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        archive.writestr(info, b"boo" if not name.endswith("/") else b"")
    (tmp_path / "deep/er").mkdir(parents=True)
    check_rejected(tmp_path / "deep/er/m.zip", buffer.getvalue(), "nothing was read")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["deep/er/m.zip"]


def test_duplicate_member_is_rejected(zipped: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO(zipped)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(zipfile.ZipInfo("config.yaml"), b"model: {}")
    check_rejected(tmp_path / "m.zip", buffer.getvalue(), "not allowed in a bundle")


def test_zip_bomb_is_not_decompressed(zipped: bytes, tmp_path: Path) -> None:
    members = members_of(zipped)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if name != "model.safetensors" else bytes(200 << 20))
    start = time.perf_counter()
    check_rejected(tmp_path / "m.zip", buffer.getvalue(), "is compressed or encrypted")
    assert time.perf_counter() - start < 1.0


def patched(zipped: bytes, field: int, value: bytes) -> bytes:
    """The bundle with a field of the first central directory entry (of MANIFEST.json) replaced."""
    content = bytearray(zipped)
    entry = content.index(b"PK\x01\x02")
    content[entry + field : entry + field + len(value)] = value
    return bytes(content)


def many_members(zipped: bytes) -> bytes:
    """A long central directory whose end record declares four entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(3000):
            archive.writestr(f"{i:08}", b"")
    content = buffer.getvalue()
    return content[:-14] + struct.pack("<2H", 4, 4) + content[-10:]


MALFORMED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "declares four gigabytes": (lambda z: patched(z, 20, struct.pack("<2L", 0xFFFFFFF0, 0xFFFFFFF0)), "nothing was read"),
    "unpacks to more than it has": (lambda z: patched(z, 24, struct.pack("<L", 1 << 30)), "nothing was read"),
    "is encrypted": (lambda z: patched(z, 8, b"\x01\x00"), "compressed or encrypted"),
    "starts beyond the end": (lambda z: patched(z, 42, struct.pack("<L", 1 << 30)), "damaged"),
    "has a comment": (lambda z: z[:-2] + b"\x05\x00abcde", "truncated, or not a bundle"),
    "lists many members": (many_members, "truncated, or not a bundle"),
    "has a 64-bit record": (lambda z: z[:-22] + b"PK\x06\x07" + bytes(16) + z[-22:], "is a zip64 file"),
    "has trailing bytes": (lambda z: z + b"\x00", "truncated, or not a bundle"),
    "is text": (lambda z: b"one sentence a line\n" * 50, "not a bundle"),
    "is empty": (lambda z: b"", "not a bundle"),
    "is an empty zip": (lambda z: z[-22:-14] + bytes(14), "missing or damaged"),
    "is nothing but zeros": (lambda z: bytes(5000), "not a bundle"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_zip_is_rejected(name: str, zipped: bytes, tmp_path: Path) -> None:
    make, words = MALFORMED[name]
    check_rejected(tmp_path / "m.zip", make(zipped), words)


def test_random_zip_records_raise_no_other_exception(zipped: bytes, tmp_path: Path) -> None:
    rng, path = random.Random(3), tmp_path / "m.zip"
    start = zipped.index(b"PK\x01\x02")
    for _ in range(300):
        content = bytearray(zipped)
        for _ in range(rng.randrange(1, 8)):
            content[rng.randrange(start, len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            bundle._read_zip(path)
        except CheckpointError:
            continue


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_pickle_is_never_executed(zipped: bytes, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    payload = pickle.dumps(Payload(marker))
    for name in ("model.safetensors", "tokenizer.model", "config.yaml", "MANIFEST.json"):
        members = {**members_of(zipped), name: payload}
        content = zip_bytes(members) if name == "MANIFEST.json" else signed(members)
        (tmp_path / "m.zip").write_bytes(content)
        with pytest.raises((CheckpointError, ConfigError)):
            load_model(tmp_path / "m.zip", CPU)
    assert not marker.exists()


ABSURD = [
    {"encoder_layers": 10**9},
    {"d_ff": 10**15},
    {"d_model": 16_384, "num_heads": 4},
    {"max_positions": 10**18, "positions": "learned"},
    {"decoder_layers": 2},
    {"norm": "post"},
    {"tie_embeddings": "none"},
]


@pytest.mark.parametrize("changes", ABSURD, ids=str)
def test_mismatched_weights_are_rejected_before_allocation(
    changes: dict[str, Any], toy_run: Path, zipped: bytes, tmp_path: Path
) -> None:
    config = load_model(toy_run, CPU).config
    other = config.model_copy(update={"model": config.model.model_copy(update=changes)})
    members = {**members_of(zipped), "config.yaml": dump_config(other).encode()}
    start = time.perf_counter()
    check_rejected(tmp_path / "m.zip", signed(members), "the weights do not match its config.yaml")
    assert time.perf_counter() - start < 5.0


def test_other_tokenizer_is_rejected(toy_run: Path, zipped: bytes, tmp_path: Path) -> None:
    members = members_of(zipped)
    other = members["tokenizer.model"] + b"\x00"
    check_rejected(
        tmp_path / "m.zip", zip_bytes({**members, "tokenizer.model": other}), "does not match its SHA-256"
    )
    check_rejected(
        tmp_path / "m.zip", signed({**members, "tokenizer.model": b"junk"}), "not a SentencePiece model"
    )
    renamed = {n.replace("tokenizer.model", "tokenizer.src.model"): c for n, c in members.items()}
    check_rejected(tmp_path / "m.zip", signed(renamed), "does not hold the tokenizers")


MANIFESTS: dict[str, tuple[bytes, str]] = {
    "not json": (b"{", "missing or damaged"),
    "a list": (b"[]", "missing or damaged"),
    "deep": (b"[" * 100_000, "missing or damaged"),
    "empty": (b"{}", "missing or damaged"),
    "files is a list": (b'{"kind": "x", "format": 1, "checkpoint": "s", "identity": {}, "metrics": {}, "files": [1]}', "damaged"),
    "a checkpoint elsewhere": (b'{"kind": "x", "format": 1, "checkpoint": "../x", "identity": {}, "metrics": {}, "files": {}}', "damaged"),
    "too large": (b" " * (1 << 20) + b"{}", "declares"),
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_invalid_manifest_is_rejected(name: str, zipped: bytes, tmp_path: Path) -> None:
    content, words = MANIFESTS[name]
    check_rejected(tmp_path / "m.zip", zip_bytes({**members_of(zipped), "MANIFEST.json": content}), words)


def test_newer_format_is_reported(zipped: bytes, tmp_path: Path) -> None:
    error = check_rejected(
        tmp_path / "m.zip", signed(members_of(zipped), format=2, version="9.9"), "this program reads"
    )
    assert "transformer-cli 9.9" in str(error)
    check_rejected(tmp_path / "m.zip", signed(members_of(zipped), kind="other program"), "other program")


def test_unlisted_and_missing_files_are_rejected(zipped: bytes, tmp_path: Path) -> None:
    members = members_of(zipped)
    check_rejected(tmp_path / "m.zip", signed(members, files={}), "is missing, or not in its MANIFEST.json")
    fewer = {n: c for n, c in members.items() if n != "model.safetensors"}
    check_rejected(tmp_path / "m.zip", zip_bytes(fewer), "'model.safetensors' is missing")
    check_rejected(tmp_path / "m.zip", signed(fewer), "is missing")


def test_other_files_in_a_directory_bundle_are_ignored(toy_run: Path, tmp_path: Path) -> None:
    path = export(toy_run, tmp_path / "m")
    (path / "notes.txt").write_text("mine")
    assert load_model(path, CPU) and (path / "notes.txt").read_text() == "mine"


def test_bundle_is_not_a_run(toy_run: Path, tmp_path: Path) -> None:
    path = export(toy_run, tmp_path / "m")
    before = tree(path)
    with pytest.raises(CheckpointError, match="is a bundle, not a run directory"):
        average_checkpoints(path, None)
    with pytest.raises(CheckpointError, match="holds files but no run; nothing in it was changed"):
        RunDirectory(path).require_run_or_empty()
    assert tree(path) == before
    assert load_model(path / ".." / "m", CPU)


def test_export_of_a_bundle_needs_text_for_the_parity_check(toy_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    path = export(toy_run, tmp_path / "m.zip")
    with pytest.raises(DataError, match="no text to verify"):
        export_model(ExportRequest(path, tmp_path / "ct2", "ctranslate2"), print)
    (tmp_path / "lines").write_text("\n".join(LINES))
    export_model(ExportRequest(path, tmp_path / "ct2", "ctranslate2", proof=tmp_path / "lines"), lambda m: None)
    export_model(ExportRequest(toy_run, tmp_path / "run", "ctranslate2"), lambda m: None)
    assert (tmp_path / "ct2/model.bin").read_bytes() == (tmp_path / "run/model.bin").read_bytes()


def test_too_large_a_model_is_rejected(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_BYTES", (1 << 20) + 1000)
    with pytest.raises(CheckpointError, match="too large for a bundle"):
        export(toy_run, tmp_path / "m.zip")
    assert not list(tmp_path.iterdir())
