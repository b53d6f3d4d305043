"""The work behind `inspect`: attention weights of one sentence, drawn.

Shapes: H heads, S source and T target pieces.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from transformer_cli import durable
from transformer_cli.artifacts.loading import load_model
from transformer_cli.decoding.alignment import align_words, attention_maps, cross_attention, pharaoh
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.evaluation.plots import HeatMaps, draw_heat_maps
from transformer_cli.runtime import select_device, tune_process

KINDS = {
    "cross": "attention of target to source",
    "encoder": "self-attention of the encoder",
    "decoder": "self-attention of the decoder",
}
LONGEST = 60
"""Pieces of a side that a picture can show so that one can read them."""


@dataclass(frozen=True)
class Inspection:
    """What was drawn, and the word alignment that alignment tools would read from it."""

    translation: str
    alignment: str
    layers: int
    heads: int


def draw_attention(
    run: Path, sentence: str, output: Path, target: str | None, kind: str, checkpoint: str, device: str
) -> Inspection:
    """Draw every layer and head of one kind of attention.

    Raises:
        ConfigError: unknown kind or file type, a model without such attention. DataError: nothing to draw.
    """
    if kind not in KINDS:
        raise ConfigError(f"--kind {kind}: unknown; known: {', '.join(KINDS)}")
    form = output.suffix.lstrip(".").lower()
    if form not in ("png", "svg", "pdf"):
        raise ConfigError(f"{output}: a picture is .png, .svg or .pdf")
    tune_process()
    loaded = load_model(run, select_device(device), checkpoint)
    if target is None:
        target = loaded.translator().translate([sentence])[0].text
    (src,), (tgt,) = loaded.vocabularies.src.encode([sentence]), loaded.vocabularies.tgt.encode([target])
    if not len(src) or not len(tgt):
        raise DataError("there is nothing to draw: the sentence or its translation is blank")
    if max(len(src), len(tgt)) > LONGEST:
        raise DataError(f"the sentence has {max(len(src), len(tgt))} pieces; a picture holds {LONGEST}")
    found = attention_maps(loaded.model, [src], [tgt])
    maps = {name: weights[0].float().cpu().numpy() for name, weights in found.items() if _kind_of(name) == kind}
    if not maps:
        raise ConfigError(f"this model has no {KINDS[kind]}")
    src_names = [*(loaded.vocabularies.src.vocabulary[i] for i in src), "</s>"]
    tgt_names = ["<s>", *(loaded.vocabularies.tgt.vocabulary[i] for i in tgt)]
    rows, columns = {
        "cross": (tgt_names, src_names),
        "encoder": (src_names, src_names),
        "decoder": (tgt_names, tgt_names),
    }[kind]
    picture = HeatMaps(
        title=f"{KINDS[kind][0].upper()}{KINDS[kind][1:]}, each row of weights sums to 1",
        rows=rows,
        columns=columns,
        row_label="piece read" if kind != "cross" else "target piece read",
        column_label="piece attended to" if kind != "cross" else "source piece attended to",
        layers=list(maps.values()),
    )
    buffer = io.BytesIO()
    draw_heat_maps(picture, buffer, form)
    durable.write_bytes(output, buffer.getvalue())
    links: list[tuple[int, int]] = []
    if any(_kind_of(name) == "cross" for name in found):
        token_bytes = loaded.vocabularies.src.token_bytes(), loaded.vocabularies.tgt.token_bytes()
        (weights,) = cross_attention(loaded.model, [src], [tgt])
        links = align_words(weights, [token_bytes[0][i] for i in src], [token_bytes[1][i] for i in tgt])
    first = next(iter(maps.values()))
    return Inspection(target, pharaoh(links), len(maps), len(first))


def _kind_of(layer: str) -> str:
    return "cross" if layer.endswith("cross_attention") else layer.split(".")[0]
