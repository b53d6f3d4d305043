"""Whether another engine translates as we do: the same lines through both, compared word for word."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transformer_cli.artifacts.loading import LoadedModel, Notify, build_translator
from transformer_cli.batch import TokenIds
from transformer_cli.decoding.translator import EXTRA_LENGTH
from transformer_cli.deployment.ctranslate2_spec import import_ctranslate2, longest_sequence
from transformer_cli.errors import DataError, UserError
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.schema import DecodingConfig

PARITY_LINES = 100
"""Lines that both engines translate."""
MIN_IDENTICAL = 0.97
"""Share of lines that must be identical where both compute in float32 (the rest: ties that rounding breaks)."""
MIN_BLEU = 85.0
"""BLEU that the translations of quantized weights must reach against ours."""
PARITY_BEAM = 5
"""Width of the beam search that is compared when the run itself decodes greedily."""
EXPORTED_OPTIONS = ("beam", "length_penalty", "max_length_ratio", "batch_tokens", "precision", "threads", "seed")
"""Options of decoding that an export carries over, or that change no translation."""
NO_PENALTY = 1e-9
"""Length penalty under which CTranslate2 ranks by log-probability; exactly 0 would also change when it stops."""

WHOLE = {"min_decoding_length": 0, "max_input_length": 0}
"""By default it forbids an empty translation, which we do not, and cuts a long line in silence."""


@dataclass(frozen=True)
class Agreement:
    """How far two engines agree on the same lines; `bleu` is of the one against the other."""

    setting: str
    lines: int
    identical: int
    bleu: float

    def __str__(self) -> str:
        return f"{self.setting}: agreement {self.identical}/{self.lines}, BLEU between the two {self.bleu:.2f}"

    def is_sufficient(self, *, exact: bool) -> bool:
        """Whether the export may be believed; `exact`: both engines compute with the same numbers."""
        return self.identical >= MIN_IDENTICAL * self.lines if exact else self.bleu >= MIN_BLEU


@dataclass(frozen=True)
class ParityReport:
    """What was compared, and CTranslate2's length penalty that ranks as the run's does."""

    agreements: list[Agreement]
    length_penalty: float


def check_parity(
    directory: Path, loaded: LoadedModel, lines: Sequence[str], *, exact: bool, notify: Notify
) -> ParityReport:
    """Translate the lines with both engines, greedily and with a beam, ranked by log-probability alone.

    That must agree. How far the translations agree with the run's own length penalty, which CTranslate2 defines
    otherwise, is only told.

    Raises:
        UserError: it does not agree, or CTranslate2 cannot load the directory.
    """
    ours, theirs = ReferenceEngine(loaded), CTranslate2Engine(directory, loaded)
    notify(
        f"proof: {len(lines)} lines by both engines; CTranslate2 computes in {theirs.translator.compute_type} here"
    )
    run = loaded.config.decoding
    wide = run.beam if run.beam > 1 else PARITY_BEAM
    agreements = []
    for setting, beam in (("greedy", 1), (f"beam {wide}", wide)):
        expected = ours.translate(lines, beam, 0.0)
        found = theirs.translate(lines, beam, NO_PENALTY)
        agreements.append(compare(setting, expected, found))
        notify(str(agreements[-1]))
    if not all(agreement.is_sufficient(exact=exact) for agreement in agreements):
        wanted = f"{MIN_IDENTICAL:.0%} identical lines" if exact else f"a BLEU of {MIN_BLEU:.0f} between the two"
        raise UserError(
            f"CTranslate2 does not translate as this model does: {'; '.join(map(str, agreements))}\n"
            f"  at least {wanted} is asked for; nothing was written",
            hint="try another --quantization, or other text: --proof FILE",
        )
    lengths = [len(ids) + 1 for ids in loaded.vocabularies.tgt.encode(expected)]  # EOS counts
    penalty = round(ctranslate2_length_penalty(run.length_penalty, sum(lengths) / len(lengths)), 2)
    plain = DecodingConfig().model_dump()
    lost = [key for key, value in run.model_dump().items() if key not in EXPORTED_OPTIONS and value != plain[key]]
    if lost:
        notify(
            f"note: not carried over, set it in translate_batch: {', '.join(f'decoding.{key}' for key in lost)}"
        )
    setting = f"as deployed (beam {run.beam}, length penalty {run.length_penalty} here, {penalty} there)"
    expected = ours.translate(lines, run.beam, run.length_penalty)
    found = theirs.translate(lines, run.beam, penalty)
    agreements.append(compare(setting, expected, found))
    notify(str(agreements[-1]))
    return ParityReport(agreements, penalty)


def decoding_options(loaded: LoadedModel, length_penalty: float) -> dict[str, Any]:
    """What to give CTranslate2's `translate_batch` so that it decodes as the run does."""
    config = loaded.config
    longest = longest_translation(loaded, config.data.max_length - 1)
    return {
        "beam_size": config.decoding.beam,
        "length_penalty": length_penalty,
        "max_decoding_length": min(longest, longest_sequence(config)),
        **WHOLE,
    }


def ctranslate2_length_penalty(alpha: float, length: float) -> float:
    """The exponent with which CTranslate2 ranks most as we do, near that length.

    We divide by ((5 + length) / 6) ** alpha, they by length ** exponent; the slopes of the logarithms are equal
    where alpha / (5 + length) = exponent / length.
    """
    return alpha * length / (5.0 + length)


def select_lines(lines: Sequence[str], loaded: LoadedModel) -> list[str]:
    """At most `PARITY_LINES`, evenly spaced, none blank and none so long that we would split it.

    Raises:
        DataError: there are none.
    """
    room = loaded.config.data.max_length - 1
    encoded = loaded.vocabularies.src.encode(lines)
    usable = [line for line, ids in zip(lines, encoded, strict=True) if line.strip() and 0 < len(ids) <= room]
    if not usable:
        raise DataError(
            "there is no text to prove the export with",
            hint="give some source sentences: --proof FILE",
        )
    count = min(len(usable), PARITY_LINES)
    return [usable[i * len(usable) // count] for i in range(count)]


class ReferenceEngine:
    """Translations by this program: the reference."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded

    def translate(self, lines: Sequence[str], beam: int, length_penalty: float) -> list[str]:
        """The best translation of each line."""
        run = self.loaded.config.decoding
        # The rest of the options at their defaults: plain search, which is what other engines have too.
        options = DecodingConfig(
            beam=beam,
            length_penalty=length_penalty,
            max_length_ratio=run.max_length_ratio,
            batch_tokens=run.batch_tokens,
        )
        translator = build_translator(self.loaded.config, self.loaded.model, self.loaded.vocabularies, options)
        return [translation.text for translation in translator.translate(lines)]


class CTranslate2Engine:
    """Translations by CTranslate2, of a directory that we have written."""

    def __init__(self, directory: Path, loaded: LoadedModel) -> None:
        """Raises: UserError if CTranslate2 cannot load it."""
        ctranslate2 = import_ctranslate2()
        ctranslate2.set_log_level(logging.ERROR)  # what it computes in is said by us
        self.loaded = loaded
        self.src_pieces = loaded.vocabularies.src.vocabulary
        self.tgt_ids = {piece: i for i, piece in enumerate(loaded.vocabularies.tgt.vocabulary)}
        try:
            self.translator: Any = ctranslate2.Translator(
                str(directory), device="cpu", intra_threads=torch.get_num_threads()
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"CTranslate2 cannot load the export: {error}") from None

    def translate(self, lines: Sequence[str], beam: int, length_penalty: float) -> list[str]:
        """The best translation of each line."""
        encoded = self.loaded.vocabularies.src.encode(lines)
        order = sorted(range(len(lines)), key=lambda i: len(encoded[i]))
        found: dict[int, TokenIds] = {}
        bound = longest_sequence(self.loaded.config)
        # Our limit depends on the source; CTranslate2 takes one for a batch.
        for length, group in groupby(order, key=lambda i: len(encoded[i])):
            rows = list(group)
            results = self.translator.translate_batch(
                [[self.src_pieces[piece] for piece in encoded[i]] for i in rows],
                beam_size=beam,
                length_penalty=length_penalty,
                max_decoding_length=min(bound, longest_translation(self.loaded, length)),
                **WHOLE,
            )
            for i, result in zip(rows, results, strict=True):
                found[i] = np.array([self.tgt_ids[piece] for piece in result.hypotheses[0]], dtype=np.int64)
        texts = self.loaded.vocabularies.tgt.decode([found[i] for i in range(len(lines))])
        return [text.strip() for text in texts]


def longest_translation(loaded: LoadedModel, source: int) -> int:
    """Pieces, without EOS, that a translation of `source` pieces may have."""
    config = loaded.config
    limit = math.ceil(config.decoding.max_length_ratio * source) + EXTRA_LENGTH
    if config.model.positions == "learned":
        limit = min(limit, config.model.max_positions)
    return limit - 1


def compare(setting: str, ours: Sequence[str], theirs: Sequence[str]) -> Agreement:
    """Count the lines whose text is the same, and score theirs against ours."""
    identical = sum(a == b for a, b in zip(ours, theirs, strict=True))
    # BLEU knows no four-grams in very short lines; what is identical is 100.
    bleu = 100.0 if identical == len(ours) else quick_scores(theirs, ours)[0]
    return Agreement(setting, len(ours), identical, bleu)
