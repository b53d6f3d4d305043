"""All that a run must remember to go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transformer_cli.batch import DataPosition
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import OptimConfig, TrainingConfig
from transformer_cli.training.distributed import Ranks
from transformer_cli.training.optimizer import MovingAverage, build_optimizer

ALONE = Ranks()
KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
"""What JSON may hold for a field of this type."""


@dataclass
class Progress:
    """Numbers of a run; all of it goes into `state.json`.

    `step` counts optimizer updates, `tokens` target tokens seen, `seconds` the time spent in training (validation
    and saving included); `position` is the next batch; `best_score` is the metric, higher is better;
    `reserve` is how many seconds a validation and its save take, kept free at the end of a time limit.
    """

    step: int = 0
    position: DataPosition = field(default_factory=DataPosition)
    tokens: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_score: float | None = None
    bad_validations: int = 0
    validated_step: int = -1
    reserve: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Progress:
        """Raises: TypeError, KeyError or ValueError if the values are not a progress."""
        progress = Progress(**{**values, "position": DataPosition(**values["position"])})
        for f, value in (
            (f, getattr(held, f.name)) for held in (progress, progress.position) for f in fields(held)
        ):
            kinds = KINDS.get(str(f.type))
            if kinds and (type(value) not in kinds or (type(value) is int and value < -1)):
                raise ValueError(f"{f.name} is {value!r}")
        return progress


class TrainState:
    """Model, optimizer, moving average, random state and progress: the value that a checkpoint holds."""

    def __init__(self, model: Seq2Seq, optim: OptimConfig, training: TrainingConfig, ranks: Ranks = ALONE) -> None:
        self.model = model
        self.ranks = ranks
        self.peers: dict[str, Tensor] = {}
        self.optimizer = build_optimizer(model, optim)
        self.average = MovingAverage(model, training.ema) if training.ema else None
        self.progress = Progress()

    def model_tensors(self) -> dict[str, Tensor]:
        """What is validated and deployed: the moving average where there is one, else the weights."""
        if self.average is not None:
            return dict(self.average.average)
        return {name: p.detach() for name, p in self.model.named_parameters()}

    def gather_random_states(self) -> None:
        """Take in the random states of the other ranks, so that a checkpoint holds them. Every rank calls this."""
        for kind, own in self._random_states().items():
            states = self.ranks.gather(own)
            self.peers.update({f"{kind}.{rank}": states[rank] for rank in range(1, len(states))})

    def _random_states(self) -> dict[str, Tensor]:
        states = {"rng.cpu": torch.get_rng_state()}
        device = next(self.model.parameters()).device
        if device.type == "cuda":
            states["rng.device"] = torch.cuda.get_rng_state(device)
        elif device.type == "mps":
            states["rng.device"] = torch.mps.get_rng_state()
        return states

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """What only training needs: moments, step counts, random states of all ranks, weights under an average."""
        tensors = {**self._random_states(), **self.peers}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state_of(parameter).items():
                tensors[f"{key}.{name}"] = value.detach()
            if self.average is not None:
                tensors[f"weight.{name}"] = parameter.detach()
        return tensors

    @torch.no_grad()
    def restore(self, model: dict[str, Tensor], optimizer: dict[str, Tensor], progress: Progress) -> None:
        """Take everything back, in place. The tensors have been checked against the model."""
        moments: dict[str, list[str]] = {}
        for key, _, name in (full.partition(".") for full in optimizer):
            if key not in ("rng", "weight"):
                moments.setdefault(name, []).append(key)
        for name, parameter in self.model.named_parameters():
            if self.average is not None:
                self.average.average[name].copy_(model[name])
                parameter.copy_(optimizer[f"weight.{name}"])
            else:
                parameter.copy_(model[name])
            held = self.optimizer.state_of(parameter)
            held.clear()
            if progress.step:  # before the first update there are no moments
                keys = moments.pop(name)
                held.update({key: optimizer[f"{key}.{name}"].to(parameter.device) for key in keys})
        self._restore_random(optimizer, progress.step)
        self.progress = progress

    def _restore_random(self, held: dict[str, Tensor], step: int) -> None:
        suffix = "" if self.ranks.is_main else f".{self.ranks.rank}"
        if f"rng.cpu{suffix}" not in held:  # the run was made by fewer ranks
            torch.manual_seed(int(np.random.SeedSequence([step, self.ranks.rank]).generate_state(1)[0]))
            return
        torch.set_rng_state(held[f"rng.cpu{suffix}"].cpu())
        device, own = next(self.model.parameters()).device, held.get(f"rng.device{suffix}")
        if own is not None and device.type == "cuda":
            torch.cuda.set_rng_state(own.cpu(), device)
        elif own is not None and device.type == "mps":
            torch.mps.set_rng_state(own.cpu())
