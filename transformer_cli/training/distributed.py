"""Several processes that train one model together (`torchrun`): what they tell each other.

Every rank holds the whole model and works on batches of its own; gradients are summed over all ranks before each
update, so weights stay alike to the last bit. Rank 0 leads: it alone reads clocks, validates and writes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from transformer_cli.errors import ConfigError, UserError

PEER_TIMEOUT = timedelta(hours=12)
"""How long a rank waits for another that lives: a validation may take long."""
PEER_GONE = "another process of this training has ended; its message says why"
POLL_INTERVAL = 0.1
"""Seconds between two looks at whether the ranks that are waited for still live."""


@dataclass(frozen=True)
class Ranks:
    """This process, `rank` of `size`. Alone, every method does nothing.

    `neighbours`: process ids of the other ranks on this machine.
    """

    rank: int = 0
    size: int = 1
    neighbours: tuple[int, ...] = ()

    @staticmethod
    def from_environment(device: torch.device) -> Ranks:
        """The group that `torchrun` has started, to work on `device`; a process by itself where it has not.

        Raises:
            ConfigError: a device that cannot exchange gradients.
        """
        size = os.environ.get("WORLD_SIZE", "1")
        if size == "1":
            return Ranks()
        missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing or not size.isdecimal():
            raise ConfigError(
                f"WORLD_SIZE is {size!r}, but {' and '.join(missing) or 'that'} is not what torchrun sets",
                hint="start it with torchrun (docs/several-devices.md), or unset WORLD_SIZE to train alone",
            )
        if device.type == "mps":
            raise ConfigError("several processes cannot share an MPS device", hint="use --device cpu")
        if not dist.is_initialized():
            on_gpu = device.type == "cuda"
            if on_gpu:
                torch.cuda.set_device(device)
            with _exit_on_sigterm():
                _start("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        places = torch.stack(ranks.gather(torch.tensor([_this_machine(), os.getpid()]))).tolist()
        own = places.pop(ranks.rank)
        return replace(ranks, neighbours=tuple(pid for machine, pid in places if machine == own[0]))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def close(self) -> None:
        """The end of working together."""
        if self.size > 1:
            dist.destroy_process_group()

    def barrier(self) -> None:
        """Until every rank has come here."""
        self.all_reduce([torch.zeros(1)])

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over all ranks, in place; all travel in one message."""
        if self.size == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with _peer_errors():
            self._finish(dist.all_reduce(flat, async_op=True), flat)
        parts = torch.split(flat, [t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def broadcast(self, numbers: Sequence[float]) -> list[float]:
        """The numbers of rank 0, on every rank."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64)
        with _peer_errors():
            self._finish(dist.broadcast(values, src=0, async_op=True), values)
        return values.tolist()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of each rank; all have one shape."""
        if self.size == 1:
            return [tensor]
        everyone = [torch.empty_like(tensor) for _ in range(self.size)]
        with _peer_errors():
            self._finish(dist.all_gather(everyone, tensor, async_op=True), tensor)
        return everyone

    def _finish(self, work: dist.Work | None, tensor: Tensor) -> None:
        """Wait for the others, as long as they live.

        gloo may miss the end of a neighbour, and Python hears no signal while gloo waits: so it is asked.
        """
        assert work is not None
        pause = POLL_INTERVAL / 1000
        while tensor.device.type == "cpu" and not work.is_completed():
            time.sleep(pause)
            pause = min(1.2 * pause, POLL_INTERVAL)
            if pause == POLL_INTERVAL and not all(map(_is_alive, self.neighbours)) and not work.is_completed():
                raise UserError(PEER_GONE)
        work.wait()


@contextlib.contextmanager
def _peer_errors() -> Iterator[None]:
    """Raises: UserError where another rank is gone."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(PEER_GONE) from error


def _start(backend: str) -> None:
    """Meet the other ranks.

    torchrun keeps one store over its restarts, in which a new process would find the addresses of dead ones. On
    one machine all ranks agree on the number of restarts, so each has a part of the store of its own.
    """
    store, rank, size = next(rendezvous("env://", timeout=PEER_TIMEOUT))
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        store = PrefixStore(f"restart {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PEER_TIMEOUT)


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the process at once: Python would not hear it, and there is nothing to save yet."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _this_machine() -> int:
    """A number that processes have in common which see each other's process ids."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # two containers may bear one name
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return zlib.crc32("".join(parts).encode())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else's
        pass
    return True
