"""Beam search as one compiled function; `search.beam` says what it computes.

Shapes: B sentences, R slots, W beams, T maximum number of tokens.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer_cli.decoding.execution.compiled.buffers import Activations, Cache, Candidates, Rows, Source
from transformer_cli.decoding.execution.compiled.decoder import decode_step, find_candidates
from transformer_cli.decoding.execution.compiled.layers import embed
from transformer_cli.decoding.execution.compiled.products import compiled
from transformer_cli.decoding.execution.compiled.weights import Floats, Ints, PositionTables, Projections, Stack
from transformer_cli.decoding.search.hypothesis import LOWEST_SCORE
from transformer_cli.decoding.search.logits import IMPOSSIBLE_SCORE
from transformer_cli.token_ids import BOS, EOS

ROWS = 128
"""Hypotheses that are decoded at the same time, about."""
LOWEST: Any = np.float32(LOWEST_SCORE)
ZERO_SCORE: Any = np.float32(0.0)


class Beams(NamedTuple):
    """The active hypotheses.

    Attributes:
        progress: the number of active sentences, and the first sentence that has no slot yet.
        sentences, slots, positions: `[R]`, of the active sentences; a position counts generated tokens.
        tokens, parents, scores: `[R, T, W]`, at each position of a slot the tokens, the beams
            that they continue, and the summed log-probabilities.
        places: `[W, T]`, scratch to reorder `Cache.places`.
        heads: `[W]`, the next candidate of each beam.
    """

    progress: Ints
    sentences: Ints
    slots: Ints
    positions: Ints
    tokens: Ints
    parents: Ints
    scores: Floats
    places: Ints
    heads: Ints


class Finished(NamedTuple):
    """The finished hypotheses, up to 2W of each of the B sentences.

    Attributes:
        counts: `[B]`. lengths: `[B, 2W]`, tokens including EOS. log_probs: `[B, 2W]`, their sums.
        tokens: `[B, 2W, T]`. token_log_probs: `[B, 2W, T]`.
        parents: `[B, 2W]`, the beam before EOS. scores: `[B, 2W]`, with the length penalty.
    """

    counts: Ints
    lengths: Ints
    log_probs: Floats
    tokens: Ints
    token_log_probs: Floats
    parents: Ints
    scores: NDArray[np.float64]


def allocate_beams(slots: int, width: int, positions: int) -> Beams:
    shape = (slots, positions, width)
    return Beams(
        np.array([slots, slots]),
        np.arange(slots),
        np.arange(slots),
        np.zeros(slots, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.zeros((width, positions), np.int64),
        np.zeros(width, np.int64),
    )


def allocate_finished(sentences: int, width: int, positions: int) -> Finished:
    shape = (sentences, 2 * width)
    return Finished(
        np.zeros(sentences, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.zeros((*shape, positions), np.int64),
        np.zeros((*shape, positions), np.float32),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float64),
    )


@compiled
def beam_search(
    stack: Stack, tables: PositionTables, projections: Projections, source: Source, limits: Ints,
    penalties: NDArray[np.float64], n_best: int, steps: int,
    b: Activations, cache: Cache, rows: Rows, found: Candidates, beams: Beams, out: Finished,
) -> None:  # fmt: skip
    """Continue the search by up to `steps` steps.

    Args:
        limits: `[B]`, maximum number of tokens, EOS included.
        penalties: `[T + 1]`, the length penalty of each number of tokens.
        n_best: the search of a sentence stops when its best `n_best` hypotheses cannot change any more, or when W
            hypotheses are finished.
        b, cache, rows, found: buffers for R · W rows. beams: the state of the search. out: the results.
    """
    width = cache.width
    for _ in range(steps):
        active = beams.progress[0]
        if not active:
            return
        count = fill_rows(stack, tables, beams, width, rows, b)
        states = decode_step(stack, tables, source, cache, rows, count, b)
        find_candidates(stack, projections, b, states, count, True, found)
        kept, row = 0, 0
        for i in range(active):
            sentence, slot, position = beams.sentences[i], beams.slots[i], beams.positions[i]
            limit = limits[sentence]
            best = select_continuations(
                beams, slot, position, found, row, width, position + 1 == limit, sentence, penalties, out
            )
            row += width if position else 1
            if is_complete(best, sentence, position + 1, limit, width, n_best, penalties, out):
                if not out.counts[sentence]:  # nothing is possible: the best beam is the result
                    add_finished(out, sentence, position, beams.parents[slot, position, 0], best, penalties)
                for hypothesis in range(out.counts[sentence]):
                    trace_back(beams, slot, sentence, hypothesis, out)
                if beams.progress[1] == len(limits):
                    continue
                sentence, position = beams.progress[1], -1
                beams.progress[1] += 1
            else:
                reorder(cache, beams, slot, position)
            beams.sentences[kept], beams.slots[kept], beams.positions[kept] = sentence, slot, position + 1
            kept += 1
        beams.progress[0] = kept


@compiled
def fill_rows(stack: Stack, tables: PositionTables, beams: Beams, width: int, rows: Rows, b: Activations) -> int:
    """One row for each beam of each active sentence; the first position is the same for all beams."""
    row = 0
    for i in range(beams.progress[0]):
        slot, position = beams.slots[i], beams.positions[i]
        for beam in range(width if position else 1):
            rows.sentences[row], rows.slots[row], rows.beams[row] = beams.sentences[i], slot, beam
            rows.positions[row] = position
            token = beams.tokens[slot, position - 1, beam] if position else BOS
            embed(stack, tables, token, position, b.x, row * b.stride)
            row += 1
    return row


@compiled
def select_continuations(
    beams: Beams, slot: int, position: int, found: Candidates, row: int, width: int, must_end: bool, sentence: int,
    penalties: NDArray[np.float64], out: Finished,
) -> float:  # fmt: skip
    """`TopKSelector` for one sentence, whose candidates start at `row`.

    Returns:
        The largest score that continues.
    """
    k, parents = 2 * width, width if position else 1
    for beam in range(parents):
        beams.heads[beam] = 0
    active = 0
    for rank in range(k):
        best, parent, token = LOWEST, 0, EOS
        for beam in range(parents):
            head = beams.heads[beam]
            if head >= (1 if must_end else k):
                continue
            logit = found.eos[row + beam] if must_end else found.logits[(row + beam) * k + head]
            log_prob = logit - found.maxima[row + beam] - math.log(found.sums[row + beam])
            score = log_prob + (beams.scores[slot, position - 1, beam] if position else ZERO_SCORE)
            if score > best:
                best, parent = score, beam
                token = EOS if must_end else found.tokens[(row + beam) * k + head]
        beams.heads[parent] += 1
        if token == EOS and best > IMPOSSIBLE_SCORE:
            if rank < width:
                add_finished(out, sentence, position, parent, best, penalties)
        elif active < width:
            beams.scores[slot, position, active] = best
            beams.parents[slot, position, active] = parent
            beams.tokens[slot, position, active] = token
            active += 1
    return beams.scores[slot, position, 0]


@compiled
def add_finished(
    out: Finished, sentence: int, position: int, parent: int, log_prob: float, penalties: NDArray[np.float64]
) -> None:
    """Store a hypothesis that ends at this position."""
    i = out.counts[sentence]
    out.lengths[sentence, i] = position + 1
    out.parents[sentence, i] = parent
    out.log_probs[sentence, i] = log_prob
    out.scores[sentence, i] = out.log_probs[sentence, i] / penalties[position + 1]
    out.counts[sentence] = i + 1


@compiled
def is_complete(
    best: float, sentence: int, length: int, limit: int, width: int, n_best: int, penalties: NDArray[np.float64],
    out: Finished,
) -> bool:  # fmt: skip
    """`FinishedHypotheses.should_continue`, negated."""
    bound, unbeatable = best / penalties[limit], 0
    for i in range(out.counts[sentence]):
        if out.scores[sentence, i] >= bound:
            unbeatable += 1
    return unbeatable >= n_best or out.counts[sentence] >= width or length >= limit or best <= IMPOSSIBLE_SCORE


@compiled
def reorder(cache: Cache, beams: Beams, slot: int, position: int) -> None:
    """Each beam takes over the history of its parent."""
    width, count, length = cache.width, position + 1, cache.positions
    first = slot * width * length
    for beam in range(width):
        parent = first + beams.parents[slot, position, beam] * length
        for i in range(count):
            beams.places[beam, i] = cache.places[parent + i]
    for beam in range(width):
        for i in range(count):
            cache.places[first + beam * length + i] = beams.places[beam, i]


@compiled
def trace_back(beams: Beams, slot: int, sentence: int, hypothesis: int, out: Finished) -> None:
    """Read the tokens of a finished hypothesis, and their log-probabilities, from its history."""
    position, beam = out.lengths[sentence, hypothesis] - 1, out.parents[sentence, hypothesis]
    score, out.tokens[sentence, hypothesis, position] = out.log_probs[sentence, hypothesis], EOS
    while True:
        previous = beams.scores[slot, position - 1, beam] if position else ZERO_SCORE
        out.token_log_probs[sentence, hypothesis, position] = score - previous
        if not position:
            return
        position -= 1
        score, out.tokens[sentence, hypothesis, position] = previous, beams.tokens[slot, position, beam]
        beam = beams.parents[slot, position, beam]
