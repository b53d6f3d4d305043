"""One update of the weights: the gradient of some batches, clipped, through the optimizer, into the average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from transformer_cli.batch import BatchPlan
from transformer_cli.errors import UserError
from transformer_cli.memory import SplitOnOutOfMemory, peak_bytes
from transformer_cli.runtime import matmul_precision, resolve_precision
from transformer_cli.schema import Config
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.optimizer import clip_gradient, set_learning_rate
from transformer_cli.training.state import TrainState

MAX_SKIPPED = 20
"""Updates in a row without a finite gradient before training gives up."""

AllReduce = Callable[[Tensor], None]
"""Sums the gradients, and the NLL that it is given, over all ranks."""


def divergence_error() -> UserError:
    """What to say when no update changes anything any more."""
    return UserError(
        f"{MAX_SKIPPED} updates in a row had no finite gradient; training has diverged",
        hint="lower optim.lr, or use training.precision: fp32; the last good checkpoint is kept",
    )


@dataclass(frozen=True)
class UpdateResult:
    """What an update brought.

    Attributes:
        nll: of its tokens, summed, in nats. norm: of the gradient before it was clipped.
        done: whether the weights have changed; without a finite gradient they have not.
    """

    nll: Tensor
    norm: Tensor
    done: bool


class Update(Protocol):
    """Changes the weights of a `TrainState`."""

    def __call__(
        self, batches: Sequence[BatchPlan], tokens: int, rate: float, all_reduce: AllReduce
    ) -> UpdateResult:
        """One update at this learning rate; `tokens` are those of all ranks' batches together."""
        ...

    def dry_run(self, pairs: BatchPlan) -> int:
        """Forward and backward of one batch, which changes nothing; returns the peak of memory in bytes."""
        ...

    def report_skipped(self) -> None:
        """Before a save: say which updates were left out, if that was not said at once.

        Raises:
            UserError: nothing changes any more.
        """
        ...


class EagerUpdate:
    """Operation by operation, for batches of any shape, on any device."""

    def __init__(self, state: TrainState, config: Config, notify: Callable[[str], None]) -> None:
        self.state, self.config, self.notify = state, config, notify
        self.device = next(state.model.parameters()).device
        self.precision = resolve_precision(self.device, config.training.precision, config.model.d_model)
        self.split_on_out_of_memory = SplitOnOutOfMemory(self._notify_limit)

    def __call__(
        self, batches: Sequence[BatchPlan], tokens: int, rate: float, all_reduce: AllReduce
    ) -> UpdateResult:
        """See `Update`."""
        state = self.state
        state.model.zero_grad(set_to_none=True)
        nll = self.gradient(batches, tokens)
        all_reduce(nll)
        norm = clip_gradient(state.model, self.config.optim.clip_norm)
        if not torch.isfinite(norm):
            state.model.zero_grad(set_to_none=True)
            return UpdateResult(nll, norm, False)
        set_learning_rate(state.optimizer, rate)
        with self.precision_context():
            state.optimizer.step()
        if state.average is not None:
            state.average.update(state.model, state.average.update_weight(state.progress.step + 1))
        return UpdateResult(nll, norm, True)

    def precision_context(self) -> AbstractContextManager[object]:
        """What matrix products are done in."""
        return matmul_precision(self.device, self.precision)

    def report_skipped(self) -> None:
        """See `Update`: each was said at once."""

    def dry_run(self, pairs: BatchPlan) -> int:
        """See `Update`."""
        device = self.device
        with torch.random.fork_rng([device] if device.type != "cpu" else [], device_type=device.type):
            self.state.model.train()
            self.gradient([pairs], pairs.tokens)
        self.state.model.zero_grad(set_to_none=True)
        return peak_bytes(device)

    def gradient(self, batches: Sequence[BatchPlan], tokens: int) -> Tensor:
        """Gradient of the mean loss over all tokens of these batches; returns their summed NLL.

        Batches that do not fit into memory are split in half.
        """
        return self.split_on_out_of_memory(
            batches,
            lambda parts: self._sum_gradients(parts, tokens),
            size=lambda plan: plan.padded_tokens,
            split=BatchPlan.split,
            recover=self._discard_gradients,
            too_large=_single_pair_error,
        )

    def _discard_gradients(self) -> None:
        self.state.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()

    def _notify_limit(self, limit: int) -> None:
        self.notify(
            f"out of memory on a batch of {limit:,} tokens with padding: batches of this size are computed "
            "in parts from now on, slower and with the same gradient; a lower data.batch_tokens fits at once"
        )

    def _sum_gradients(self, batches: Sequence[BatchPlan], tokens: int) -> Tensor:
        c, model = self.config.training, self.state.model
        total = torch.zeros((), device=self.device)
        for pairs in batches:
            batch = pairs.collate().to(self.device)
            with self.precision_context():
                states = model(batch)
                loss, nll = label_smoothed_cross_entropy(
                    states, model.output_weight, batch.tgt_out, c.label_smoothing
                )
            torch.autograd.backward(loss / tokens)
            total += nll.detach()
        return total


def _single_pair_error(pair: BatchPlan) -> UserError:
    return UserError(
        f"out of memory on a single pair of {pair.padded_tokens - pair.tokens} source and {pair.tokens} target "
        "tokens",
        hint="lower data.max_length, or choose a smaller model.preset; the last checkpoint is kept",
    )
