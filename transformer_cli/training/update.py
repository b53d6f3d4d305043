"""One update of the weights: gradient accumulation, clipping, the optimizer step and the moving average."""

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
"""Consecutive updates without a finite gradient after which training fails."""

AllReduce = Callable[[Tensor], None]
"""Sums the gradients and the NLL, its argument, over all ranks, in place."""


def divergence_error() -> UserError:
    """The error for `MAX_SKIPPED` consecutive skipped updates."""
    return UserError(
        f"training has diverged: {MAX_SKIPPED} consecutive updates had no finite gradient",
        hint="lower optim.lr, or set training.precision to fp32; the last checkpoint is kept",
    )


@dataclass(frozen=True)
class UpdateResult:
    """The result of an update.

    Attributes:
        nll: negative log-likelihood in nats, summed over the tokens.
        norm: gradient norm before clipping.
        applied: False if the update was skipped because the gradient was not finite.
    """

    nll: Tensor
    norm: Tensor
    applied: bool


class Update(Protocol):
    """Computes and applies one update of a `TrainState`."""

    def __call__(
        self, batches: Sequence[BatchPlan], tokens: int, lr: float, all_reduce: AllReduce
    ) -> UpdateResult:
        """Run one update with learning rate `lr`; `tokens` counts the target tokens of all ranks."""
        ...

    def dry_run(self, pairs: BatchPlan) -> int:
        """Run forward and backward on one batch without side effects; returns the peak memory in bytes."""
        ...

    def report_skipped(self) -> None:
        """Report skipped updates that were not reported immediately. Call this before saving.

        Raises:
            UserError: training has diverged.
        """
        ...


class EagerUpdate:
    """Eager execution, for batches of any shape on any device."""

    def __init__(self, state: TrainState, config: Config, notify: Callable[[str], None]) -> None:
        self.state, self.config, self.notify = state, config, notify
        self.device = next(state.model.parameters()).device
        self.precision = resolve_precision(self.device, config.training.precision, config.model.d_model)
        self.split_on_out_of_memory = SplitOnOutOfMemory(self._notify_limit)

    def __call__(
        self, batches: Sequence[BatchPlan], tokens: int, lr: float, all_reduce: AllReduce
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
        set_learning_rate(state.optimizer, lr)
        with self.precision_context():
            state.optimizer.step()
        if state.average is not None:
            state.average.update(state.model, state.average.update_weight(state.progress.step + 1))
        return UpdateResult(nll, norm, True)

    def precision_context(self) -> AbstractContextManager[object]:
        """Context manager that sets the precision of matrix products."""
        return matmul_precision(self.device, self.precision)

    def report_skipped(self) -> None:
        """See `Update`. Every skipped update has been reported already."""

    def dry_run(self, pairs: BatchPlan) -> int:
        """See `Update`."""
        device = self.device
        with torch.random.fork_rng([device] if device.type != "cpu" else [], device_type=device.type):
            self.state.model.train()
            self.gradient([pairs], pairs.tokens)
        self.state.model.zero_grad(set_to_none=True)
        return peak_bytes(device)

    def gradient(self, batches: Sequence[BatchPlan], tokens: int) -> Tensor:
        """Accumulate the gradient of the loss of these batches, divided by `tokens`; returns their summed NLL.

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
            f"out of memory on a batch of {limit:,} tokens with padding: batches of this size are now split, "
            "which is slower and gives the same gradient; lower data.batch_tokens to avoid it"
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
        f"out of memory on a single sentence pair of {pair.padded_tokens - pair.tokens} source and {pair.tokens} "
        "target tokens",
        hint="lower data.max_length, or use a smaller model.preset; the last checkpoint is kept",
    )
