"""The corpus in the memory of the device: a batch is then a list of numbers, and the device lays it out itself.

Laid out on the host, a packed batch of fixed shape takes milliseconds of Python and of copying, as long as a small
model's whole update on a GPU. Here the host sends which pairs, and asks nothing back.

Shapes: P pairs of the corpus, B of a batch; N tokens of the fixed shape.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.batch import BOS, EOS, Batch, Budget, Ids, Pairs, Sentences
from transformer_cli.layout import Layout

SHARE = 4
"""A corpus that needs more than this part of the free memory stays on the host, which sends each batch's ids."""


class ResidentSentences:
    """One side of a corpus on a device: ids `[tokens]` int32, and where each sentence begins, `[P + 1]` int64."""

    def __init__(self, sentences: Sentences, device: torch.device) -> None:
        self.ids = send(np.asarray(sentences.tokens), device)
        self.offsets = send(sentences.offsets, device)

    def lay(self, rows: Tensor, budget: Budget) -> tuple[Tensor, Layout]:
        """Sentences `[B]` -> ids `[N]` int64 and their layout, in the fixed shape; filler is EOS."""
        starts, ends = (self.offsets.index_select(0, r) for r in (rows, rows + 1))  # [B] each
        layout = budget.layout(ends - starts)
        assert layout.flat_index is not None
        sentence = layout.flat_index // layout.longest  # [N], those from B on are filler
        is_token = sentence < len(rows)
        starts = F.pad(starts, (0, layout.sentences - len(rows)))
        places = (starts.index_select(0, sentence) + layout.positions) * is_token
        return torch.where(is_token, self.ids.index_select(0, places).long(), EOS), layout


class ResidentCorpus:
    """Lays out batches of whichever corpus they come from; holds the newest, if it is not too large."""

    def __init__(self, budget: Budget, device: torch.device) -> None:
        self.budget, self.device = budget, device
        self._of: tuple[Sentences, Sentences] | None = None
        self._sides: list[ResidentSentences] | None = None

    def batch(self, pairs: Pairs) -> Batch:
        """`pairs.batch()` on the device, packed and in the fixed shape, which must hold it."""
        if self._of != (pairs.src, pairs.tgt):
            self._hold(pairs)
        sides, rows = self._sides, pairs.rows
        if sides is None:
            alone = [side.take(rows) for side in (pairs.src, pairs.tgt)]
            sides, rows = [ResidentSentences(side, self.device) for side in alone], np.arange(len(rows))
        sent = send(rows, self.device)
        src, src_layout = sides[0].lay(sent, self.budget)
        tgt_out, tgt_layout = sides[1].lay(sent, self.budget)
        tgt_in = torch.where(tgt_layout.positions == 0, BOS, tgt_out.roll(1))
        return Batch(src, src_layout, tgt_in, tgt_layout, tgt_out)

    def _hold(self, pairs: Pairs) -> None:
        self._of, self._sides = (pairs.src, pairs.tgt), None  # the old one goes first
        size = sum(side.tokens.nbytes + side.offsets.nbytes for side in self._of)
        if size * SHARE <= _free_memory(self.device):
            self._sides = [ResidentSentences(side, self.device) for side in self._of]


def _free_memory(device: torch.device) -> float:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


def send(numbers: Ids, device: torch.device) -> Tensor:
    """A copy on the device; the host does not wait for it."""
    held = torch.from_numpy(np.array(numbers))
    return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held.to(device)
