"""The training corpus in device memory: batches are collated on the device from a list of row indices.

Collating a packed batch of static shape on the host takes milliseconds of Python and copying, as long
as a whole update of a small model on a GPU. Here the host sends only the row indices and never
synchronizes.

Shapes: P pairs in the corpus, B pairs in a batch, N tokens in the static shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.batch import Batch, BatchPlan, Sentences, TokenBudget
from transformer_cli.layout import Layout
from transformer_cli.token_ids import BOS, EOS, TokenIds

MAX_MEMORY_FRACTION = 0.25
"""Fraction of the free device memory that a corpus may take. A larger one stays on the host, which
then sends the token ids of each batch."""


class DeviceSentences:
    """One side of a corpus on a device: ids `[tokens]` int32 and the sentence offsets `[P + 1]` int64."""

    def __init__(self, sentences: Sentences, device: torch.device) -> None:
        self.sentences = sentences
        self.ids, self.offsets = (
            torch.from_numpy(np.array(x)).to(device) for x in (sentences.tokens, sentences.offsets)
        )

    def collate(self, rows: Tensor, budget: TokenBudget) -> tuple[Tensor, Layout]:
        """Collate the sentences `rows`, `[B]`, to ids `[N]` int64 and their static layout; padding is EOS."""
        starts, ends = (self.offsets.index_select(0, r) for r in (rows, rows + 1))  # [B] each
        layout = budget.static_layout(ends - starts)
        assert layout.flat_index is not None
        sentence = layout.flat_index // layout.max_seqlen  # [N], values >= B are padding
        is_token = sentence < len(rows)
        starts = F.pad(starts, (0, layout.sentences - len(rows)))
        indices = (starts.index_select(0, sentence) + layout.positions) * is_token
        return torch.where(is_token, self.ids.index_select(0, indices).long(), EOS), layout


class DeviceCorpus:
    """Collates batches on the device; caches the corpus of the latest batch there if it is small enough."""

    def __init__(self, budget: TokenBudget, device: torch.device, notify: Callable[[str], None]) -> None:
        self.budget, self.device, self.notify = budget, device, notify
        self.enabled = True
        """Whether a corpus may be cached; False after one did not fit."""
        self._sides: list[DeviceSentences] = []

    def collate(self, pairs: BatchPlan) -> Batch:
        """Like `pairs.collate()`, on the device, packed and in the static shape. The batch must fit the budget."""
        if self.enabled and [side.sentences for side in self._sides] != [pairs.src, pairs.tgt]:
            self._upload(pairs)
        if self.enabled:
            sides, indices = self._sides, pairs.rows
        else:
            selected = (side.select(pairs.rows) for side in (pairs.src, pairs.tgt))
            sides, indices = [DeviceSentences(side, self.device) for side in selected], np.arange(len(pairs))
        rows = to_device(indices, self.device)
        src, src_layout = sides[0].collate(rows, self.budget)
        tgt_out, tgt_layout = sides[1].collate(rows, self.budget)
        tgt_in = torch.where(tgt_layout.positions == 0, BOS, tgt_out.roll(1))
        return Batch(src, src_layout, tgt_in, tgt_layout, tgt_out)

    def release(self) -> None:
        """Free the memory of the corpus and disable caching."""
        self.enabled, self._sides = False, []

    def _upload(self, pairs: BatchPlan) -> None:
        self._sides = []  # free the previous corpus before memory is measured
        size = sum(side.tokens.nbytes + side.offsets.nbytes for side in (pairs.src, pairs.tgt))
        if size > MAX_MEMORY_FRACTION * _free_memory(self.device):
            self.notify(
                f"the corpus takes {size / 2**20:,.0f} MiB, more than {MAX_MEMORY_FRACTION:.0%} of the free "
                "device memory: it stays in host memory"
            )
            self.release()
        else:
            self._sides = [DeviceSentences(side, self.device) for side in (pairs.src, pairs.tgt)]


def _free_memory(device: torch.device) -> float:
    """Free bytes; on a GPU including the unused blocks of torch's caching allocator. Infinite elsewhere."""
    if device.type != "cuda":
        return math.inf
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def to_device(indices: TokenIds, device: torch.device) -> Tensor:
    """Copy a small array to the device without blocking the host."""
    tensor = torch.from_numpy(np.array(indices))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
