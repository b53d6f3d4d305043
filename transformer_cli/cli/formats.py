"""The output formats of `translate`: text, JSON lines, n-best lists, word alignments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from transformer_cli.data.text import encode_lines, one_line
from transformer_cli.decoding.translation import UNSURE
from transformer_cli.errors import ConfigError

if TYPE_CHECKING:
    from transformer_cli.decoding.translation import Translation

FORMATS = ("text", "jsonl")


def check_format(name: str) -> None:
    """Raises: ConfigError if there is no output format of this name."""
    if name not in FORMATS:
        raise ConfigError(f"--format {name}: unknown format", hint=f"choose {' or '.join(FORMATS)}")


def render(
    sources: list[str], translations: list[Translation], form: str, n_best: int = 1, first: int = 0
) -> bytes:
    """Encode translations: one line per source line, or with `n_best` > 1 as text, one line per alternative.

    Args:
        form: `text`, `jsonl` or `pharaoh`.
        first: number of the first source line, from 0.
    """
    if form == "jsonl":
        pairs = zip(sources, translations, strict=True)
        return encode_lines(json.dumps(_fields(s, t, n_best), ensure_ascii=False) for s, t in pairs)
    if form == "pharaoh":
        return encode_lines(" ".join(f"{s}-{t}" for s, t in translation.links) for translation in translations)
    if n_best == 1:
        return encode_lines("" if t.status == UNSURE else t.text for t in translations)
    return encode_lines(
        f"{number} ||| {one_line(a.text)} ||| {a.score:.6f}"
        for number, t in enumerate(translations, first)
        for a in t.alternatives
    )


def _fields(source: str, t: Translation, n_best: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "source": source,
        "translation": one_line(t.text),
        "score": t.score,
        "token_log_probs": [round(p, 6) for p in t.token_log_probs],
        "status": t.status,
        "seconds": round(t.seconds, 6),
    }
    if t.confidence is not None:
        fields["confidence"] = round(t.confidence, 4)
    if n_best > 1:
        fields["n_best"] = [{"translation": one_line(a.text), "score": a.score} for a in t.alternatives]
    if t.links:
        fields["alignment"] = [list(link) for link in t.links]
    return fields
