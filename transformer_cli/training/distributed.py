"""Data-parallel training with `torchrun`: communication between the ranks.

Every rank holds the whole model and processes different batches. Gradients are summed over all ranks
before each update, so the weights stay bit-identical. Only rank 0 reads the clock, validates and
writes files.
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
"""How long a rank waits for a running peer; long, because the others wait while rank 0 validates."""
PEER_LOST = (
    "another process of this training run has exited: see its error message, then repeat the same torchrun "
    "command to resume from the last checkpoint"
)
POLL_INTERVAL = 0.1
"""Seconds between checks that the local peers are still running."""


@dataclass(frozen=True)
class Ranks:
    """The process group: this process is number `rank` of `size`. With `size` 1 no method communicates.

    `local_peers`: process ids of the other ranks on this machine.
    """

    rank: int = 0
    size: int = 1
    local_peers: tuple[int, ...] = ()

    @staticmethod
    def from_environment(device: torch.device) -> Ranks:
        """Join the process group that `torchrun` started, for training on `device`.

        Without `torchrun` the result has `size` 1.

        Raises:
            ConfigError: the environment is incomplete, or the device does not support several processes.
        """
        size = os.environ.get("WORLD_SIZE", "1")
        if size == "1":
            return Ranks()
        missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing or not size.isdecimal():
            problem = f"missing {', '.join(missing)}" if missing else "which is not a number"
            raise ConfigError(
                f"invalid torchrun environment: WORLD_SIZE is {size!r}, {problem}",
                hint="start with torchrun (docs/several-devices.md), or unset WORLD_SIZE to train in one process",
            )
        if device.type == "mps":
            raise ConfigError("MPS does not support training with several processes", hint="use --device cpu")
        if not dist.is_initialized():
            on_gpu = device.type == "cuda"
            if on_gpu:
                torch.cuda.set_device(device)
            with _exit_on_sigterm():
                _init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        ranks = Ranks(dist.get_rank(), dist.get_world_size())
        machine = _machine_id()
        peers = torch.stack(ranks.all_gather(torch.tensor([machine, os.getpid()]))).tolist()
        peers.pop(ranks.rank)
        return replace(ranks, local_peers=tuple(pid for peer_machine, pid in peers if peer_machine == machine))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def close(self) -> None:
        """Leave the process group."""
        if self.size > 1:
            dist.destroy_process_group()

    def barrier(self) -> None:
        """Block until every rank has called this method."""
        self.all_reduce([torch.zeros(1)])

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all ranks, in place, with one collective operation."""
        if self.size == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with _peer_errors():
            self._wait(dist.all_reduce(flat, async_op=True), flat)
        parts = torch.split(flat, [t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def broadcast(self, numbers: Sequence[float]) -> list[float]:
        """Return the numbers of rank 0 on every rank."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64)
        with _peer_errors():
            self._wait(dist.broadcast(values, src=0, async_op=True), values)
        return values.tolist()

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all ranks, in the order of the ranks; their shapes must be equal."""
        if self.size == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        with _peer_errors():
            self._wait(dist.all_gather(gathered, tensor, async_op=True), tensor)
        return gathered

    def _wait(self, work: dist.Work | None, tensor: Tensor) -> None:
        """Wait for a collective operation on the CPU while the local peers are running.

        Polls, because gloo can miss that a peer has exited, and Python handles no signal while gloo blocks.

        Raises:
            UserError: a local peer has exited.
        """
        assert work is not None
        pause = POLL_INTERVAL / 1000
        while tensor.device.type == "cpu" and not work.is_completed():
            time.sleep(pause)
            pause = min(1.2 * pause, POLL_INTERVAL)
            if pause == POLL_INTERVAL and not all(map(_is_alive, self.local_peers)) and not work.is_completed():
                raise UserError(PEER_LOST)
        work.wait()


@contextlib.contextmanager
def _peer_errors() -> Iterator[None]:
    """Context manager: convert communication errors to `UserError`."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(PEER_LOST) from error


def _init_process_group(backend: str) -> None:
    """Join the process group.

    torchrun reuses one store after a restart, in which a new process would find the addresses of
    terminated ones. On a single machine all ranks have the same restart count, so each restart uses a
    separate prefix.
    """
    store, rank, size = next(rendezvous("env://", timeout=PEER_TIMEOUT))
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        store = PrefixStore(f"restart {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PEER_TIMEOUT)


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Context manager: SIGTERM terminates the process immediately.

    A Python handler would not run while torch blocks, and there is nothing to save yet.
    """
    previous = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _machine_id() -> int:
    """A number that is equal in processes of the same PID namespace."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # two containers may have the same host name
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return zlib.crc32("".join(parts).encode())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process exists and belongs to another user
        pass
    return True
