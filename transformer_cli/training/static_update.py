"""Updates whose tensors never change their shape or place: on CUDA one captured graph does the whole of each.

A small model is bound by launching its thousand kernels, not by computing them; a graph launches all of them at
once. So every batch is copied into the same tensors, packed and filled up; the rate, the number of tokens and the
share of the moving average are tensors, too; and a gradient that is not finite changes nothing without the host
being asked. Without CUDA the same operations run one by one: the twin that the tests compare with `EagerUpdate`.

Shapes: N tokens of the fixed shape, the same for source and target.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch

from transformer_cli.batch import EOS, Batch, BatchPlan, TokenBudget
from transformer_cli.memory import is_out_of_memory
from transformer_cli.ops.varlen import is_varlen_available
from transformer_cli.runtime import capture_graph, resolve_precision
from transformer_cli.schema import Config
from transformer_cli.training.compiled import CompiledLayers
from transformer_cli.training.device_corpus import DeviceCorpus
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.optimizer import clip_gradient, set_learning_rate
from transformer_cli.training.state import TrainState
from transformer_cli.training.update import MAX_SKIPPED, AllReduce, EagerUpdate, UpdateResult, divergence_error
from transformer_cli.tree import tree_copy_

SENTENCE = 8
"""Tokens of a sentence, at least, in the mean of a batch: bounds the places for sentences in the fixed shape."""
WARM_UP = 3
"""Updates before the capture: libraries choose their kernels, the optimizer makes its moments."""
POLL_INTERVAL = 50
"""Updates between two looks at what the device has counted."""


def token_budget(config: Config) -> TokenBudget:
    """The fixed shape of a configuration's batches."""
    tokens = config.data.batch_tokens
    return TokenBudget(tokens, max(1, tokens // SENTENCE), config.data.max_length)


def static_unsupported_reason(state: TrainState, config: Config) -> str:
    """Why this run cannot be captured as one graph; empty if it can."""
    device = next(state.model.parameters()).device
    if device.type != "cuda":
        return f"a graph needs CUDA, this is {device.type}"
    if state.ranks.size > 1:
        return "several processes exchange their gradients outside it"
    if config.training.accumulate > 1:
        return "training.accumulate is above 1"
    if not state.model.supports_packed:
        return f"{config.model.encoder} -> {config.model.decoder} pads its batches"
    if config.model.attention != "fused" or not is_varlen_available():
        return "this torch or this configuration has no attention for packed sentences"
    if resolve_precision(device, config.training.precision, config.model.d_model) != "bf16":
        return "attention to packed sentences needs training.precision bf16"
    return ""


class StaticUpdate:
    """See `Update`. One batch an update; what the fixed shape does not hold goes to `eager`."""

    def __init__(self, eager: EagerUpdate, budget: TokenBudget, notify: Callable[[str], None]) -> None:
        self.eager, self.budget, self.notify = eager, budget, notify
        self.state, self.config = eager.state, eager.config
        self.device = eager.device
        self.corpus = DeviceCorpus(budget, self.device, notify)
        self.batch = _blank(budget, self.device)
        self.token_weights = torch.zeros(budget.tokens, device=self.device)  # 1 = a token, 0 = filler
        self.tokens, self.update_weight, self.nll, self.norm, self.left_out, self.in_a_row = (
            torch.zeros((), device=self.device) for _ in range(6)
        )
        self.graph: torch.cuda.CUDAGraph | None = None
        self.captures = self.device.type == "cuda"
        self.layers = CompiledLayers(self.state.model) if self.config.training.compile else None
        self.fits = True
        self.calls = self.looked = 0

    def __call__(
        self, batches: Sequence[BatchPlan], tokens: int, rate: float, all_reduce: AllReduce
    ) -> UpdateResult:
        """See `Update`. What it returns is `done` in any case; see `report_skipped`."""
        if not self.fits or len(batches) != 1 or not self.budget.fits(batches[0]):
            return self.eager(batches, tokens, rate, all_reduce)
        set_learning_rate(self.state.optimizer, rate)
        while not self._fitted(batches[0]):
            if self.corpus.enabled:
                self.notify("out of memory: the corpus stays on the host from now on")
                self.corpus.release()
                torch.cuda.empty_cache()
                continue
            self.notify(
                "out of memory: batches are computed operation by operation and in parts from now on, slower"
            )
            self.fits, self.graph = False, None
            torch.cuda.empty_cache()
            return self.eager(batches, tokens, rate, all_reduce)
        self.calls += 1
        if self.calls % POLL_INTERVAL == 0:
            self.report_skipped()
        return UpdateResult(self.nll.clone(), self.norm.clone(), True)

    def dry_run(self, pairs: BatchPlan) -> int:
        """See `Update`."""
        return self.eager.dry_run(pairs)

    def _fitted(self, pairs: BatchPlan) -> bool:
        """One update of these pairs; False if there was no memory for it, and then nothing has changed."""
        try:
            self._fill(pairs)
            if self.captures and self.graph is None and self.calls >= WARM_UP:
                self._capture()
            if self.graph is None and self.layers is not None and not self.calls:
                self._compile()
            elif self.graph is None:
                self._compute()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        if self.graph is not None:
            self.graph.replay()
        return True

    def _fill(self, pairs: BatchPlan) -> None:
        """Write the batch into the fixed tensors."""
        tree_copy_(self.batch, self.corpus.collate(pairs))
        self.token_weights.zero_()[: pairs.tokens].fill_(1.0)
        self.tokens.fill_(pairs.tokens)
        if self.state.average is not None:
            self.update_weight.fill_(self.state.average.update_weight(self.state.progress.step + 1))

    def _compile(self) -> None:
        """The first update with compiled layers, or, if they cannot be had, with the layers as they are."""
        self.notify("compiling the layers, once: about a minute")
        try:
            self._compute()
        except Exception as error:  # a compiler may fail in any way
            if is_out_of_memory(error):
                raise
            self.layers = None
            reason = " ".join(str(error).split("\n")[:2])
            self.notify(f"warning: the layers cannot be compiled; they run slower without: {reason}")
        if self.layers is None:  # only here, where the error and all that it held are gone
            self._compute()

    def _compute(self) -> None:
        """The update, operation by operation."""
        if self.captures:  # memory of another stream is not mixed with what the graph will hold
            stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                self._body()
            torch.cuda.current_stream(self.device).wait_stream(stream)
        else:
            self._body()

    def _capture(self) -> None:
        self.state.model.zero_grad(set_to_none=True)  # gradients are to lie in the graph's own memory
        self.graph, reason = capture_graph(self._body)
        if self.graph is None:
            self.captures = False
            self.notify(
                f"warning: this update cannot be captured as a CUDA graph; it runs slower without: {reason}"
            )

    def _body(self) -> None:
        """The whole update, from and to tensors that stay where they are; asks nothing of the device."""
        state, c = self.state, self.config
        state.model.zero_grad(set_to_none=True)
        with self.eager.precision_context():
            with self.layers.use_compiled() if self.layers else contextlib.nullcontext():
                states = state.model(self.batch)
            loss, nll = label_smoothed_cross_entropy(
                states,
                state.model.output_weight,
                self.batch.tgt_out,
                c.training.label_smoothing,
                self.token_weights,
            )
        torch.autograd.backward(loss / self.tokens)
        norm = clip_gradient(state.model, c.optim.clip_norm)
        spoiled = (~torch.isfinite(norm)).float()
        with self.eager.precision_context():
            state.optimizer.step(spoiled)
        if state.average is not None:
            state.average.update(state.model, self.update_weight * (1.0 - spoiled))
        # One number that is not finite would spoil the sums of the log.
        self.nll.copy_(torch.where(spoiled == 0, nll, 0.0))
        self.norm.copy_(torch.where(spoiled == 0, norm, 0.0))
        self.left_out.add_(spoiled)
        self.in_a_row.add_(1.0).mul_(spoiled)

    def report_skipped(self) -> None:
        """See `Update`: asks the device what it has counted since the last look."""
        left_out, in_a_row, calls = int(self.left_out), int(self.in_a_row), self.calls - self.looked
        self.left_out.zero_()
        self.looked = self.calls
        if left_out:
            self.notify(f"{left_out} of the last {calls} updates had no finite gradient and were left out")
        if in_a_row >= MAX_SKIPPED:
            raise divergence_error()


def _blank(budget: TokenBudget, device: torch.device) -> Batch:
    """A batch of filler; no two of its tensors share memory."""
    none = torch.empty(0, dtype=torch.int64, device=device)
    src, tgt_in, tgt_out = (torch.full((budget.tokens,), EOS, device=device) for _ in range(3))
    return Batch(src, budget.static_layout(none), tgt_in, budget.static_layout(none), tgt_out)
