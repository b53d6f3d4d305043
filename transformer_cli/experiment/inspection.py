"""Implementation of `inspect`: plot the attention weights of one sentence pair."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transformer_cli import durable
from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.artifacts.target_languages import choose_target
from transformer_cli.decoding.alignment import generation_attention, pharaoh
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.sentence_attention import MAX_TOKENS, attend_sentence
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.plots import HeatMaps, draw_heat_maps
from transformer_cli.runtime import select_device, tune_process

KINDS = {
    "cross": "attention of target to source",
    "encoder": "self-attention of the encoder",
    "decoder": "self-attention of the decoder",
}


@dataclass(frozen=True)
class Inspection:
    """The result of `draw_attention`.

    Attributes:
        translation: the target sentence.
        alignment: word alignment in Pharaoh format; empty without cross-attention.
        layers, heads: size of the plot.
    """

    translation: str
    alignment: str
    layers: int
    heads: int


def draw_attention(
    run: Path,
    sentence: str,
    output: Path,
    target: str | None,
    kind: str,
    checkpoint: str,
    device: str,
    to: str = "",
) -> Inspection:
    """Plot every layer and head of one kind of attention; without `target`, for the model's translation.

    `to`: target language of a model that has several.

    Raises:
        ConfigError: unknown kind or file type, or the model has no attention of this kind.
        DataError: a blank or overlong sentence.
    """
    if kind not in KINDS:
        raise ConfigError(f"--kind {kind}: unknown; known: {', '.join(KINDS)}")
    file_format = output.suffix.lstrip(".").lower()
    if file_format not in ("png", "svg", "pdf"):
        raise ConfigError(f"{output}: unsupported image format: use .png, .svg or .pdf")
    tune_process()
    loaded = load_model(run, select_device(device), checkpoint)
    vocabularies = loaded.vocabularies
    to = choose_target(loaded.config, vocabularies, to, run)
    if target is None:
        target = loaded.translator(request=TranslationRequest(to=to)).translate([sentence])[0].text
    tag = vocabularies.tag(to)
    (src,), (tgt,) = vocabularies.src.encode([sentence]), vocabularies.tgt.encode([target])
    src = np.concatenate([tag, src])
    token_bytes = vocabularies.src.token_bytes(), vocabularies.tgt.token_bytes()
    attention = attend_sentence(loaded.model, src, tgt, *token_bytes, skip=len(tag))
    maps = attention.maps[kind]
    if not maps:
        raise ConfigError(f"this model has no {KINDS[kind]}")
    src_tokens = [*(vocabularies.src.vocabulary[i] for i in src), "</s>"]
    tgt_tokens = ["<s>", *(vocabularies.tgt.vocabulary[i] for i in tgt)]
    rows, columns = {
        "cross": (tgt_tokens, src_tokens),
        "encoder": (src_tokens, src_tokens),
        "decoder": (tgt_tokens, tgt_tokens),
    }[kind]
    picture = HeatMaps(
        title=f"{KINDS[kind][0].upper()}{KINDS[kind][1:]}, each row of weights sums to 1",
        rows=rows,
        columns=columns,
        row_label="input token" if kind != "cross" else "target input token",
        column_label="attended token" if kind != "cross" else "attended source token",
        layers=maps,
    )
    buffer = io.BytesIO()
    draw_heat_maps(picture, buffer, file_format)
    durable.write_bytes(output, buffer.getvalue())
    return Inspection(target, pharaoh(attention.links), len(maps), len(maps[0]))


def sentence_attention(
    loaded: LoadedModel, sentence: str, translation: str
) -> tuple[list[str], list[str], list[list[int]]] | None:
    """The attention to the source when each token of a translation is generated, over heads and two layers.

    Returns: source tokens, target tokens, and for each of the latter weights of 0 to 9, of which the largest is 9.
    None where there is nothing to show: a blank or overlong sentence, or a model without such attention.
    """
    (src,), (tgt,) = loaded.vocabularies.src.encode([sentence]), loaded.vocabularies.tgt.encode([translation])
    if not len(src) or not len(tgt) or max(len(src), len(tgt)) > MAX_TOKENS:
        return None
    try:
        rows = generation_attention(loaded.model, src, tgt)
    except ConfigError:
        return None
    scaled = np.rint(9 * rows / np.maximum(rows.max(axis=1, keepdims=True), 1e-9)).astype(int)
    names = loaded.vocabularies.src.vocabulary, loaded.vocabularies.tgt.vocabulary
    return [names[0][i] for i in src], [names[1][i] for i in tgt], scaled.tolist()
