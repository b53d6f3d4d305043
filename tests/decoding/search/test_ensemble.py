"""An ensemble averages probabilities; an ensemble of one model equals this model."""

from __future__ import annotations

import torch

from transformer_cli.batch import collate_sentences
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import ModelConfig


def small_model(seed: int, layers: int = 1) -> Seq2Seq:
    torch.manual_seed(seed)
    sizes = ModelConfig(d_model=16, num_heads=2, d_ff=16, encoder_layers=layers, decoder_layers=layers)
    return build_model(sizes, 30, 30).double().eval()


IDS, LAYOUT = collate_sentences([torch.randint(4, 30, (n,)).numpy() for n in (3, 7, 5, 2)])
LIMITS = torch.full((4,), 12)


def test_one_member_or_the_same_member_twice_equals_the_model() -> None:
    model = small_model(0)
    expected = beam_search(model, model.encode(IDS, LAYOUT), LIMITS, beam=3)
    for members in ([model], [model, model]):
        ensemble = Ensemble(members)
        results = beam_search(ensemble, ensemble.encode(IDS, LAYOUT), LIMITS, beam=3)
        assert [[h.tokens for h in r] for r in results] == [[h.tokens for h in e] for e in expected]


def test_probabilities_are_averaged_after_reorder_and_select() -> None:
    members = [small_model(1), small_model(2, layers=2)]
    ensemble = Ensemble(members)
    two_beams = torch.zeros(4, 2, dtype=torch.int64)
    state = ensemble.init_state(ensemble.encode(IDS, LAYOUT)).reorder(two_beams)
    states = [m.init_state(m.encode(IDS, LAYOUT)).reorder(two_beams) for m in members]
    tokens = torch.randint(4, 30, (4, 2))
    parents, keep = torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]]), torch.tensor([0, 2])
    for _ in range(3):
        logits, state = ensemble.decode_step(tokens, state)
        probabilities = []
        for i, model in enumerate(members):
            member_logits, states[i] = model.decode_step(tokens, states[i])
            probabilities.append(member_logits.softmax(-1))
        torch.testing.assert_close(logits.exp(), torch.stack(probabilities).mean(0))
        state = state.reorder(parents).select(keep)
        states = [s.reorder(parents).select(keep) for s in states]
        tokens, parents, keep = tokens[keep], parents[keep], torch.arange(2)
