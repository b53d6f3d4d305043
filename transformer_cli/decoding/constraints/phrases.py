"""What a translation must say and must not say.

`RequiredPhrases` lets no translation end before its phrases are said, and keeps enough room to say them.
`DynamicBeamAllocation` is dynamic beam allocation (Post and Vilar 2018): the beam is shared out among hypotheses by how much
of their phrases they have said, so that a costly phrase is not outbid before it is complete.
`ForbiddenPhrases` looks at the bytes that tokens stand for, not at tokens: a phrase has many spellings in pieces.

Shapes: B sentences, W beams, V vocabulary, t tokens so far.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_cli.batch import EOS
from transformer_cli.decoding.constraints.rules import LAST_RESORT
from transformer_cli.decoding.search.base import LOWEST_SCORE, History, Selection
from transformer_cli.decoding.search.beam import TopKSelector

Phrase = tuple[int, ...]

LONGEST_CHARACTER = 4
"""Bytes of a character in UTF-8, at most."""
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no blank between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters."""


@dataclass(frozen=True)
class PhraseProgress:
    """How far one hypothesis is with its phrases.

    `remaining` counts the tokens still to say if the phrase in progress is abandoned; `next_tokens` maps each token that
    brings it forward to the count left after it.
    """

    remaining: int
    next_tokens: dict[int, int]


def phrase_progress(generated: Sequence[int], phrases: Sequence[Phrase]) -> PhraseProgress:
    """`generated` without BOS. A phrase is met once its tokens stand in a row, wherever that is."""
    words = tuple(generated)
    unmet = [p for p in phrases if not _contains(words, p)]
    remaining = sum(len(p) for p in unmet)
    next_tokens = {p[0]: remaining - 1 for p in unmet}
    for p in unmet:
        for k in range(1, len(p)):
            if words[-k:] == p[:k]:
                next_tokens[p[k]] = min(next_tokens.get(p[k], remaining), remaining - k - 1)
    return PhraseProgress(remaining, next_tokens)


class RequiredPhrases:
    """Rule: each translation holds the token sequences `phrases[sentence]`."""

    def __init__(self, phrases: Sequence[Sequence[Phrase]], limits: Sequence[int]) -> None:
        """`limits`: most tokens of each sentence, EOS included; the phrases fit into them."""
        self.phrases, self.limits = phrases, limits
        assert all(sum(map(len, p)) < limit for p, limit in zip(phrases, limits, strict=True))

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        for row, sentence in enumerate(history.rows.tolist()):
            # What may still be said after this token, EOS left out.
            room = self.limits[sentence] - 2 - history.position
            for beam, generated in (
                enumerate(history.tokens[row, :, 1:].tolist()) if self.phrases[sentence] else ()
            ):
                now = phrase_progress(generated, self.phrases[sentence])
                if not now.remaining:
                    continue
                options = log_probs[row, beam]
                options[EOS] = -torch.inf
                # None only in a beam that is dead already.
                next_tokens = torch.tensor(
                    [t for t, remaining in now.next_tokens.items() if remaining <= room], dtype=torch.int64
                )
                willing = options[next_tokens].clamp_min(LAST_RESORT)
                if now.remaining > room:
                    options.fill_(-torch.inf)
                if not options[EOS + 1 :].max() > -torch.inf:
                    # Nothing else is left to say: what other rules forbid is said all the same.
                    options[next_tokens] = willing
        return log_probs


class DynamicBeamAllocation:
    """Selector: as `TopKSelector` for sentences without phrases; for the others the beam is shared out."""

    def __init__(self, phrases: Sequence[Sequence[Phrase]]) -> None:
        self.phrases = phrases
        self.unbound = TopKSelector()

    def initial_scores(self, width: int) -> list[float]:
        return self.unbound.initial_scores(width)

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        chosen = self.unbound(scores, log_probs, history)
        for row, sentence in enumerate(history.rows.tolist()):
            if phrases := self.phrases[sentence]:
                generated = history.tokens[row, :, 1:].tolist()
                _allocate(phrases, generated, scores[row], log_probs[row], row, chosen)
        return chosen


def _allocate(
    phrases: Sequence[Phrase],
    generated: list[list[int]],
    scores: Tensor,
    log_probs: Tensor,
    row: int,
    out: Selection,
) -> None:
    """Fill `row` of `out`: hypotheses of each stage of completion get their share of the beam.

    Args:
        said: tokens of each beam. scores: `[W]`. log_probs: `[W, V]`.
    """
    width = len(generated)
    candidates: dict[tuple[int, int], tuple[float, int]] = {}  # (beam, token) -> (score, tokens left)
    endings: list[tuple[float, int]] = []  # (score, beam)
    for beam, (base, options) in enumerate(zip(scores.tolist(), log_probs, strict=True)):
        if base <= LOWEST_SCORE / 2:
            continue
        best = options.topk(min(width + 1, len(options))).indices.tolist()
        now = phrase_progress(generated[beam], phrases)
        for token in {*best, *now.next_tokens}:
            gain = float(options[token])
            if token == EOS and gain > -torch.inf:
                endings.append((base + gain, beam))
            elif gain > -torch.inf:
                candidates[beam, token] = base + gain, now.next_tokens.get(token, now.remaining)
    ranked = sorted(candidates.items(), key=lambda item: -item[1][0])
    # As in `TopKSelector`, only an end among the W best finishes; it competes with what has said all of its phrases.
    complete = [(score, -1) for score, remaining in candidates.values() if not remaining]
    out.ended_scores[row] = -torch.inf
    for score, beam in sorted([*endings, *complete], reverse=True)[:width]:
        if beam >= 0:
            out.ended_scores[row, beam], out.ended_parents[row, beam] = score, beam
    quota = max(1, width // (1 + sum(map(len, phrases))))
    taken = []
    for stage in sorted({remaining for _, (_, remaining) in ranked}):
        taken += [c for c in ranked if c[1][1] == stage][:quota]
    taken = (taken + [c for c in ranked if c not in taken])[:width]
    for slot in range(width):
        (beam, token), (score, _) = taken[slot] if slot < len(taken) else ((0, EOS + 1), (LOWEST_SCORE, 0))
        out.scores[row, slot], out.parents[row, slot], out.choices[row, slot] = score, beam, token


class ForbiddenPhrases:
    """No translation holds one of these phrases as a word, as words, or as the beginning of a word."""

    def __init__(self, phrases: Sequence[str], token_bytes: Sequence[bytes]) -> None:
        """`token_bytes`: the bytes that each token stands for, `[V]`; a space where a word begins."""
        self.token_bytes = token_bytes
        self.phrases = [p.encode() for p in phrases]
        self.apart = [starts_word(p) for p in phrases]
        self.longest = max(len(p) for p in self.phrases)
        # Tokens that complete a phrase of which the text already ends with the first k bytes.
        self.completing = [
            [[t for t, s in enumerate(token_bytes) if s.startswith(p[k:])] for k in range(len(p))]
            for p in self.phrases
        ]
        self.containing = sorted(
            {
                t
                for t, s in enumerate(token_bytes)
                for p, apart in zip(self.phrases, self.apart, strict=True)
                if _occurs_inside(s, p, apart)
            }
        )

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        for row, beams in enumerate(history.tokens[:, :, 1:].tolist()):
            for beam, generated in enumerate(beams):
                if forbidden := self.forbidden(generated):
                    log_probs[row, beam, forbidden] = -torch.inf
        return log_probs

    def forbidden(self, generated: Sequence[int]) -> list[int]:
        """Tokens that would complete a phrase after these."""
        tail = b""
        for token in reversed(generated):
            tail = self.token_bytes[token] + tail
            if len(tail) > self.longest + LONGEST_CHARACTER:
                break
        else:
            tail = b" " + tail  # the text begins, which is where a word may begin
        found = set(self.containing)
        for phrase, apart, completing in zip(self.phrases, self.apart, self.completing, strict=True):
            for k, tokens in enumerate(completing):
                before = len(tail) - k
                if tail[before:] == phrase[:k] and not (apart and _ends_inside_word(tail[:before])):
                    found.update(tokens)
        return sorted(found)


def _contains(words: Phrase, phrase: Phrase) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words) - len(phrase) + 1))


def starts_word(phrase: str) -> bool:
    """Whether the phrase counts only where a word may begin; not so punctuation and scripts without blanks."""
    return bool(phrase) and _is_letter(phrase[0]) and not UNSPACED.match(phrase)


def contains_phrase(text: str, phrase: str) -> bool:
    """Whether the text holds the phrase as a word, as words, or as the beginning of a word."""
    return _occurs_inside(b" " + text.encode(), phrase.encode(), starts_word(phrase))


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def _ends_inside_word(text: bytes) -> bool:
    last = text[-LONGEST_CHARACTER:].decode("utf-8", errors="replace")[-1:]
    return bool(last) and _is_letter(last)


def _occurs_inside(surface: bytes, phrase: bytes, apart: bool) -> bool:
    """Whether the phrase stands in the surface behind its first byte; `apart`: not behind a letter."""
    at = surface.find(phrase, 1)
    while at >= 0 and apart and _ends_inside_word(surface[:at]):
        at = surface.find(phrase, at + 1)
    return at >= 0
