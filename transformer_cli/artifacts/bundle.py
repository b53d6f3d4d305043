"""Bundles: one model in one zip file (or directory), for distribution.

    MANIFEST.json  config.yaml  model.safetensors  tokenizer.model (or tokenizer.src.model, tokenizer.tgt.model)

A bundle may come from an untrusted source, so it is read in memory and never extracted. Its members have only
these names, are uncompressed (so that none is larger than the file), and are used only after their SHA-256
matches the manifest. Exporting the same checkpoint again gives the same bytes.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from transformer_cli import __version__, durable
from transformer_cli.artifacts.model_source import ModelSource
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies
from transformer_cli.config import MAX_CONFIG_BYTES, dump_config, parse_config
from transformer_cli.data.lexicon import Lexicon
from transformer_cli.data.tokenizer import MAX_MODEL_BYTES, Tokenizer
from transformer_cli.errors import CheckpointError
from transformer_cli.manifest import MANIFEST, MODEL, UnsupportedFormatError, file_record, serialize_json
from transformer_cli.models.registry import build_model
from transformer_cli.schema import Config
from transformer_cli.training.checkpoint import BEST, DTYPES, serialize_tensors
from transformer_cli.untrusted import read_bounded

KIND = "transformer-cli bundle"
FORMAT = 1
"""Version of the bundle format."""
CONFIG = "config.yaml"
MAX_BYTES = (1 << 32) - 1
"""Size limit of a bundle: that of a zip file without zip64 extensions, enough for a billion float32 weights."""
LIMITS = {
    MANIFEST: 1 << 20,
    CONFIG: MAX_CONFIG_BYTES,
    MODEL: MAX_BYTES,
    "tokenizer.model": MAX_MODEL_BYTES,
    "tokenizer.src.model": MAX_MODEL_BYTES,
    "tokenizer.tgt.model": MAX_MODEL_BYTES,
}
"""Allowed member names and their maximum sizes in bytes."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every member: the earliest that the zip format can represent."""
END = struct.Struct("<4s4H2LH")
"""End of central directory record of a zip file: signature, disk numbers, entries on this disk and in total, size
and offset of the central directory, comment length."""


@dataclass(frozen=True)
class BundleSource:
    """The model of a bundle; see `model_source.ModelSource`."""

    path: Path
    config: Config
    vocabularies: Vocabularies
    manifest: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @staticmethod
    def open(path: Path, checkpoint: str) -> BundleSource:
        """Read and verify a bundle.

        Raises:
            CheckpointError: damaged, foreign or oversized bundle, or it does not have the requested checkpoint.
        """
        members = _read_zip(path) if path.is_file() else _read_directory(path)
        manifest = _verify(members, path)
        if checkpoint not in (BEST, manifest["checkpoint"]):
            raise CheckpointError(
                f"{path}: no checkpoint '{checkpoint}'",
                hint=f"a bundle holds one model, here {manifest['checkpoint']}: omit --checkpoint",
            )
        config = parse_config(members[CONFIG].decode("utf-8", errors="replace"), f"{path}: {CONFIG}")
        names = _tokenizer_names(joint=config.tokenizer.joint)
        if set(members) != {MANIFEST, CONFIG, MODEL, *names}:
            raise CheckpointError(f"{path}: does not hold the tokenizers that its {CONFIG} requires")
        tokenizers = [Tokenizer(members[name], f"{path}: {name}") for name in names]
        vocabularies = Vocabularies(tokenizers[0], tokenizers[-1])
        tensors = _read_tensors(members[MODEL], path)
        _check_fit(config, vocabularies, tensors, path)
        return BundleSource(path, config, vocabularies, manifest, tensors)

    @property
    def checkpoint(self) -> Path:
        return self.path / str(self.manifest["checkpoint"])

    @property
    def evaluation(self) -> Path:
        return self._beside("evaluation")

    @property
    def engines(self) -> Path:
        return self._beside("engines")

    @property
    def weights_hash(self) -> str:
        return str(self.manifest["files"][MODEL]["sha256"])

    @property
    def identity(self) -> Mapping[str, str]:
        identity: Mapping[str, str] = self.manifest["identity"]
        return identity

    def metrics(self) -> dict[str, Any]:
        return dict(self.manifest["metrics"])

    def weights(self) -> bytes:
        return serialize_tensors(self.tensors)

    def load_into(self, model: nn.Module) -> None:
        """Copy the weights; `open` has already checked their names and shapes."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.tensors[name])

    def validation_lines(self) -> list[str]:
        return []

    def validation_pairs(self) -> tuple[list[str], list[str]]:
        return [], []

    def _beside(self, suffix: str) -> Path:
        """A directory next to the bundle; a bundle is never modified."""
        path = self.path.resolve()
        return path.with_name(f"{path.name}.{suffix}")

    def lexicon(self, size: int) -> Lexicon | None:
        return None


def write_bundle(source: ModelSource, output: Path) -> int:
    """Write the model to `output` atomically: a zip file if the name is *.zip, otherwise a directory.

    Returns:
        Total size of the members in bytes.

    Raises:
        CheckpointError: the model is too large for a bundle.
        DiskError: the write failed.
    """
    vocabularies = source.vocabularies
    joint = vocabularies.src is vocabularies.tgt
    # A shortlist needs the training text, which is not in the bundle.
    decoding = source.config.decoding.model_copy(update={"shortlist": 0})
    config = source.config.model_copy(update={"decoding": decoding, "data": source.config.data.without_paths()})
    tokenizers = (vocabularies.src.model, vocabularies.tgt.model)
    files = {CONFIG: dump_config(config).encode(), MODEL: source.weights()}
    files |= dict(zip(_tokenizer_names(joint=joint), tokenizers, strict=False))
    manifest = {
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "checkpoint": source.checkpoint.name,
        "metrics": {"metric": source.config.training.metric, **source.metrics()},
        "identity": dict(source.identity),
        "files": {name: file_record(content) for name, content in files.items()},
    }
    members = {MANIFEST: serialize_json(manifest), **files}
    total = sum(map(len, members.values()))
    if total > MAX_BYTES - (1 << 20):  # leaves space for the zip records
        raise CheckpointError(
            f"{source.checkpoint}: {total:,} bytes are too large for a bundle, whose limit is {MAX_BYTES:,}"
        )
    durable.make_directory(output.parent)
    if output.suffix.lower() == ".zip":
        durable.write_bytes(output, zip_bytes(members))
    else:
        with durable.write_directory(output) as write:
            for name, content in members.items():
                write(name, content)
    return total


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """A reproducible zip file of these members: uncompressed, with fixed dates and permissions."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _tokenizer_names(*, joint: bool) -> list[str]:
    """The tokenizer file names: one if the vocabulary is joint, otherwise source and target."""
    return list(dict.fromkeys(path.name for path in RunDirectory(Path()).tokenizer_paths(joint=joint)))


def _read_zip(path: Path) -> dict[str, bytes]:
    """Read the members of a zip file by name, without decompressing or writing anything."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            _check_end(stream, size, path)
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                _check_members(members, size, path)
                return {member.filename: archive.read(member) for member in members}
    except (OSError, EOFError, ValueError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: damaged, or not a bundle: {error}",
            hint="create a bundle with: transformer-cli export RUN --to bundle model.zip",
        ) from None


def _check_end(stream: BinaryIO, size: int, path: Path) -> None:
    """Check the end record, before `zipfile` reads a central directory that may list millions of members.

    Raises:
        CheckpointError: the file does not end like a small zip file without extensions.
    """
    if not END.size <= size <= MAX_BYTES:
        raise CheckpointError(f"{path}: has {size:,} bytes; not a bundle")
    stream.seek(size - END.size)
    signature, _, _, _, entries, directory, _, comment = END.unpack(stream.read(END.size))
    if signature != b"PK\x05\x06" or comment or entries > len(LIMITS) or directory > 1 << 16:
        raise CheckpointError(
            f"{path}: truncated, or not a bundle",
            hint="create a bundle with: transformer-cli export RUN --to bundle model.zip",
        )
    stream.seek(max(0, size - END.size - 20))
    if stream.read(4) == b"PK\x06\x07":  # `zipfile` would use the 64-bit record instead of the one checked here
        raise CheckpointError(f"{path}: is a zip64 file, not a bundle")


def _check_members(members: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    """Check all members before reading any. Raises: CheckpointError for a member unlike those of `zip_bytes`."""
    names = [member.orig_filename for member in members]
    for member in members:
        name = member.orig_filename
        if name not in LIMITS or names.count(name) > 1:
            raise CheckpointError(
                f"{path}: holds {name[:80]!r}, which is not allowed in a bundle; nothing was read"
            )
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise CheckpointError(
                f"{path}: {name} is compressed or encrypted: not written by transformer-cli export",
                hint="extract it into a directory and use that directory instead",
            )
        if member.file_size != member.compress_size or member.file_size > LIMITS[name]:
            raise CheckpointError(
                f"{path}: {name} declares {member.file_size:,} bytes, at most {LIMITS[name]:,} are allowed; "
                "nothing was read"
            )
    if sum(member.file_size for member in members) > size:
        raise CheckpointError(f"{path}: its members declare more bytes than the file has; nothing was read")


def _read_directory(path: Path) -> dict[str, bytes]:
    """Read the files with allowed names from a directory; others are ignored."""
    members = {}
    for name, limit in LIMITS.items():
        file = path / name
        try:
            members[name] = read_bounded(file, limit)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from None
    return members


def _verify(members: Mapping[str, bytes], path: Path) -> dict[str, Any]:
    """Parse the manifest and compare it with the members. Raises: CheckpointError."""
    try:
        manifest = json.loads(members[MANIFEST])
        kind, version, files = manifest["kind"], manifest["format"], manifest["files"]
        assert re.fullmatch(r"\w{1,80}", manifest["checkpoint"]) and isinstance(manifest["identity"], dict)
        hashes = {name: str(record["sha256"]) for name, record in files.items()}
        dict(manifest["metrics"])
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError):
        raise CheckpointError(f"{path}: {MANIFEST} is missing or damaged") from None
    if kind != KIND or version != FORMAT:
        raise UnsupportedFormatError(
            f"{path}: {str(kind)[:80]!r} has format {str(version)[:80]}; this program reads format {FORMAT}",
            hint=f"it was written by transformer-cli {str(manifest.get('version', '?'))[:80]}",
        )
    if set(hashes) != set(members) - {MANIFEST} or not {CONFIG, MODEL} <= set(hashes):
        mismatched = sorted(set(hashes) ^ (set(members) - {MANIFEST})) or [CONFIG, MODEL]
        raise CheckpointError(f"{path}: {mismatched[0][:80]!r} is missing, or not in its {MANIFEST}")
    for name, digest in hashes.items():
        if durable.sha256(members[name]) != digest:
            raise CheckpointError(f"{path}: {name} does not match its SHA-256: damaged or changed")
    return dict(manifest)


def _read_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load_safetensors(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: {MODEL} cannot be read: {error}") from None


def _check_fit(config: Config, vocabularies: Vocabularies, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Compare the weights with the configuration before a model is allocated. Raises: CheckpointError."""
    actual = {name: (DTYPES.get(t.dtype), *t.shape) for name, t in tensors.items()}
    expected: dict[str, tuple[object, ...]] = {}
    # A hostile configuration may have any number of layers. Each layer has a tensor, which bounds their number.
    if config.model.encoder_layers + config.model.decoder_layers <= len(tensors):
        try:
            with torch.device("meta"):  # shapes without memory
                model = build_model(config.model, *vocabularies.sizes)
            expected = {name: (DTYPES.get(p.dtype), *p.shape) for name, p in model.named_parameters()}
        except (RuntimeError, OverflowError, TypeError):  # a size that cannot be represented
            expected = {}
    if actual != expected:
        mismatched = sorted({name for name, _ in set(actual.items()) ^ set(expected.items())})
        raise CheckpointError(f"{path}: the weights do not match its {CONFIG}: {mismatched[0][:80]} differs")
