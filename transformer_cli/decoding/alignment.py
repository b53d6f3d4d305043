"""Attention weights of given sentence pairs, and the word alignments derived from them.

Shapes: B sentences, H heads, S source and T target positions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transformer_cli.batch import collate
from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.errors import ConfigError
from transformer_cli.ops.attention import Kernel, attention_weights
from transformer_cli.token_ids import EOS, TokenIds

CROSS_ATTENTION = "cross_attention"
"""Last part of the module name of attention from target to source."""
_recording_lock = threading.Lock()


def attention_maps(
    model: nn.Module, sources: Sequence[TokenIds], targets: Sequence[TokenIds]
) -> dict[str, Tensor]:
    """The weights of every attention layer when the model reads these pairs with teacher forcing.

    Args:
        sources, targets: ids of B sentences without BOS and EOS.

    Returns:
        Name of the layer -> `[B, H, queries, keys]`, padded. Source positions are the source tokens
        and EOS; target queries are BOS and the target tokens.

    Raises:
        ConfigError: the model has no attention layers.
    """
    batch = collate([np.append(s, EOS) for s in sources], [np.append(t, EOS) for t in targets])
    maps: dict[str, Tensor] = {}
    with torch.inference_mode(), _recording(model, maps):
        model(batch.to(next(model.parameters()).device))
    if not maps:
        raise ConfigError("this model has no attention layers, so there are no attention weights")
    return maps


@contextmanager
def _recording(model: nn.Module, maps: dict[str, Tensor]) -> Iterator[None]:
    """Store the weights of every attention layer in `maps`.

    Layers with an attribute `kernel` temporarily use an explicit softmax formula. The others have a
    submodule `weights` that outputs theirs, in one call or position by position. Other threads may
    use the model at the same time.
    """
    with _recording_lock:
        layers: dict[str, Any] = {name: m for name, m in model.named_modules() if hasattr(m, "kernel")}
        kernels = {name: layer.kernel for name, layer in layers.items()}
        hooks = [
            m.register_forward_hook(_recording_hook(name.removesuffix(".weights"), maps))
            for name, m in model.named_modules()
            if name.endswith(".weights")
        ]
        try:
            for name, layer in layers.items():
                layer.kernel = _recording_kernel(name, maps, kernels[name])
            yield
        finally:
            for name, layer in layers.items():
                layer.kernel = kernels[name]
            for hook in hooks:
                hook.remove()


def _recording_hook(name: str, maps: dict[str, Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    thread = threading.get_ident()

    def record(module: nn.Module, inputs: Any, weights: Tensor) -> None:
        if threading.get_ident() == thread:
            previous = [maps[name]] if name in maps else []
            maps[name] = torch.cat([*previous, weights], dim=2)  # [B, H, queries so far, keys]

    return record


def _recording_kernel(name: str, maps: dict[str, Tensor], usual: Kernel) -> Kernel:
    thread = threading.get_ident()

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        if threading.get_ident() != thread:
            return usual(q, k, v, mask, causal)
        maps[name] = attention_weights(q, k, mask, causal)
        return maps[name] @ v

    return kernel


def cross_attention(
    model: nn.Module, sources: Sequence[TokenIds], targets: Sequence[TokenIds]
) -> list[NDArray[np.float32]]:
    """Attention from target to source of each pair, averaged over heads: `[T + 1, S + 1]`.

    Rows are BOS and the target tokens, columns the source tokens and EOS. The layer is the penultimate decoder
    layer, which aligns best in models of three layers or more (Garg et al. 2019, section 4.1), and the last one in
    smaller models.

    Raises:
        ConfigError: the model has no attention from target to source.
    """
    maps = attention_maps(model, sources, targets)
    names = [name for name in maps if name.endswith(CROSS_ATTENTION)]
    if not names:
        raise ConfigError("this model has no attention from target to source, so it cannot align words")
    name = names[-2] if len(names) >= 3 else names[-1]
    mean = maps[name].mean(dim=1).float().cpu().numpy()  # [B, T + 1, S + 1]
    return [m[: len(t) + 1, : len(s) + 1] for m, s, t in zip(mean, sources, targets, strict=True)]


def generation_attention(model: nn.Module, source: TokenIds, target: TokenIds) -> NDArray[np.float32]:
    """Attention at the positions that generate the target tokens: `[T, S]`, over heads and the last two layers.

    Raises:
        ConfigError: the model has no attention from target to source.
    """
    maps = attention_maps(model, [source], [target])
    layers = [weights for name, weights in maps.items() if name.endswith(CROSS_ATTENTION)]
    if not layers:
        raise ConfigError("this model has no attention from target to source, so it cannot align words")
    mean = torch.stack([layer[0].mean(dim=0) for layer in layers[-2:]]).mean(dim=0)  # [T + 1, S + 1]
    return mean[: len(target), : len(source)].float().cpu().numpy()


def coverage_score(weights: NDArray[np.float32], skip: int = 0) -> float:
    """Σ over source tokens of log min(Σ over target positions of the weight, 1) (Wu et al. 2016, equation 14).

    Args:
        weights: `[T + 1, S + 1]` from `cross_attention`; the column of EOS is ignored.
        skip: number of tokens at the beginning, such as a tag, that need not be covered.

    Returns:
        At most 0, in nats.
    """
    coverage = np.minimum(weights[:, skip:-1].sum(axis=0), 1.0)
    return float(np.log(np.maximum(coverage, 1e-9)).sum())


def rerank_by_coverage(
    model: nn.Module, source: TokenIds, hypotheses: Sequence[Hypothesis], beta: float, skip: int = 0
) -> list[Hypothesis]:
    """Add `beta` times the coverage score to the score of each hypothesis of a source, and sort: best first.

    `skip`: as in `coverage_score`.
    """
    targets = [h.ids for h in hypotheses]
    weights = cross_attention(model, [source] * len(targets), targets)
    scored = [
        replace(h, score=h.score + beta * coverage_score(w, skip))
        for h, w in zip(hypotheses, weights, strict=True)
    ]
    return sorted(scored, key=lambda h: -h.score)


def align_words(
    weights: NDArray[np.float32], src_token_bytes: Sequence[bytes], tgt_token_bytes: Sequence[bytes]
) -> list[tuple[int, int]]:
    """Links (source word, target word), counted from 0, sorted.

    Each target token is linked to the source token with the largest weight when it is generated. The position
    that reads it as input, which Chen et al. (2020, section 3.1) prefer in larger models, agrees with a table of
    word translations for 17 % of the tokens in models of three decoder layers, this one for 66 % (docs/log.md).

    Args:
        weights: `[T, S]`, from `generation_attention`.
        src_token_bytes, tgt_token_bytes: the bytes of each token; a space starts a word.
    """
    if not len(src_token_bytes) or not len(tgt_token_bytes):
        return []
    source_words, target_words = _word_indices(src_token_bytes), _word_indices(tgt_token_bytes)
    return sorted({(source_words[int(row.argmax())], target_words[t]) for t, row in enumerate(weights)})


def pharaoh(links: Sequence[tuple[int, int]]) -> str:
    """Links in the format of Pharaoh and Moses, `0-0 1-2 2-1`."""
    return " ".join(f"{s}-{t}" for s, t in links)


def _word_indices(token_bytes: Sequence[bytes]) -> list[int]:
    """The index of the word to which each token belongs. Words are separated by spaces."""
    indices, word, after_space = [], -1, True
    for surface in token_bytes:
        if surface.startswith(b" "):
            after_space = True
        if after_space and surface.strip():
            word, after_space = word + 1, False
        indices.append(max(word, 0))
    return indices
