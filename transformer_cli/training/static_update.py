"""Updates with static shapes and addresses: on CUDA the whole update is captured and replayed as one graph.

An update of a small model is bound by the launches of about a thousand kernels, not by computation;
a CUDA graph launches all of them at once. Therefore every batch is packed, padded and copied into the
same tensors; the learning rate, the number of tokens and the weight of the moving average are tensors
as well; and a non-finite gradient makes the update a no-op on the device, without synchronization with
the host. Without CUDA the same operations run eagerly; the tests compare them with `EagerUpdate`.

Shapes: N tokens of the static shape, the same for source and target.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence

import torch

from transformer_cli.batch import Batch, BatchPlan, Sentences, TokenBudget
from transformer_cli.memory import is_out_of_memory
from transformer_cli.ops.varlen import is_varlen_available
from transformer_cli.runtime import capture_graph, resolve_precision
from transformer_cli.schema import Config
from transformer_cli.token_ids import EOS
from transformer_cli.training.compiled import CompiledLayers
from transformer_cli.training.device_corpus import DeviceCorpus
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.training.optimizer import clip_gradient, set_learning_rate
from transformer_cli.training.state import TrainState
from transformer_cli.training.update import MAX_SKIPPED, AllReduce, EagerUpdate, UpdateResult, divergence_error
from transformer_cli.tree import tree_copy_

SENTENCE_MARGIN = 1.15
"""Sentences in the static shape relative to a batch of mean length. Batches with more sentences are cut
shorter. Attention runs a block for each sentence of the shape, also for an empty one, so a larger margin
costs time in every update."""
LENGTH_MULTIPLE = 64
"""The longest sentence of the static shape is a multiple of this: the attention kernel's block of queries."""
WARMUP_UPDATES = 3
"""Eager updates before the capture: libraries select their kernels, the optimizer allocates its state."""
POLL_INTERVAL = 50
"""Updates between reads of the counters on the device."""


def token_budget(config: Config, src: Sentences, tgt: Sentences) -> TokenBudget:
    """The static shape of batches with this configuration, for a training corpus like `src` and `tgt`.

    A later epoch may be encoded differently (subword sampling). A sentence that is longer than any of this
    corpus makes its batch run without a graph, with the same result.
    """
    tokens, sides = config.data.batch_tokens, (src.lengths, tgt.lengths)
    sentences = math.ceil(SENTENCE_MARGIN * tokens / max(float(n.mean()) for n in sides))
    longest = -(-max(int(n.max()) for n in sides) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    return TokenBudget(tokens, sentences, min(longest, config.data.max_length))


def static_unsupported_reason(state: TrainState, config: Config) -> str:
    """Why the updates of this run cannot be captured as one CUDA graph; empty if they can."""
    device = next(state.model.parameters()).device
    if device.type != "cuda":
        return f"CUDA graphs need a CUDA device, this is {device.type}"
    if state.ranks.size > 1:
        return "gradients are exchanged between processes, which a graph does not support"
    if config.training.accumulate > 1:
        return "training.accumulate is greater than 1"
    if not state.model.supports_packed:
        return f"the architecture {config.model.encoder} -> {config.model.decoder} does not support packed batches"
    if config.model.attention != "fused":
        return "packed attention needs model.attention fused"
    if not is_varlen_available():
        return "this version of torch has no packed attention (torch.nn.attention.varlen)"
    if resolve_precision(device, config.training.precision, config.model.d_model) != "bf16":
        return "packed attention needs training.precision bf16"
    return ""


class StaticUpdate:
    """See `Update`. Handles one batch per update; batches that do not fit the static shape use `eager`."""

    def __init__(self, eager: EagerUpdate, budget: TokenBudget, notify: Callable[[str], None]) -> None:
        self.eager, self.budget, self.notify = eager, budget, notify
        self.state, self.config = eager.state, eager.config
        self.device = eager.device
        self.corpus = DeviceCorpus(budget, self.device, notify)
        self.batch = _padding_batch(budget, self.device)
        self.token_weights = torch.zeros(budget.tokens, device=self.device)  # 1 = token, 0 = padding
        self.tokens, self.update_weight, self.nll, self.norm, self.skipped, self.consecutive_skipped = (
            torch.zeros((), device=self.device) for _ in range(6)
        )
        self.graph: torch.cuda.CUDAGraph | None = None
        self.use_graph = self.device.type == "cuda"
        self.layers = CompiledLayers(self.state.model) if self.config.training.compile else None
        self.fits = True
        self.calls = self.reported_calls = 0

    def __call__(
        self, batches: Sequence[BatchPlan], tokens: int, lr: float, all_reduce: AllReduce
    ) -> UpdateResult:
        """See `Update`. The result is always `applied`: skipped updates are reported by `report_skipped`."""
        if not self.fits or len(batches) != 1 or not self.budget.fits(batches[0]):
            return self.eager(batches, tokens, lr, all_reduce)
        set_learning_rate(self.state.optimizer, lr)
        while not self._try_update(batches[0]):
            if self.corpus.enabled:
                self.notify("out of memory: the corpus is now kept in host memory")
                self.corpus.release()
                torch.cuda.empty_cache()
                continue
            self.notify(
                "out of memory: updates now run without a CUDA graph and split large batches, which is slower"
            )
            self.fits, self.graph = False, None
            torch.cuda.empty_cache()
            return self.eager(batches, tokens, lr, all_reduce)
        self.calls += 1
        if self.calls % POLL_INTERVAL == 0:
            self.report_skipped()
        return UpdateResult(self.nll.clone(), self.norm.clone(), True)

    def dry_run(self, pairs: BatchPlan) -> int:
        """See `Update`."""
        return self.eager.dry_run(pairs)

    def _try_update(self, pairs: BatchPlan) -> bool:
        """Run one update on these pairs; False if it ran out of memory, in which case nothing has changed."""
        try:
            self._copy_inputs(pairs)
            if self.use_graph and self.graph is None and self.calls >= WARMUP_UPDATES:
                self._capture()
            if self.graph is None and self.layers is not None and not self.calls:
                self._run_compiled_or_fall_back()
            elif self.graph is None:
                self._run_eager()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        if self.graph is not None:
            self.graph.replay()
        return True

    def _copy_inputs(self, pairs: BatchPlan) -> None:
        """Copy the batch and its scalars into the static tensors."""
        tree_copy_(self.batch, self.corpus.collate(pairs))
        self.token_weights.zero_()[: pairs.tokens].fill_(1.0)
        self.tokens.fill_(pairs.tokens)
        if self.state.average is not None:
            self.update_weight.fill_(self.state.average.update_weight(self.state.progress.step + 1))

    def _run_compiled_or_fall_back(self) -> None:
        """Run the first update with compiled layers, or with the original layers if compilation fails."""
        self.notify("compiling the layers: takes about a minute, once")
        try:
            self._run_eager()
        except Exception as error:  # a compiler can raise anything
            if is_out_of_memory(error):
                raise
            self.layers = None
            reason = " ".join(str(error).split("\n")[:2])
            self.notify(f"warning: torch.compile failed, training continues uncompiled and is slower: {reason}")
        if self.layers is None:  # outside of `except`: the traceback has released its tensors
            self._run_eager()

    def _run_eager(self) -> None:
        """Run the update without a graph."""
        if self.use_graph:  # a side stream keeps these allocations apart from the memory of the graph
            stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                self._update()
            torch.cuda.current_stream(self.device).wait_stream(stream)
        else:
            self._update()

    def _capture(self) -> None:
        self.state.model.zero_grad(set_to_none=True)  # gradients must be allocated in the memory of the graph
        self.graph, reason = capture_graph(self._update)
        if self.graph is None:
            self.use_graph = False
            self.notify(
                f"warning: CUDA graph capture failed, training continues without a graph and is slower: {reason}"
            )

    def _update(self) -> None:
        """The whole update; reads and writes static tensors and never synchronizes with the device."""
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
        found_inf = (~torch.isfinite(norm)).float()
        with self.eager.precision_context():
            state.optimizer.step(found_inf)
        if state.average is not None:
            state.average.update(state.model, self.update_weight * (1.0 - found_inf))
        # A non-finite value would make the sums of the log non-finite.
        self.nll.copy_(torch.where(found_inf == 0, nll, 0.0))
        self.norm.copy_(torch.where(found_inf == 0, norm, 0.0))
        self.skipped.add_(found_inf)
        self.consecutive_skipped.add_(1.0).mul_(found_inf)

    def report_skipped(self) -> None:
        """See `Update`. Reads the counters of skipped updates from the device, which synchronizes."""
        skipped, consecutive = int(self.skipped), int(self.consecutive_skipped)
        calls = self.calls - self.reported_calls
        self.skipped.zero_()
        self.reported_calls = self.calls
        if skipped:
            self.notify(f"skipped {skipped} of the last {calls} updates: the gradient was not finite")
        if consecutive >= MAX_SKIPPED:
            raise divergence_error()


def _padding_batch(budget: TokenBudget, device: torch.device) -> Batch:
    """A batch of padding only; no two of its tensors share memory."""
    no_lengths = torch.empty(0, dtype=torch.int64, device=device)
    src, tgt_in, tgt_out = (torch.full((budget.tokens,), EOS, device=device) for _ in range(3))
    return Batch(src, budget.static_layout(no_lengths), tgt_in, budget.static_layout(no_lengths), tgt_out)
