"""The fused kernel in Triton's interpreter, where Triton is installed. On a GPU: tests/system/test_gpu.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from transformer_cli.ops import fused_cross_entropy

PROGRAM = """
import torch
import torch.nn.functional as F
from transformer_cli.ops.fused_cross_entropy import cross_entropy_gradient_
torch.manual_seed(0)
for vocab in (7, 300, 2049):
    logits, targets = (2 * torch.randn(5, vocab)).bfloat16(), torch.randint(0, vocab, (5,))
    weights = torch.tensor([1.0, 0.0, 1.0, 0.5, 1.0])
    z = logits.double().requires_grad_()
    loss = F.cross_entropy(z, targets, label_smoothing=0.1, reduction="none") @ weights.double()
    (gradient,) = torch.autograd.grad(loss, z)
    nll, smooth = cross_entropy_gradient_(logits, targets, 0.1, weights)
    assert abs(float((0.9 * nll + 0.1 * smooth).sum() - loss.detach())) < 1e-4
    assert float((logits.double() - gradient).norm() / gradient.norm()) < 0.01
    assert not logits[1].any()
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_loss_and_gradient_equal_those_of_torch() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, cwd=root
    )
    assert done.stdout == "equal\n", done.stderr


def test_the_kernel_is_for_half_precision_on_a_gpu() -> None:
    assert not fused_cross_entropy.supports_fused(torch.zeros(1, 1, dtype=torch.bfloat16))
