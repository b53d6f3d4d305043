"""Greedy search as one compiled function; `search.greedy` says what it computes.

Shapes: B sentences, T maximum number of tokens.
"""

from __future__ import annotations

import math

from transformer_cli.decoding.execution.compiled.buffers import Activations, Cache, Candidates, Rows, Source
from transformer_cli.decoding.execution.compiled.decoder import decode_step, find_candidates
from transformer_cli.decoding.execution.compiled.layers import embed
from transformer_cli.decoding.execution.compiled.products import compiled
from transformer_cli.decoding.execution.compiled.weights import Floats, Ints, PositionTables, Projections, Stack
from transformer_cli.decoding.search.hypothesis import LOWEST_SCORE
from transformer_cli.token_ids import BOS, EOS

SLOTS = 96
"""Sentences that are decoded at the same time."""


@compiled
def greedy_search(
    stack: Stack, tables: PositionTables, projections: Projections, source: Source, limits: Ints, scored: bool,
    steps: int, progress: Ints,
    b: Activations, cache: Cache, rows: Rows, found: Candidates, tokens: Ints, lengths: Ints, log_probs: Floats,
) -> None:  # fmt: skip
    """Continue the search by up to `steps` steps: the likeliest token at each position.

    Args:
        limits: `[B]`, maximum number of tokens, EOS included.
        scored: compute log-probabilities.
        progress: the number of active sentences, and the first sentence that has no slot yet.
        b, cache, rows, found: buffers for `SLOTS` sentences, or for all if they are fewer.
        tokens, lengths, log_probs: outputs: the tokens `[B, T]`, their numbers `[B]`, EOS included, and their
            log-probabilities `[B, T]`.
    """
    for _ in range(steps):
        count = progress[0]
        if not count:
            return
        for row in range(count):
            embed(stack, tables, rows.tokens[row], rows.positions[row], b.x, row * b.stride)
        states = decode_step(stack, tables, source, cache, rows, count, b)
        find_candidates(stack, projections, b, states, count, scored, found)
        kept = 0
        for row in range(count):
            sentence, slot, position = rows.sentences[row], rows.slots[row], rows.positions[row]
            must_end = position + 1 == limits[sentence]
            token = EOS if must_end else found.tokens[row]
            tokens[sentence, position] = token
            if scored:
                logit = found.eos[row] if must_end else found.logits[row]
                log_prob = logit - found.maxima[row] - math.log(found.sums[row])
                log_probs[sentence, position] = log_prob if log_prob > LOWEST_SCORE else LOWEST_SCORE
            if token == EOS:
                lengths[sentence] = position + 1
                if progress[1] == len(limits):
                    continue
                sentence, position, token = progress[1], -1, BOS
                progress[1] += 1
            rows.sentences[kept], rows.slots[kept], rows.positions[kept] = sentence, slot, position + 1
            rows.tokens[kept] = token
            kept += 1
        progress[0] = kept
