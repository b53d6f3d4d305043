"""The same results on a GPU; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_RUN

from transformer_cli.batch import EOS, collate
from transformer_cli.experiment.inference import load_run
from transformer_cli.experiment.training import TrainRequest, run_training
from transformer_cli.models.registry import build_model
from transformer_cli.schema import ModelConfig
from transformer_cli.training.loop import StopRequest
from transformer_cli.training.objective import smoothed_loss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("packed", [False, True])
def test_loss_and_gradient_equal_the_cpu(packed: bool) -> None:
    config = ModelConfig(d_model=32, num_heads=4, d_ff=64, encoder_layers=2, decoder_layers=2, dropout=0.0)
    model = build_model(config, 50, 50)
    rng = np.random.default_rng(0)
    src, tgt = ([np.append(rng.integers(4, 50, n), EOS) for n in (3, 9, 5)] for _ in "st")
    results = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        model.to(device).zero_grad()
        batch = collate(src, tgt, packed=packed).to(device)
        loss, _ = smoothed_loss(model(batch), model.output_weight, batch.tgt_out, 0.1)
        torch.autograd.backward(loss)
        results.append([loss.detach().cpu(), *(p.grad.cpu() for p in model.parameters() if p.grad is not None)])
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-3, atol=1e-4)


def test_train_resume_and_translate_in_bf16(toy: Path, tmp_path: Path) -> None:
    files = ([toy / "train.en"], [toy / "train.de"], toy / "valid.en", toy / "valid.de")
    for steps in (250, 500):
        settings = [*TINY_RUN, f"training.max_steps={steps}", "optim.schedule=inverse_sqrt"]
        request = TrainRequest(tmp_path / "run", *files, settings=settings, device="cuda")
        outcome = run_training(request, print, StopRequest())
        assert outcome.progress.step == steps
    translator = load_run(tmp_path / "run", torch.device("cuda")).translator()
    (found,) = translator.translate(["The cat sees the book now."])
    assert found.text and found.status == "ok"
