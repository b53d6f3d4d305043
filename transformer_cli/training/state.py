"""The training state: everything that an exact resume needs."""

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

SINGLE_PROCESS = Ranks()
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
"""Python types that JSON may contain for a field with this annotation."""


@dataclass
class Progress:
    """Counters of a run. The field names are keys of `state.json`.

    Attributes:
        step: number of updates.
        position: position of the next batch.
        tokens: number of target tokens processed.
        seconds: training time, including validation and saving.
        best_step: step of the best checkpoint.
        best_score: best value of `training.metric`, higher is better; None before the first.
        bad_validations: number of validations since the score last improved.
        validated_step: step of the last validation, -1 if none.
        reserve: maximum seconds of a validation with its save, reserved at the end of a time limit.
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
        """Inverse of `to_json`. Raises: TypeError, KeyError or ValueError if the values are invalid."""
        progress = Progress(**{**values, "position": DataPosition(**values["position"])})
        for f, value in (
            (f, getattr(part, f.name)) for part in (progress, progress.position) for f in fields(part)
        ):
            types = JSON_TYPES.get(str(f.type))
            if types and (type(value) not in types or (type(value) is int and value < -1)):
                raise ValueError(f"invalid value of {f.name}: {value!r}")
        return progress


class TrainState:
    """Model, optimizer, moving average, random states and progress: the content of a checkpoint."""

    def __init__(
        self, model: Seq2Seq, optim: OptimConfig, training: TrainingConfig, ranks: Ranks = SINGLE_PROCESS
    ) -> None:
        self.model = model
        self.ranks = ranks
        self.peer_random_states: dict[str, Tensor] = {}
        self.optimizer = build_optimizer(model, optim)
        self.average = MovingAverage(model, training.ema) if training.ema else None
        self.progress = Progress()

    def model_tensors(self) -> dict[str, Tensor]:
        """The weights for validation and deployment: the moving average if there is one, else the parameters."""
        if self.average is not None:
            return dict(self.average.average)
        return {name: p.detach() for name, p in self.model.named_parameters()}

    def gather_random_states(self) -> None:
        """Gather the random states of all ranks for the next checkpoint. Collective: every rank must call it."""
        for name, local_state in self._random_states().items():
            states = self.ranks.all_gather(local_state)
            self.peer_random_states.update({f"{name}.{rank}": states[rank] for rank in range(1, len(states))})

    def _random_states(self) -> dict[str, Tensor]:
        states = {"rng.cpu": torch.get_rng_state()}
        device = next(self.model.parameters()).device
        if device.type == "cuda":
            states["rng.device"] = torch.cuda.get_rng_state(device)
        elif device.type == "mps":
            states["rng.device"] = torch.mps.get_rng_state()
        return states

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The state that only training needs.

        Moments, step counts, the random states of all ranks, and the parameters if there is an average.
        """
        tensors = {**self._random_states(), **self.peer_random_states}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state_of(parameter).items():
                tensors[f"{key}.{name}"] = value.detach()
            if self.average is not None:
                tensors[f"weight.{name}"] = parameter.detach()
        return tensors

    @torch.no_grad()
    def restore(self, model: dict[str, Tensor], optimizer: dict[str, Tensor], progress: Progress) -> None:
        """Restore the state in place. The caller has checked the tensors of `model` against the model."""
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
            parameter_state = self.optimizer.state_of(parameter)
            parameter_state.clear()
            if progress.step:  # there are no moments before the first update
                keys = moments.pop(name)
                parameter_state.update({key: optimizer[f"{key}.{name}"].to(parameter.device) for key in keys})
        self._restore_random(optimizer, progress.step)
        self.progress = progress

    def _restore_random(self, tensors: dict[str, Tensor], step: int) -> None:
        suffix = "" if self.ranks.is_main else f".{self.ranks.rank}"
        if f"rng.cpu{suffix}" not in tensors:  # the checkpoint was saved with fewer ranks
            torch.manual_seed(int(np.random.SeedSequence([step, self.ranks.rank]).generate_state(1)[0]))
            return
        torch.set_rng_state(tensors[f"rng.cpu{suffix}"].cpu())
        device, device_state = next(self.model.parameters()).device, tensors.get(f"rng.device{suffix}")
        if device_state is not None and device.type == "cuda":
            torch.cuda.set_rng_state(device_state.cpu(), device)
        elif device_state is not None and device.type == "mps":
            torch.mps.set_rng_state(device_state.cpu())
