from __future__ import annotations

import numpy as np
import pytest
import torch

from transformer_cli.batch import collate, collate_sentences
from transformer_cli.layout import Layout
from transformer_cli.token_ids import BOS, EOS, PAD

LENGTHS = [[3, 1, 2], [2, 2], [1], [5, 5, 1]]


@pytest.mark.parametrize("lengths", LENGTHS)
def test_pad_and_flatten_are_inverse(lengths: list[int]) -> None:
    packed = Layout.packed(lengths)
    flat = torch.randn(sum(lengths), 4)
    rows = packed.pad(flat)
    assert rows.shape == (len(lengths), max(lengths), 4)
    assert torch.equal(packed.flatten_padded(rows), flat)
    assert torch.equal(Layout.padded(lengths).flatten(rows), flat)
    for i, n in enumerate(lengths):
        assert not rows[i, n:].any()


def test_positions_and_boundaries() -> None:
    packed, padded = Layout.packed([3, 1, 2]), Layout.padded([3, 1, 2])
    assert packed.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert padded.positions.tolist() == [0, 1, 2]
    assert packed.cu_seqlens.tolist() == [0, 3, 4, 6]
    assert (packed.tokens, packed.max_seqlen, packed.sentences) == (6, 3, 3)


def test_equal_lengths_need_no_mask() -> None:
    assert Layout.padded([4, 4]).mask is None
    assert Layout.padded([4, 3]).mask is not None


def test_collate_shifts_the_target() -> None:
    src = [np.array([5, 6, EOS]), np.array([7, EOS])]
    tgt = [np.array([8, EOS]), np.array([9, 10, EOS])]
    batch = collate(src, tgt)
    assert batch.src.tolist() == [[5, 6, EOS], [7, EOS, PAD]]
    assert batch.tgt_in.tolist() == [[BOS, 8, PAD], [BOS, 9, 10]]
    assert batch.tgt_out.tolist() == [8, EOS, 9, 10, EOS]
    packed = collate(src, tgt, packed=True)
    assert packed.src.tolist() == [5, 6, EOS, 7, EOS]
    assert torch.equal(packed.tgt_out, batch.tgt_out)
    assert batch.tokens == packed.tokens == 5


def test_collate_equal_lengths_has_no_flat_index() -> None:
    rows, layout = collate_sentences([np.array([4, 5]), np.array([6, 7])])
    assert rows.tolist() == [[4, 5], [6, 7]] and layout.flat_index is None


@pytest.mark.parametrize("lengths", [[], [3, 1, 2], [4, 4, 4], [1]])
def test_static_layout_has_fixed_shapes_and_assigns_every_token_to_a_sentence(lengths: list[int]) -> None:
    layout = Layout.static(torch.tensor(lengths, dtype=torch.int64), sentences=9, tokens=14, max_seqlen=4)
    assert layout.lengths[: len(lengths)].tolist() == lengths
    assert int(layout.lengths.sum()) == 14 == int(layout.cu_seqlens[-1])
    assert layout.flat_index is not None and layout.mask is not None
    shapes = [layout.lengths, layout.positions, layout.cu_seqlens, layout.flat_index, layout.mask]
    assert [tuple(x.shape) for x in shapes] == [(9,), (14,), (10,), (14,), (9, 4)]
    flat = torch.randn(14, 2)
    assert torch.equal(layout.flatten_padded(layout.pad(flat)), flat)


@pytest.mark.parametrize("lengths", [[3, 1, 2], [4, 4, 4, 2], [1]])
def test_static_layout_equals_the_packed_layout_of_sentences_and_filler(lengths: list[int]) -> None:
    static = Layout.static(torch.tensor(lengths), sentences=9, tokens=14, max_seqlen=4)
    packed = Layout.packed([n for n in static.lengths.tolist() if n])
    assert torch.equal(static.positions, packed.positions)
    assert torch.equal(static.cu_seqlens[: packed.sentences + 1], packed.cu_seqlens)


def test_static_layout_does_not_synchronize_and_requires_an_empty_sentence() -> None:
    lengths = torch.empty(4, dtype=torch.int64, device="meta")
    assert Layout.static(lengths, sentences=9, tokens=14, max_seqlen=4).positions.shape == (14,)
    with pytest.raises(AssertionError, match="too many sentences"):
        Layout.static(torch.tensor([1] * 5), sentences=9, tokens=14, max_seqlen=4)
