"""Phrases that a translation must or must not contain.

`RequiredPhrases` forbids EOS until the phrases are complete, and reserves enough positions for them.

`DynamicBeamAllocation` (Post and Vilar 2018) divides the beam among hypotheses by how many tokens of
their phrases they have generated, so that a phrase of low probability is not pruned before it is
complete.

`ForbiddenPhrases` compares the bytes of tokens, not their ids, because a phrase has many
segmentations into tokens.

Shapes: B sentences, W beams, V vocabulary, t tokens so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_cli.decoding.constraints.rules import REQUIRED_LOG_PROB_FLOOR
from transformer_cli.decoding.search.base import History, Selection
from transformer_cli.decoding.search.beam import TopKSelector
from transformer_cli.decoding.search.hypothesis import LOWEST_SCORE
from transformer_cli.decoding.search.logits import IMPOSSIBLE_SCORE
from transformer_cli.token_ids import EOS
from transformer_cli.unicode_scripts import UNSPACED

Phrase = tuple[int, ...]

MAX_CHARACTER_BYTES = 4
"""Maximum length of a character in UTF-8."""


@dataclass(frozen=True)
class WordEnds:
    """Which required phrases must be followed by the end of a word, so that they are not met inside a longer word.

    Attributes:
        phrases: phrases whose last character is a letter or a digit, in a script with spaces between words.
        continuing: tokens that continue a word.
    """

    phrases: frozenset[Phrase] = frozenset()
    continuing: frozenset[int] = frozenset()


ANYWHERE = WordEnds()
"""Phrases may be followed by any token."""


@dataclass(frozen=True)
class PhraseProgress:
    """How many tokens of its required phrases a hypothesis has generated.

    Attributes:
        remaining: number of tokens still to generate if the current partial match is abandoned.
        next_tokens: each token that extends a match -> the number of tokens that remain after it.
        reopened: number of tokens of the phrases that the last word has just completed: they remain again if a
            token of `continuing` follows.
    """

    remaining: int
    next_tokens: dict[int, int]
    reopened: int = 0
    continuing: frozenset[int] = frozenset()

    def after(self, token: int) -> int:
        """Number of tokens that remain after this token."""
        return self.next_tokens.get(token, self.remaining) + (self.reopened if token in self.continuing else 0)


def phrase_progress(
    generated: Sequence[int], phrases: Sequence[Phrase], word_ends: WordEnds = ANYWHERE
) -> PhraseProgress:
    """Progress after the tokens `generated`, without BOS.

    A phrase is met if its tokens occur contiguously and, if `word_ends` says so, the next token does
    not continue its last word.
    """
    tokens = tuple(generated)
    ends = {p: _ends(tokens, p, word_ends) for p in phrases}
    unmet = [p for p in phrases if not ends[p]]
    reopened = sum(len(p) for p, places in ends.items() if p in word_ends.phrases and places == [len(tokens)])
    remaining = sum(len(p) for p in unmet)
    next_tokens = {p[0]: remaining - 1 for p in unmet}
    for p in unmet:
        for k in range(1, len(p)):
            if tokens[-k:] == p[:k]:
                next_tokens[p[k]] = min(next_tokens.get(p[k], remaining), remaining - k - 1)
    return PhraseProgress(remaining, next_tokens, reopened, word_ends.continuing)


class RequiredPhrases:
    """Rule: each translation contains the token sequences `phrases[sentence]`."""

    def __init__(
        self, phrases: Sequence[Sequence[Phrase]], limits: Sequence[int], word_ends: WordEnds = ANYWHERE
    ) -> None:
        """`limits`: maximum number of tokens of each sentence, EOS included; large enough for the phrases."""
        self.phrases, self.limits, self.word_ends = phrases, limits, word_ends
        self.continuing = torch.tensor(sorted(word_ends.continuing), dtype=torch.int64)
        assert all(sum(map(len, p)) < limit for p, limit in zip(phrases, limits, strict=True))

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        for row, sentence in enumerate(history.rows.tolist()):
            if not (phrases := self.phrases[sentence]):
                continue
            # Positions left after this token, without the one for EOS.
            positions_left = self.limits[sentence] - 2 - history.position
            for beam, generated in enumerate(history.tokens[row, :, 1:].tolist()):
                progress = phrase_progress(generated, phrases, self.word_ends)
                if progress.reopened and progress.remaining + progress.reopened > positions_left:
                    log_probs[row, beam, self.continuing] = -torch.inf
                if progress.remaining:
                    _require_progress(log_probs[row, beam], progress, positions_left)
        return log_probs


def _require_progress(log_probs: Tensor, progress: PhraseProgress, positions_left: int) -> None:
    """Edit the log-probabilities `[V]` of a hypothesis with unmet phrases, in place."""
    log_probs[EOS] = -torch.inf
    # Empty only for a beam that is impossible already.
    next_tokens = torch.tensor(
        [t for t in progress.next_tokens if progress.after(t) <= positions_left], dtype=torch.int64
    )
    required = log_probs[next_tokens].clamp_min(REQUIRED_LOG_PROB_FLOOR)
    if progress.remaining > positions_left:
        log_probs.fill_(-torch.inf)
    if not log_probs[EOS + 1 :].max() > -torch.inf:
        # Nothing else is possible: required tokens are allowed even if other rules forbid them.
        log_probs[next_tokens] = required


class DynamicBeamAllocation:
    """Selector: `TopKSelector` for sentences without phrases; divides the beam of the others by progress."""

    def __init__(self, phrases: Sequence[Sequence[Phrase]], word_ends: WordEnds = ANYWHERE) -> None:
        """`phrases`: the required phrases of each sentence."""
        self.phrases, self.word_ends = phrases, word_ends
        self.unconstrained = TopKSelector()

    def initial_scores(self, width: int) -> list[float]:
        return self.unconstrained.initial_scores(width)

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        selection = self.unconstrained(scores, log_probs, history)
        for row, sentence in enumerate(history.rows.tolist()):
            if phrases := self.phrases[sentence]:
                generated = history.tokens[row, :, 1:].tolist()
                progress = [phrase_progress(tokens, phrases, self.word_ends) for tokens in generated]
                _allocate(phrases, progress, scores[row], log_probs[row], row, selection)
        return selection


def _allocate(
    phrases: Sequence[Phrase],
    progress_of_beams: list[PhraseProgress],
    scores: Tensor,
    log_probs: Tensor,
    row: int,
    out: Selection,
) -> None:
    """Overwrite `row` of `out`: each number of remaining tokens gets a share of the beam.

    Args:
        progress_of_beams: of the W beams. scores: `[W]`. log_probs: `[W, V]`.
    """
    width = len(progress_of_beams)
    candidates: dict[tuple[int, int], tuple[float, int]] = {}  # (beam, token) -> (score, tokens remaining)
    complete: list[tuple[float, int]] = []  # (score, -1) of continuations with complete phrases
    endings: list[tuple[float, int]] = []  # (score, beam)
    for beam, (score, beam_log_probs) in enumerate(zip(scores.tolist(), log_probs, strict=True)):
        if score <= IMPOSSIBLE_SCORE:
            continue
        best = beam_log_probs.topk(min(width + 1, len(beam_log_probs))).indices.tolist()
        progress = progress_of_beams[beam]
        for token in {*best, *progress.next_tokens}:
            gain = float(beam_log_probs[token])
            if token == EOS and gain > -torch.inf:
                endings.append((score + gain, beam))
            elif gain > -torch.inf:
                candidates[beam, token] = score + gain, progress.after(token)
                if not progress.next_tokens.get(token, progress.remaining):
                    complete.append((score + gain, -1))
    ranked = sorted(candidates.items(), key=lambda item: -item[1][0])
    # As in `TopKSelector`, a hypothesis finishes only if it is among the W best. Its competitors are those with
    # complete phrases.
    out.finished_scores[row] = -torch.inf
    for score, beam in sorted([*endings, *complete], reverse=True)[:width]:
        if beam >= 0:
            out.finished_scores[row, beam], out.finished_parents[row, beam] = score, beam
    quota = max(1, width // (1 + sum(map(len, phrases))))
    chosen = []
    for count in sorted({remaining for _, (_, remaining) in ranked}):
        chosen += [c for c in ranked if c[1][1] == count][:quota]
    chosen = (chosen + [c for c in ranked if c not in chosen])[:width]
    for slot in range(width):
        (beam, token), (score, _) = chosen[slot] if slot < len(chosen) else ((0, EOS + 1), (LOWEST_SCORE, 0))
        out.scores[row, slot], out.parents[row, slot], out.choices[row, slot] = score, beam, token


class ForbiddenPhrases:
    """Rule: no translation contains one of these phrases as a word, as words, or as the beginning of a word."""

    def __init__(self, phrases: Sequence[str], token_bytes: Sequence[bytes]) -> None:
        """`token_bytes`: the bytes of each token, `[V]`; a space starts a word."""
        self.token_bytes = token_bytes
        self.phrases = [p.encode() for p in phrases]
        self.at_word_start = [starts_word(p) for p in phrases]
        self.longest = max(len(p) for p in self.phrases)
        # For each phrase and k: tokens that complete the phrase if the text already ends with its first k bytes.
        self.completing = [
            [[t for t, s in enumerate(token_bytes) if s.startswith(p[k:])] for k in range(len(p))]
            for p in self.phrases
        ]
        self.containing = sorted(
            {
                t
                for t, s in enumerate(token_bytes)
                for p, at_word_start in zip(self.phrases, self.at_word_start, strict=True)
                if _occurs_inside(s, p, at_word_start)
            }
        )

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        for row, beams in enumerate(history.tokens[:, :, 1:].tolist()):
            for beam, generated in enumerate(beams):
                if forbidden := self.forbidden(generated):
                    log_probs[row, beam, forbidden] = -torch.inf
        return log_probs

    def forbidden(self, generated: Sequence[int]) -> list[int]:
        """Tokens that would complete a phrase after the tokens `generated`."""
        tail = b""
        for token in reversed(generated):
            tail = self.token_bytes[token] + tail
            if len(tail) > self.longest + MAX_CHARACTER_BYTES:
                break
        else:
            tail = b" " + tail  # a word may start at the beginning of the text
        tokens = set(self.containing)
        for phrase, at_word_start, completing in zip(
            self.phrases, self.at_word_start, self.completing, strict=True
        ):
            for k, candidates in enumerate(completing):
                start = len(tail) - k
                if tail[start:] == phrase[:k] and not (at_word_start and _ends_inside_word(tail[:start])):
                    tokens.update(candidates)
        return sorted(tokens)


def _ends(tokens: Phrase, phrase: Phrase, word_ends: WordEnds) -> list[int]:
    """Positions after the occurrences of the phrase that meet it."""
    size, inside = len(phrase), word_ends.continuing if phrase in word_ends.phrases else ()
    return [
        i
        for i in range(size, len(tokens) + 1)
        if tokens[i - size : i] == phrase and not (i < len(tokens) and tokens[i] in inside)
    ]


def continues_word(token: bytes) -> bool:
    """Whether a token continues the last word of a text; a byte that is no character by itself may do so."""
    text = token.decode("utf-8", errors="replace")
    return starts_word(text) or text.startswith("\ufffd")


def starts_word(phrase: str) -> bool:
    """Whether the phrase matches only at the start of a word.

    False for punctuation and for scripts without spaces between words.
    """
    return bool(phrase) and _is_letter(phrase[0]) and not UNSPACED.match(phrase)


def contains_phrase(text: str, phrase: str) -> bool:
    """Whether the text contains the phrase as a word, as words, or as the beginning of a word."""
    return _occurs_inside(b" " + text.encode(), phrase.encode(), starts_word(phrase))


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def _ends_inside_word(text: bytes) -> bool:
    last = text[-MAX_CHARACTER_BYTES:].decode("utf-8", errors="replace")[-1:]
    return bool(last) and _is_letter(last)


def _occurs_inside(surface: bytes, phrase: bytes, at_word_start: bool) -> bool:
    """Whether the phrase occurs in the surface after its first byte; `at_word_start`: not after a letter."""
    index = surface.find(phrase, 1)
    while index >= 0 and at_word_start and _ends_inside_word(surface[:index]):
        index = surface.find(phrase, index + 1)
    return index >= 0
