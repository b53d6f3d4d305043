"""Checkpoint averaging: the mean of the weights of checkpoints (Junczys-Dowmunt et al. 2016, section 4)."""

from __future__ import annotations

from pathlib import Path

import torch

from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.errors import CheckpointError
from transformer_cli.manifest import MANIFEST, MODEL, STATE, serialize_json, verify_checkpoint
from transformer_cli.training.checkpoint import (
    AVERAGE,
    CheckpointStore,
    load_tensors,
    read_tensors,
    remove_checkpoint,
    serialize_tensors,
    write_checkpoint,
)


def average_checkpoints(path: Path, last: int | None) -> tuple[list[str], Path]:
    """Write `checkpoints/average`, the mean of the newest `last` checkpoints (None: all checkpoints).

    Returns:
        Names of the averaged checkpoints, and the new directory.

    Raises:
        CheckpointError: fewer checkpoints than requested, or a damaged one.
        DiskError: the write failed.
    """
    run = RunDirectory(path)
    run.load_config()
    with run.locked():
        store = CheckpointStore(run.checkpoints, {})
        chosen = [step for step in store.checkpoint_paths() if (step / MANIFEST).exists()][-(last or 0) :]
        if not chosen or (last and len(chosen) < last):
            raise CheckpointError(
                f"{path}: has {len(chosen)} checkpoints, {last or 1} were requested",
                hint=f"use --last {len(chosen)}; a higher training.keep_last keeps more checkpoints from now on"
                if chosen
                else "train it first",
            )
        manifests = [verify_checkpoint(checkpoint) for checkpoint in chosen]
        total = {name: t.double() for name, t in read_tensors(chosen[0] / MODEL).items()}
        for checkpoint in chosen[1:]:
            reference = read_tensors(chosen[0] / MODEL)
            for name, tensor in load_tensors(checkpoint / MODEL, reference).items():
                total[name] += tensor.double()
        mean = {name: (t / len(chosen)).to(torch.float32) for name, t in total.items()}
        names = [checkpoint.name for checkpoint in chosen]
        target = run.checkpoints / AVERAGE
        remove_checkpoint(target)
        if target.exists():
            raise CheckpointError(f"{target}: contains files that are not a checkpoint; move them away")
        files = {MODEL: serialize_tensors(mean), STATE: serialize_json({"average_of": names})}
        write_checkpoint(target, files, manifests[-1]["identity"])
    return names, target
