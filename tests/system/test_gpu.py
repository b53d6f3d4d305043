"""Results on a GPU compared with the CPU and with eager execution; skipped without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_RUN

from transformer_cli.artifacts.loading import load_model
from transformer_cli.batch import BatchPlan, Sentences, collate, collate_sentences
from transformer_cli.config import load_config
from transformer_cli.decoding.execution.cuda_graphs import GraphPool
from transformer_cli.decoding.execution.static_search import StaticSearch
from transformer_cli.decoding.search.base import run_to_end
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.experiment.training import TrainRequest, run_training
from transformer_cli.layout import Layout
from transformer_cli.models.registry import build_model
from transformer_cli.ops.attention import attend, fused_attention, reference_attention
from transformer_cli.ops.fused_cross_entropy import supports_fused
from transformer_cli.runtime import capture_graph
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS
from transformer_cli.training.loop import StopRequest
from transformer_cli.training.loss import label_smoothed_cross_entropy, reference_cross_entropy
from transformer_cli.training.state import TrainState
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.training.update import EagerUpdate

static_search = run_to_end(StaticSearch)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("packed", [False, True])
def test_loss_and_gradient_equal_those_on_the_cpu(packed: bool) -> None:
    config = ModelConfig(d_model=32, num_heads=4, d_ff=64, encoder_layers=2, decoder_layers=2, dropout=0.0)
    model = build_model(config, 50, 50)
    rng = np.random.default_rng(0)
    src, tgt = ([np.append(rng.integers(4, 50, n), EOS) for n in (3, 9, 5)] for _ in "st")
    results = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        model.to(device).zero_grad()
        batch = collate(src, tgt, packed=packed).to(device)
        loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
        torch.autograd.backward(loss)
        # Cloned: `Module.to` moves the gradients of the first model too.
        gradients = [p.grad.cpu().clone() for p in model.parameters() if p.grad is not None]
        results.append([loss.detach().cpu(), *gradients])
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-3, atol=1e-4)


def test_packed_attention_equals_padded_attention() -> None:
    """The error of bf16 is bounded by the norm: single elements differ by several units in the last place."""
    q_lengths, k_lengths = [3, 30, 7], [5, 2, 61]
    q_layout, k_layout = (Layout.packed(n).to(torch.device("cuda")) for n in (q_lengths, k_lengths))
    for causal, keys in ((True, q_layout), (False, k_layout)):
        q, k, v = (
            torch.randn(layout.tokens, 4, 32, device="cuda", dtype=torch.bfloat16)
            for layout in (q_layout, keys, keys)
        )
        results = []
        for kernel, dtype in ((fused_attention, torch.bfloat16), (reference_attention, torch.float64)):
            inputs = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
            out = attend(*inputs, q_layout, keys, causal=causal, kernel=kernel)  # the reference pads
            results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
        for packed, padded in zip(*results, strict=True):
            assert float((packed.double() - padded).norm() / padded.norm()) < 0.01


def test_fused_loss_equals_the_reference() -> None:
    """bf16 on both sides, so that only rounding differs; a capture finds out whether the kernel synchronizes."""
    h = torch.randn(300, 64, device="cuda", requires_grad=True)
    w = (0.3 * torch.randn(1000, 64, device="cuda")).requires_grad_()
    y, weights = torch.randint(0, 1000, (300,), device="cuda"), torch.rand(300, device="cuda").round()
    exact = [x.detach().bfloat16().double().requires_grad_() for x in (h, w)]
    loss, nll = reference_cross_entropy(exact[0], exact[1], y, 0.1, weights.double())
    expected = [loss.detach(), nll.detach(), *torch.autograd.grad(loss, exact)]

    def compute() -> list[torch.Tensor]:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss, nll = label_smoothed_cross_entropy(h, w, y, 0.1, weights)
        return [loss.detach(), nll, *torch.autograd.grad(loss, (h, w))]

    assert supports_fused(h.bfloat16())
    actual = compute()
    graph, reason = capture_graph(compute)
    assert graph is not None, reason
    for a, b in zip(actual, expected, strict=True):
        assert float((a.double() - b).norm() / b.norm()) < 0.01


@pytest.mark.parametrize(
    "settings", [[], ["training.ema=0.9"], ["optim.algorithm=muon"], ["training.compile=true"]]
)
def test_captured_updates_equal_eager_updates(tmp_path: Path, settings: list[str]) -> None:
    overrides = [
        "model.preset=tiny",
        "model.dropout=0.0",
        "data.batch_tokens=600",
        "data.max_length=32",
        *settings,
    ]
    config = load_config(None, overrides)
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        model = build_model(config.model, 99, 99).to("cuda")
        states.append(TrainState(model, config.optim, config.training))
    rng = np.random.default_rng(0)
    src, tgt = (Sentences.pack([rng.integers(4, 99, n) for n in rng.integers(1, 25, 160)]) for _ in "st")
    messages: list[str] = []
    eager = EagerUpdate(states[0], config, messages.append)
    budget = token_budget(config, src, tgt)
    captured = StaticUpdate(EagerUpdate(states[1], config, messages.append), budget, messages.append)
    assert static_unsupported_reason(states[1], config) == ""
    for rows in np.split(np.arange(160), 8):
        pairs = BatchPlan(src, tgt, rows, packed=True)
        assert budget.fits(pairs)
        for state, update in zip(states, (eager, captured), strict=True):
            result = update([pairs], pairs.tokens, 1e-3, lambda nll: None)
            assert result.applied and torch.isfinite(result.nll)
            state.progress.step += 1
    compiled = config.training.compile
    assert captured.graph is not None and (captured.layers is not None) == compiled
    assert len(messages) == compiled
    for (name, a), b in zip(states[0].model.named_parameters(), states[1].model.parameters(), strict=True):
        assert float((a - b).detach().norm() / a.detach().norm()) < 0.02, name
    if states[0].average is not None and states[1].average is not None:
        for name, average in states[0].average.average.items():
            assert float((average - states[1].average.average[name]).norm() / average.norm()) < 0.02, name


def test_a_captured_run_resumes(toy: Path, tmp_path: Path) -> None:
    """Not bit-exact: the attention kernel sums gradients in a nondeterministic order."""
    files = ([toy / "train.en"], [toy / "train.de"], toy / "valid.en", toy / "valid.de")
    parameters = []
    for name, limits in (("whole", [40]), ("resumed", [25, 40])):
        for steps in limits:
            settings = [*TINY_RUN, f"training.max_steps={steps}", "optim.schedule=constant"]
            messages: list[str] = []
            request = TrainRequest(tmp_path / name, *files, settings=settings, device="cuda")
            run_training(request, messages.append, StopRequest())
            assert not any("without a CUDA graph" in line or "captured" in line for line in messages)
        parameters.append(list(load_model(tmp_path / name, torch.device("cuda"), "last").model.parameters()))
    for a, b in zip(*parameters, strict=True):
        assert float((a - b).norm() / a.norm()) < 0.05


@torch.inference_mode()
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("decoder", ["transformer", "rnn", "tcn"])
def test_captured_search_equals_eager_search(decoder: str, beam: int) -> None:
    """In float64, so that rounding does not change a choice. Later batches replay graphs captured by earlier ones."""
    torch.manual_seed(5)
    sizes = {"d_model": 32, "num_heads": 4, "d_ff": 64, "encoder_layers": 1, "decoder_layers": 2, "dropout": 0.0}
    config = ModelConfig.model_validate({**sizes, "decoder": decoder})
    model = build_model(config, 64, 64).double().eval().to("cuda")
    model.output.weight.mul_(3.0)
    captured, eager = GraphPool(), GraphPool(use_graphs=False)
    for seed in (0, 1, 0):
        rng = np.random.default_rng(seed)
        ids, layout = collate_sentences([np.append(rng.integers(4, 64, n), EOS) for n in rng.integers(1, 30, 100)])
        memory = model.encode(ids.to("cuda"), layout.to(torch.device("cuda")))
        limits = torch.from_numpy(rng.integers(1, 70, 100)).to("cuda")
        results = [
            static_search(
                model, memory, limits, source=layout.max_seqlen, graph_pool=graph_pool, beam=beam, n_best=beam
            )
            for graph_pool in (captured, eager)
        ]
        results.append(beam_search(model, memory, limits, beam=beam, n_best=beam))
        tokens = [[[h.tokens for h in n_best] for n_best in result] for result in results]
        assert tokens[0] == tokens[1] == tokens[2]
        for actual, expected in zip(results[0], results[2], strict=True):
            np.testing.assert_allclose([h.score for h in actual], [h.score for h in expected], rtol=1e-5)
    for dtype in (torch.bfloat16, torch.float32):  # other kernels, and greedy search without log-probabilities
        model = model.to(dtype)
        memory = model.encode(ids.to("cuda"), layout.to(torch.device("cuda")))
        options = {"source": layout.max_seqlen, "beam": beam, "scored": beam > 1}
        results = [
            static_search(model, memory, limits, graph_pool=graph_pool, **options)
            for graph_pool in (captured, eager)
        ]
        tokens = [[[h.tokens for h in n_best] for n_best in result] for result in results]
        assert tokens[0] == tokens[1]
    assert captured.use_graphs and any(stage.graph is not None for stage in captured.buckets.values())
    assert not any(stage.graph is not None for stage in eager.buckets.values())


def test_train_resume_and_translate_in_bf16(toy: Path, tmp_path: Path) -> None:
    files = ([toy / "train.en"], [toy / "train.de"], toy / "valid.en", toy / "valid.de")
    for steps in (250, 500):
        settings = [*TINY_RUN, f"training.max_steps={steps}", "optim.schedule=inverse_sqrt"]
        request = TrainRequest(tmp_path / "run", *files, settings=settings, device="cuda")
        outcome = run_training(request, print, StopRequest())
        assert outcome.progress.step == steps
    translator = load_model(tmp_path / "run", torch.device("cuda")).translator()
    (translation,) = translator.translate(["The cat sees the book now."])
    assert translation.text and translation.status == "ok"
