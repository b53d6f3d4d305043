"""The manifest of a checkpoint: which files belong to it, with their sizes and SHA-256 hashes. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer_cli import durable
from transformer_cli.errors import CheckpointError
from transformer_cli.untrusted import read_bounded

FORMAT = 1
"""Version of the checkpoint format."""
MODEL, OPTIMIZER, STATE, MANIFEST = (
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "MANIFEST.json",
)
VALIDATED = "state.validated.json"
MAX_JSON_BYTES = 1 << 20
"""Limit for a manifest or state."""


class UnsupportedFormatError(CheckpointError):
    """Written by another version of this program: not damaged, so it is never skipped or replaced."""


def file_record(content: bytes) -> dict[str, Any]:
    """The manifest entry of a file."""
    return {"sha256": durable.sha256(content), "bytes": len(content)}


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a checkpoint. Raises: CheckpointError if missing, damaged or of another format."""
    try:
        manifest = json.loads(read_bounded(path / MANIFEST, MAX_JSON_BYTES))
        version, files = manifest["format"], manifest["files"]
        valid_names = all(Path(name).name == name for name in files)
        valid_records = all(type(f["bytes"]) is int and type(f["sha256"]) is str for f in files.values())
        assert isinstance(manifest["identity"], dict) and valid_names and valid_records
        assert {MODEL, STATE} <= set(files)  # a file that is not listed would be read unverified
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read {MANIFEST}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise CheckpointError(f"{path}: {MANIFEST} is damaged") from None
    if version != FORMAT:
        raise UnsupportedFormatError(
            f"{path}: checkpoint format {version} is not supported; this program reads format {FORMAT}",
            hint=f"use the version that wrote it: transformer-cli {manifest.get('version', '?')}",
        )
    return dict(manifest)


def verify_checkpoint(path: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its manifest.

    Returns:
        The manifest.

    Raises:
        CheckpointError: a file is missing, truncated or modified.
    """
    manifest = read_manifest(path)
    for name, record in manifest["files"].items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise CheckpointError(f"{file}: missing, or not a regular file")
        if file.stat().st_size != record["bytes"]:
            raise CheckpointError(
                f"{file}: has {file.stat().st_size} bytes, expected {record['bytes']}: truncated or modified"
            )
        try:
            digest = durable.sha256_file(file)
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from None
        if digest != record["sha256"]:
            raise CheckpointError(f"{file}: content does not match its SHA-256: damaged or modified")
    return manifest


def check_identity(path: Path, manifest: Mapping[str, Any], identity: Mapping[str, str]) -> None:
    """Check that a checkpoint belongs to this tokenizer, model and corpus. Raises: CheckpointError."""
    for key, value in identity.items():
        if manifest["identity"].get(key) != value:
            raise CheckpointError(
                f"{path}: was saved with a different {key}",
                hint=f"use the {key} that the run was started with, or start a new run in another directory",
            )


def read_state(path: Path) -> dict[str, Any]:
    """Read the JSON state of a verified checkpoint. Raises: CheckpointError."""
    file = path / (VALIDATED if VALIDATED in read_manifest(path)["files"] else STATE)
    try:
        return dict(json.loads(read_bounded(file, MAX_JSON_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None


def serialize_json(value: Any) -> bytes:
    """Serialize a value as indented JSON in UTF-8."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
