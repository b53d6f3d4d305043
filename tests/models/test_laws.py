"""Properties of every encoder, decoder and option, in both layouts.

The tests run over the registry, so a new architecture is tested without changes here.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transformer_cli.batch import Batch, collate
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.models.protocol import Memory
from transformer_cli.models.registry import DECODERS, ENCODERS, build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.runtime import matmul_precision
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import BOS, EOS
from transformer_cli.training.loss import label_smoothed_cross_entropy
from transformer_cli.tree import tree_leaves

VOCAB = 23
LENGTHS = [(3, 6), (7, 2), (5, 4), (1, 1)]
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm": "post", "positions": "learned", "norm_type": "rms", "activation": "gelu"},
    {"positions": "rotary", "activation": "swiglu", "tie_embeddings": "decoder", "norm_type": "rms"},
    {"norm": "post", "positions": "rotary", "attention": "reference", "tie_embeddings": "none"},
    {"positions": "learned", "activation": "gelu", "attention": "reference", "encoder_layers": 3},
    {
        "cell": "lstm",
        "rnn_attention": "multiplicative",
        "kernel_size": 5,
        "window": 2,
        "graph_attention": "static",
    },
    {"cell": "tanh", "rnn_attention": "none", "window": 1, "norm": "post"},
    {"input_feeding": False, "decoder_layers": 3, "rnn_attention": "dot"},
]
CASES = [
    pytest.param(encoder, decoder, variant, id=f"{encoder}-{decoder}-{i}")
    for (encoder, decoder), (i, variant) in itertools.product(
        itertools.product(ENCODERS, DECODERS), enumerate(VARIANTS)
    )
]
every_model = pytest.mark.parametrize(("encoder", "decoder", "variant"), CASES)
both_layouts = pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])


def tiny_model(encoder: str, decoder: str, variant: dict[str, Any], **overrides: Any) -> Seq2Seq:
    sizes = dict(d_model=16, num_heads=2, d_ff=24, encoder_layers=2, decoder_layers=2, dropout=0.0)
    config = ModelConfig(**{**sizes, "encoder": encoder, "decoder": decoder, **variant, **overrides})
    return build_model(config, VOCAB, VOCAB).double().eval()


def sentences(seed: int = 0, lengths: list[tuple[int, int]] = LENGTHS) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(seed)
    sides = zip(*lengths, strict=True)
    src, tgt = ([np.append(rng.integers(4, VOCAB, n), EOS) for n in side] for side in sides)
    return src, tgt


def logits_of(model: Seq2Seq, batch: Batch) -> Tensor:
    return model.decode(batch.tgt_in, batch.tgt_layout, model.encode(batch.src, batch.src_layout))


def memory_of(model: Seq2Seq, packed: bool) -> Memory:
    batch = collate(*sentences(), packed=packed)
    return model.encode(batch.src, batch.src_layout)


@both_layouts
@every_model
def test_1_stepwise_equals_teacher_forcing(
    encoder: str, decoder: str, variant: dict[str, Any], packed: bool
) -> None:
    model, batch = tiny_model(encoder, decoder, variant), collate(*sentences())
    width = 3
    state = model.init_state(memory_of(model, packed)).reorder(torch.zeros(len(LENGTHS), width, dtype=torch.int64))
    steps = []
    for t in range(batch.tgt_layout.max_seqlen):
        logits, state = model.decode_step(batch.tgt_in[:, t, None].expand(-1, width), state)
        steps.append(logits)
    stepwise = torch.stack(steps, dim=2)  # [B, W, T, V]
    for w in range(width):
        torch.testing.assert_close(batch.tgt_layout.flatten(stepwise[:, w]), logits_of(model, batch))


@every_model
def test_2_packed_equals_padded_with_gradients(encoder: str, decoder: str, variant: dict[str, Any]) -> None:
    model = tiny_model(encoder, decoder, variant)
    results = []
    for packed in (False, True):
        model.zero_grad()
        batch = collate(*sentences(), packed=packed)
        states = model(batch)
        loss, _ = label_smoothed_cross_entropy(states, model.output_weight, batch.tgt_out, 0.1)
        torch.autograd.backward(loss)
        gradients = [p.grad for p in model.parameters()]
        results.append((model.logits(states), loss, *gradients))
    for padded, packed_value in zip(*results, strict=True):
        torch.testing.assert_close(packed_value, padded)


@both_layouts
@every_model
def test_3_logits_do_not_depend_on_batch_and_padding(
    encoder: str, decoder: str, variant: dict[str, Any], packed: bool
) -> None:
    model = tiny_model(encoder, decoder, variant)
    src, tgt = sentences()
    batched = logits_of(model, collate(src, tgt, packed=packed)).split([len(t) for t in tgt])
    for s, t, expected in zip(src, tgt, batched, strict=True):
        torch.testing.assert_close(logits_of(model, collate([s], [t], packed=packed)), expected)


@both_layouts
@every_model
def test_4_logits_do_not_depend_on_future_tokens(
    encoder: str, decoder: str, variant: dict[str, Any], packed: bool
) -> None:
    model = tiny_model(encoder, decoder, variant)
    (src, *_), (tgt, *_) = sentences()
    before = logits_of(model, collate([src], [tgt], packed=packed))
    for t in range(len(tgt) - 1):
        changed = tgt.copy()
        changed[t:-1] = 4 + (changed[t:-1] - 3) % (VOCAB - 4)
        after = logits_of(model, collate([src], [changed], packed=packed))
        assert torch.equal(after[: t + 1], before[: t + 1])
        assert not torch.allclose(after[t + 1 :], before[t + 1 :])


@both_layouts
@every_model
def test_5_reorder_select_and_cat_commute_with_steps(
    encoder: str, decoder: str, variant: dict[str, Any], packed: bool
) -> None:
    """After reordering, removing and adding sentences, logits equal those of the resulting histories (teacher forcing)."""
    model, width = tiny_model(encoder, decoder, variant), 3

    def start(seed: int, lengths: list[tuple[int, int]]) -> tuple[list[Any], Any, Tensor]:
        src, tgt = sentences(seed, lengths)
        batch = collate(src, tgt, packed=packed)
        return src, model.init_state(model.encode(batch.src, batch.src_layout)), torch.full((len(src), 1, 1), BOS)

    def step(state: Any, history: Tensor) -> tuple[Any, Tensor]:
        _, state = model.decode_step(history[:, :, -1], state)
        parents = torch.randint(history.shape[1], (len(history), width))
        history = history.gather(1, parents[..., None].expand(-1, -1, history.shape[-1]))
        tokens = torch.randint(4, VOCAB, (*history.shape[:2], 1))
        return state.reorder(parents), torch.cat([history, tokens], dim=-1)

    src, state, history = start(0, LENGTHS)
    added_src, added_state, added_history = start(1, [(2, 1), (19, 1)])
    for t in range(4):
        state, history = step(state, history)
        if t == 1:
            rows = torch.tensor([0, 2, 3])
            state, src, history = state.select(rows), [src[i] for i in rows], history[rows]
        if t < 3:
            added_state, added_history = step(added_state, added_history)
        if t == 2:
            state, src = state.cat(added_state), src + added_src
            history = torch.cat([history, added_history])
    logits, _ = model.decode_step(history[:, :, -1], state)
    for i, source in enumerate(src):
        for w in range(width):
            target = np.append(history[i, w, 1:].numpy(), EOS)
            expected = logits_of(model, collate([source], [target]))[-1]
            torch.testing.assert_close(logits[i, w], expected)


@both_layouts
@every_model
def test_9_static_state_gives_the_same_logits_and_keeps_its_shapes(
    encoder: str, decoder: str, variant: dict[str, Any], packed: bool
) -> None:
    """States converted at the start or later, once or again with a larger capacity, match a growing state."""
    model, width = tiny_model(encoder, decoder, variant), 3
    src, tgt = sentences(0, LENGTHS)
    batch = collate(src, tgt, packed=packed)

    def start() -> Any:
        state = model.init_state(model.encode(batch.src, batch.src_layout))
        return state.reorder(torch.zeros(len(src), width, dtype=torch.int64))

    states = [start(), start().to_static(5, 30), start()]
    tokens = torch.full((len(src), width), BOS)
    for t in range(9):
        if t == 3:
            states[1], states[2] = states[1].to_static(9, 31), states[2].to_static(9, 25)
        if t == 6:
            rows = torch.tensor([0, 2, 3])
            states, tokens = [s.select(rows) for s in states], tokens[rows]
        shapes = [x.shape for x in tree_leaves(states[1])]
        steps = [model.decode_step(tokens, s) for s in states]
        torch.testing.assert_close(steps[1][0], steps[0][0])
        torch.testing.assert_close(steps[2][0], steps[0][0])
        parents = torch.randint(width, tokens.shape)
        states = [s.reorder(parents) for _, s in steps]
        assert [x.shape for x in tree_leaves(states[1])] == shapes
        tokens = torch.randint(4, VOCAB, tokens.shape)


@pytest.mark.parametrize("device", ["GPU", "CPU"])
@pytest.mark.parametrize(("encoder", "decoder"), list(itertools.product(ENCODERS, DECODERS)))
def test_bf16_training_step_has_finite_gradients(encoder: str, decoder: str, device: str) -> None:
    """With autocast, which training uses on a GPU, and with the bf16 products that it uses on a CPU."""
    precision = (
        torch.autocast("cpu", torch.bfloat16) if device == "GPU" else matmul_precision(torch.device("cpu"), "bf16")
    )
    model, batch = tiny_model(encoder, decoder, {}).float().train(), collate(*sentences())
    with precision:
        loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
    torch.autograd.backward(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@every_model
def test_6_every_parameter_has_a_gradient(encoder: str, decoder: str, variant: dict[str, Any]) -> None:
    model, batch = tiny_model(encoder, decoder, variant, dropout=0.1).train(), collate(*sentences())
    loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.1)
    torch.autograd.backward(loss)
    without_gradient = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without_gradient


@both_layouts
@every_model
def test_7_beam_of_one_equals_greedy(encoder: str, decoder: str, variant: dict[str, Any], packed: bool) -> None:
    model, limits = tiny_model(encoder, decoder, variant), torch.tensor([9, 4, 12, 1])
    memory = memory_of(model, packed)
    with torch.no_grad():
        greedy = [h for [h] in greedy_search(model, memory, limits)]
        beam = [hypotheses[0] for hypotheses in beam_search(model, memory, limits, beam=1)]
    assert [h.tokens for h in greedy] == [h.tokens for h in beam]
    np.testing.assert_allclose([h.score for h in greedy], [h.score for h in beam], rtol=1e-5)


def learning_cases() -> list[tuple[str, str, str]]:
    """Each encoder and each decoder at least once; the tests above cover all pairs."""
    count = max(len(ENCODERS), len(DECODERS))
    pairs = zip(itertools.islice(itertools.cycle(ENCODERS), count), itertools.cycle(DECODERS), strict=False)
    return [("transformer", "transformer", "copy"), *((*pair, "reverse") for pair in pairs)]


@pytest.mark.parametrize(("encoder", "decoder", "task"), learning_cases())
def test_8_learns_to_copy_and_reverse(encoder: str, decoder: str, task: str) -> None:
    torch.manual_seed(1)
    model = tiny_model(encoder, decoder, {}, d_model=32, d_ff=64, num_heads=4).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    rng = np.random.default_rng(0)

    def pairs(count: int) -> tuple[list[Any], list[Any]]:
        sources = [rng.integers(4, VOCAB, rng.integers(2, 7)) for _ in range(count)]
        targets = sources if task == "copy" else [s[::-1] for s in sources]
        return [np.append(s, EOS) for s in sources], [np.append(t, EOS) for t in targets]

    for step in range(700):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50, (700 - step) / 350)
        batch = collate(*pairs(64))
        loss, _ = label_smoothed_cross_entropy(model(batch), model.output_weight, batch.tgt_out, 0.0)
        model.zero_grad()
        torch.autograd.backward(loss / batch.tokens)
        optimizer.step()
    src, tgt = pairs(100)
    batch = collate(src, tgt)
    model.eval()
    with torch.no_grad():
        results = greedy_search(model, model.encode(batch.src, batch.src_layout), torch.full((100,), 12))
    correct = sum(h.tokens == t[:-1].tolist() for [h], t in zip(results, tgt, strict=True))
    assert correct >= 95
