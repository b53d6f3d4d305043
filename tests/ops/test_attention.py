from __future__ import annotations

import math

import pytest
import torch

from transformer_cli.layout import Layout
from transformer_cli.ops.attention import (
    attend,
    attention_weights,
    cat_key_masks,
    fused_attention,
    key_mask,
    reference_attention,
    step_attention,
)

B, H, T, S, K = 3, 2, 5, 7, 4


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shapes = ((B, H, T, K), (B, H, S, K), (B, H, S, K))
    q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)
    return q, k, v


def test_reference_attention_matches_equation_1() -> None:
    """softmax(QKᵀ/√d_k)V, computed with scalar loops."""
    q, k, v = (x.detach() for x in inputs())
    out = reference_attention(q, k, v, None, False)
    for b, h, t in [(0, 0, 0), (1, 1, 3), (2, 0, 4)]:
        scores = [float((q[b, h, t] * k[b, h, s]).sum()) / math.sqrt(K) for s in range(S)]
        total = sum(math.exp(score) for score in scores)
        expected = sum(math.exp(score) / total * v[b, h, s] for s, score in enumerate(scores))
        torch.testing.assert_close(out[b, h, t], expected)


def test_weights_sum_to_one_and_respect_the_masks() -> None:
    q, k, _ = inputs()
    mask = torch.ones(B, 1, 1, S, dtype=torch.bool)
    mask[1, ..., 4:] = False
    weights = attention_weights(q, k, mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, T, dtype=torch.float64))
    assert not weights[1, ..., 4:].any()
    square = attention_weights(q, k[:, :, :T], causal=True)
    assert not square.triu(1).any()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_fused_equals_reference_forward_and_backward(masked: bool, causal: bool) -> None:
    q, k, v = inputs()
    if causal:
        k, v = (x[:, :, :T].detach().requires_grad_() for x in (k, v))
    mask = None
    if masked:
        mask = torch.rand(B, 1, T, k.shape[2]) > 0.4
        mask[..., 0] = True
    weight = torch.randn(B, H, T, K, dtype=torch.float64)
    results = []
    for kernel in (reference_attention, fused_attention):
        out = kernel(q, k, v, mask, causal)
        results.append((out, *torch.autograd.grad((out * weight).sum(), (q, k, v))))
    for reference, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, reference)
    if not causal:
        torch.testing.assert_close(step_attention(q, k, v, mask, causal), results[0][0])


@pytest.mark.parametrize(
    ("first", "second", "is_none"),
    [([4, 4], [4], True), ([4, 4], [5, 5], False), ([4, 2], [3, 3], False), ([2, 2], [1, 6], False)],
)
def test_cat_key_masks(first: list[int], second: list[int], is_none: bool) -> None:
    batches = [(key_mask(Layout.padded(x)), torch.zeros(len(x), max(x))) for x in (first, second)]
    mask = cat_key_masks(*batches)
    assert (mask is None) == is_none
    if mask is not None:
        expected = torch.arange(max(first + second)) < torch.tensor(first + second)[:, None]
        assert torch.equal(mask, expected[:, None, None])


@pytest.mark.parametrize("kernel", [reference_attention, fused_attention])
@pytest.mark.parametrize("causal", [False, True])
def test_packed_equals_padded_and_single_sentences(kernel: object, causal: bool) -> None:
    q_lengths = [4, 1, 3]
    k_lengths = q_lengths if causal else [2, 5, 1]
    q = torch.randn(sum(q_lengths), H, K, dtype=torch.float64)
    k, v = (torch.randn(sum(k_lengths), H, K, dtype=torch.float64) for _ in range(2))
    q_packed, k_packed = Layout.packed(q_lengths), Layout.packed(k_lengths)
    packed = attend(q, k, v, q_packed, k_packed, causal=causal, kernel=kernel)  # type: ignore[arg-type]
    q_padded, k_padded = Layout.padded(q_lengths), Layout.padded(k_lengths)
    padded = attend(
        q_packed.pad(q),
        k_packed.pad(k),
        k_packed.pad(v),
        q_padded,
        k_padded,
        causal=causal,
        kernel=kernel,  # type: ignore[arg-type]
    )
    torch.testing.assert_close(q_padded.flatten(padded), packed)
    for b in range(3):
        rows, keys = (slice(*x.cu_seqlens[b : b + 2].tolist()) for x in (q_packed, k_packed))
        single = reference_attention(*(x.transpose(0, 1)[None] for x in (q[rows], k[keys], v[keys])), None, causal)
        torch.testing.assert_close(packed[rows], single[0].transpose(0, 1))
