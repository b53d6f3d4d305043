"""Implementation of `inspect`: plot the attention weights of one sentence pair."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from transformer_cli import durable
from transformer_cli.artifacts.loading import load_model
from transformer_cli.decoding.alignment import pharaoh
from transformer_cli.decoding.sentence_attention import attend_sentence
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
    run: Path, sentence: str, output: Path, target: str | None, kind: str, checkpoint: str, device: str
) -> Inspection:
    """Plot every layer and head of one kind of attention; without `target`, for the model's translation.

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
    if target is None:
        target = loaded.translator().translate([sentence])[0].text
    vocabularies = loaded.vocabularies
    (src,), (tgt,) = vocabularies.src.encode([sentence]), vocabularies.tgt.encode([target])
    token_bytes = vocabularies.src.token_bytes(), vocabularies.tgt.token_bytes()
    attention = attend_sentence(loaded.model, src, tgt, *token_bytes)
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
