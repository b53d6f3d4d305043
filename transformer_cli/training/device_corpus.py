"""The corpus in the memory of the device: a batch is then a list of numbers, and the device lays it out itself.

Laid out on the host, a packed batch of fixed shape takes milliseconds of Python and of copying, as long as a small
model's whole update on a GPU. Here the host sends which pairs, and asks nothing back.

Shapes: P pairs of the corpus, B of a batch; N tokens of the fixed shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.batch import BOS, EOS, Batch, BatchPlan, Sentences, TokenBudget, TokenIds
from transformer_cli.layout import Layout

SHARE = 0.25
"""Of the free memory: a corpus that needs more stays on the host, which sends each batch's ids."""


class DeviceSentences:
    """One side of a corpus on a device: ids `[tokens]` int32, and where each sentence begins, `[P + 1]` int64."""

    def __init__(self, sentences: Sentences, device: torch.device) -> None:
        self.of = sentences
        self.ids, self.offsets = (
            torch.from_numpy(np.array(x)).to(device) for x in (sentences.tokens, sentences.offsets)
        )

    def collate(self, rows: Tensor, budget: TokenBudget) -> tuple[Tensor, Layout]:
        """Sentences `[B]` -> ids `[N]` int64 and their layout, in the fixed shape; filler is EOS."""
        begins, ends = (self.offsets.index_select(0, r) for r in (rows, rows + 1))  # [B] each
        layout = budget.static_layout(ends - begins)
        assert layout.flat_index is not None
        sentence = layout.flat_index // layout.max_seqlen  # [N], those from B on are filler
        is_token = sentence < len(rows)
        begins = F.pad(begins, (0, layout.sentences - len(rows)))
        places = (begins.index_select(0, sentence) + layout.positions) * is_token
        return torch.where(is_token, self.ids.index_select(0, places).long(), EOS), layout


class DeviceCorpus:
    """Lays out batches of whichever corpus they come from; holds the newest, if it is not too large."""

    def __init__(self, budget: TokenBudget, device: torch.device, notify: Callable[[str], None]) -> None:
        self.budget, self.device, self.notify = budget, device, notify
        self.enabled = True
        """Whether it may hold one; no more once one has not fitted."""
        self._sides: list[DeviceSentences] = []

    def collate(self, pairs: BatchPlan) -> Batch:
        """`pairs.collate()` on the device, packed and in the fixed shape, which must hold it."""
        if self.enabled and [side.of for side in self._sides] != [pairs.src, pairs.tgt]:
            self._hold(pairs)
        if self.enabled:
            sides, numbers = self._sides, pairs.rows
        else:
            alone = (side.select(pairs.rows) for side in (pairs.src, pairs.tgt))
            sides, numbers = [DeviceSentences(side, self.device) for side in alone], np.arange(len(pairs))
        rows = send(numbers, self.device)
        src, src_layout = sides[0].collate(rows, self.budget)
        tgt_out, tgt_layout = sides[1].collate(rows, self.budget)
        tgt_in = torch.where(tgt_layout.positions == 0, BOS, tgt_out.roll(1))
        return Batch(src, src_layout, tgt_in, tgt_layout, tgt_out)

    def release(self) -> None:
        """Give the memory of the corpus back, and hold none any more."""
        self.enabled, self._sides = False, []

    def _hold(self, pairs: BatchPlan) -> None:
        self._sides = []  # the old one goes first
        size = sum(side.tokens.nbytes + side.offsets.nbytes for side in (pairs.src, pairs.tgt))
        if size > SHARE * _free_memory(self.device):
            self.notify(
                f"the corpus takes {size / 2**20:,.0f} MiB, too much of the device's memory: it stays on the host"
            )
            self.release()
        else:
            self._sides = [DeviceSentences(side, self.device) for side in (pairs.src, pairs.tgt)]


def _free_memory(device: torch.device) -> float:
    """Bytes; on a GPU those count that torch keeps for itself and does not use."""
    if device.type != "cuda":
        return math.inf
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def send(numbers: TokenIds, device: torch.device) -> Tensor:
    """A few numbers on the device; the host does not wait for them."""
    held = torch.from_numpy(np.array(numbers))
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held.to(device)
