"""Where a model looks: attention weights of given pairs, and the word alignments read from them.

Shapes: B sentences, H heads, S source and T target positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transformer_cli.batch import EOS, TokenIds, collate
from transformer_cli.errors import ConfigError
from transformer_cli.ops.attention import Kernel, attention_weights

CROSS = "cross_attention"


def attention_maps(
    model: nn.Module, sources: Sequence[TokenIds], targets: Sequence[TokenIds]
) -> dict[str, Tensor]:
    """The weights of every attention layer while the model reads these pairs (teacher forcing).

    Args:
        sources, targets: ids of B sentences without BOS and EOS.

    Returns:
        Name of the layer -> `[B, H, queries, keys]`, padded. Source positions are the pieces and EOS; target
        queries are BOS and the pieces.

    Raises:
        ConfigError: the model has no attention of this kind.
    """
    batch = collate([np.append(s, EOS) for s in sources], [np.append(t, EOS) for t in targets])
    found: dict[str, Tensor] = {}
    with torch.inference_mode(), _recording(model, found):
        model(batch.to(next(model.parameters()).device))
    if not found:
        raise ConfigError("this model has no attention weights to show")
    return found


@contextmanager
def _recording(model: nn.Module, found: dict[str, Tensor]) -> Iterator[None]:
    """Every attention layer leaves its weights in `found`.

    Layers with a kernel work by the formula in the open meanwhile; the others show theirs in a part named
    `weights`, in one call or position by position.
    """
    layers: dict[str, Any] = {name: m for name, m in model.named_modules() if hasattr(m, "kernel")}
    kernels = {name: layer.kernel for name, layer in layers.items()}
    shown = [(name, m) for name, m in model.named_modules() if name.endswith(".weights")]
    hooks = [m.register_forward_hook(_recording_hook(name.removesuffix(".weights"), found)) for name, m in shown]
    try:
        for name, layer in layers.items():
            layer.kernel = _recording_kernel(name, found)
        yield
    finally:
        for name, layer in layers.items():
            layer.kernel = kernels[name]
        for hook in hooks:
            hook.remove()


def _recording_hook(name: str, found: dict[str, Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def note(module: nn.Module, inputs: Any, weights: Tensor) -> None:
        before = [found[name]] if name in found else []
        found[name] = torch.cat([*before, weights], dim=2)  # [B, H, queries so far, keys]

    return note


def _recording_kernel(name: str, found: dict[str, Tensor]) -> Kernel:
    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        found[name] = attention_weights(q, k, mask, causal)
        return found[name] @ v

    return kernel


def cross_attention(
    model: nn.Module, sources: Sequence[TokenIds], targets: Sequence[TokenIds]
) -> list[NDArray[np.float32]]:
    """Of each pair `[T + 1, S + 1]`: weights over source pieces and EOS at BOS and at each target piece.

    Where the weights of a position choose what is said next (`rnn`), they are moved to the piece that they chose.
    The mean over the heads of the last decoder layer but one, which aligns best in models of three layers or
    more (Garg et al. 2019, section 4.1).
    """
    found = attention_maps(model, sources, targets)
    names = [name for name in found if name.endswith(CROSS)]
    if not names:
        raise ConfigError("this model has no attention from target to source")
    name = names[-2] if len(names) >= 3 else names[-1]
    mean = found[name].mean(dim=1).float().cpu().numpy()  # [B, T + 1, S + 1]
    own = [m[: len(t) + 1, : len(s) + 1] for m, s, t in zip(mean, sources, targets, strict=True)]
    chooses = hasattr(model.get_submodule(name), "weights")
    return [np.roll(m, 1, axis=0) if chooses else m for m in own]


def coverage_score(weights: NDArray[np.float32]) -> float:
    """Σ over source pieces of log min(Σ over target positions of the weight, 1) (Wu et al. 2016, equation 14)."""
    attended = np.minimum(weights[:, :-1].sum(axis=0), 1.0)
    return float(np.log(np.maximum(attended, 1e-9)).sum())


def align_words(
    weights: NDArray[np.float32], src_token_bytes: Sequence[bytes], tgt_token_bytes: Sequence[bytes]
) -> list[tuple[int, int]]:
    """Links (source word, target word), counted from 0, sorted.

    Each target piece is linked to the source piece that it attends to most, once it has been said: the
    weights of the position that reads it (Chen et al. 2020, section 3.1).

    Args:
        weights: `[T + 1, S + 1]` of `cross_attention`. surfaces: bytes of each piece; a space begins a word.
    """
    if not len(src_token_bytes) or not len(tgt_token_bytes):
        return []
    reading = weights[1:, :-1]  # position t + 1 reads piece t
    sources, targets = _word_of(src_token_bytes), _word_of(tgt_token_bytes)
    return sorted({(sources[int(row.argmax())], targets[t]) for t, row in enumerate(reading)})


def offset_links(
    links: Sequence[Sequence[tuple[int, int]]], sources: Sequence[str], targets: Sequence[str]
) -> list[tuple[int, int]]:
    """Links of the pieces of a line, counted over the whole line; of each piece its text and its translation."""
    shifted, source, target = [], 0, 0
    for own, src, tgt in zip(links, sources, targets, strict=True):
        shifted += [(s + source, t + target) for s, t in own]
        source, target = source + len(src.split()), target + len(tgt.split())
    return shifted


def pharaoh(links: Sequence[tuple[int, int]]) -> str:
    """`0-0 1-2 2-1`: the format of Pharaoh and Moses."""
    return " ".join(f"{s}-{t}" for s, t in links)


def _word_of(token_bytes: Sequence[bytes]) -> list[int]:
    """The word that each piece belongs to; words are what blanks separate."""
    words, word, blank = [], -1, True
    for surface in token_bytes:
        if surface.startswith(b" "):
            blank = True
        if blank and surface.strip():
            word, blank = word + 1, False
        words.append(max(word, 0))
    return words
