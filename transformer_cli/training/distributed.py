"""Several processes that train one model together (`torchrun`): what they tell each other.

Every rank holds the whole model and works on batches of its own; gradients are summed over all ranks before each
update, so weights stay alike to the last bit. Rank 0 leads: it alone reads clocks, validates and writes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from transformer_cli.errors import ConfigError, UserError

PATIENCE = timedelta(hours=12)
"""How long a rank waits for another. A rank that ends is not waited for: torchrun then ends all."""


@dataclass(frozen=True)
class Ranks:
    """This process, `rank` of `size`. Alone, every method does nothing."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def join(device: torch.device) -> Ranks:
        """The group that `torchrun` has started, to work on `device`; a process by itself where it has not.

        Raises:
            ConfigError: a device that cannot exchange gradients.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return Ranks()
        if device.type == "mps":
            raise ConfigError("several processes cannot share an MPS device", hint="use --device cpu")
        if not dist.is_initialized():
            on_gpu = device.type == "cuda"
            if on_gpu:
                torch.cuda.set_device(device)
            dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
        return Ranks(dist.get_rank(), size)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def leave(self) -> None:
        """The end of working together."""
        if self.size > 1:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Until every rank has come here."""
        if self.size > 1:
            with _together():
                dist.all_reduce(torch.zeros(1))

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over all ranks, in place; all travel in one message."""
        if self.size == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with _together():
            dist.all_reduce(flat)
        parts = torch.split(flat, [t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def lead(self, numbers: Sequence[float]) -> list[float]:
        """The numbers of rank 0, on every rank."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64)
        with _together():
            dist.broadcast(values, src=0)
        return values.tolist()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of each rank; all have one shape."""
        if self.size == 1:
            return [tensor]
        everyone = [torch.empty_like(tensor) for _ in range(self.size)]
        with _together():
            dist.all_gather(everyone, tensor)
        return everyone


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Raises: UserError where another rank is gone."""
    try:
        yield
    except RuntimeError as error:
        raise UserError("another process of this training has ended; its message says why") from error
