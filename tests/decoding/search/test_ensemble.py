"""An ensemble of one is that model; of several, the mean of probabilities."""

from __future__ import annotations

import torch

from transformer_cli.batch import collate_sentences
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import ModelConfig


def small(seed: int, layers: int = 1) -> Seq2Seq:
    torch.manual_seed(seed)
    sizes = ModelConfig(d_model=16, num_heads=2, d_ff=16, encoder_layers=layers, decoder_layers=layers)
    return build_model(sizes, 30, 30).double().eval()


IDS, LAYOUT = collate_sentences([torch.randint(4, 30, (n,)).numpy() for n in (3, 7, 5, 2)])
LIMITS = torch.full((4,), 12)


def test_one_or_the_same_twice_is_the_model() -> None:
    model = small(0)
    alone = beam_search(model, model.encode(IDS, LAYOUT), LIMITS, beam=3)
    for members in ([model], [model, model]):
        ensemble = Ensemble(members)
        found = beam_search(ensemble, ensemble.encode(IDS, LAYOUT), LIMITS, beam=3)
        assert [[h.tokens for h in one] for one in found] == [[h.tokens for h in one] for one in alone]


def test_probabilities_are_averaged_through_reorder_and_keep() -> None:
    members = [small(1), small(2, layers=2)]
    ensemble = Ensemble(members)
    fork = torch.zeros(4, 2, dtype=torch.int64)
    state = ensemble.init_state(ensemble.encode(IDS, LAYOUT)).reorder(fork)
    states = [m.init_state(m.encode(IDS, LAYOUT)).reorder(fork) for m in members]
    tokens = torch.randint(4, 30, (4, 2))
    parents, keep = torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]]), torch.tensor([0, 2])
    for _ in range(3):
        logits, state = ensemble.decode_step(tokens, state)
        each = []
        for i, model in enumerate(members):
            own, states[i] = model.decode_step(tokens, states[i])
            each.append(own.softmax(-1))
        torch.testing.assert_close(logits.exp(), torch.stack(each).mean(0))
        state = state.reorder(parents).select(keep)
        states = [s.reorder(parents).select(keep) for s in states]
        tokens, parents, keep = tokens[keep], parents[keep], torch.arange(2)
