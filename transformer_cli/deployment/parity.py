"""Parity check of an export: translate the same lines with both engines and compare the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_cli.artifacts.loading import LoadedModel, build_translator
from transformer_cli.data.text import Notify
from transformer_cli.decoding.segments import longest_translation
from transformer_cli.deployment.ctranslate2_engine import (
    BASE_OPTIONS,
    NO_PENALTY,
    SUPPORTED_OPTIONS,
    CTranslate2Model,
    as_ids,
)
from transformer_cli.deployment.ctranslate2_support import longest_sequence
from transformer_cli.errors import DataError, UserError
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.schema import Config, DecodingConfig

PARITY_LINES = 100
"""Maximum number of lines that both engines translate."""
MIN_IDENTICAL = 0.97
"""Required share of identical lines if both compute in float32; the rest allows for ties broken by rounding."""
MIN_BLEU = 85.0
"""Required BLEU of translations with quantized weights, against those of this program."""
PARITY_BEAM = 5
"""Beam width of the comparison if the run itself decodes greedily."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two engines on the same lines; `bleu` scores one against the other."""

    setting: str
    lines: int
    identical: int
    bleu: float

    def __str__(self) -> str:
        return f"{self.setting}: agreement {self.identical}/{self.lines}, BLEU between the two {self.bleu:.2f}"

    def is_sufficient(self, *, exact: bool) -> bool:
        """Whether the agreement meets the threshold; `exact`: both engines use the same weights."""
        return self.identical >= MIN_IDENTICAL * self.lines if exact else self.bleu >= MIN_BLEU


@dataclass(frozen=True)
class ParityReport:
    """The comparisons, and the CTranslate2 length penalty that matches the run's."""

    agreements: list[Agreement]
    length_penalty: float


def check_parity(
    directory: Path, loaded: LoadedModel, lines: Sequence[str], *, exact: bool, notify: Notify
) -> ParityReport:
    """Translate the lines with both engines, greedily and with beam search, ranked by log-probability.

    These translations must agree. The agreement with the run's length penalty, which CTranslate2 defines
    differently, is only reported.

    Raises:
        UserError: the translations do not agree, or CTranslate2 cannot load the directory.
    """
    reference, exported = ReferenceEngine(loaded), ExportedEngine(directory, loaded)
    notify(
        f"parity check: {len(lines)} lines with both engines; CTranslate2 computes in "
        f"{exported.compute_type} on this machine"
    )
    run = loaded.config.decoding
    wide = run.beam if run.beam > 1 else PARITY_BEAM
    agreements = []
    for setting, beam in (("greedy", 1), (f"beam {wide}", wide)):
        expected = reference.translate(lines, beam, 0.0)
        actual = exported.translate(lines, beam, NO_PENALTY)
        agreements.append(compare(setting, expected, actual))
        notify(str(agreements[-1]))
    if not all(agreement.is_sufficient(exact=exact) for agreement in agreements):
        required = f"{MIN_IDENTICAL:.0%} identical lines" if exact else f"a BLEU of {MIN_BLEU:.0f} between the two"
        raise UserError(
            f"the CTranslate2 export gives different translations: {'; '.join(map(str, agreements))}\n"
            f"  at least {required} is required; nothing was written",
            hint="try another --quantization, or other text: --proof FILE",
        )
    lengths = [len(ids) + 1 for ids in loaded.vocabularies.tgt.encode(expected)]  # EOS counts
    penalty = round(ctranslate2_length_penalty(run.length_penalty, sum(lengths) / len(lengths)), 2)
    defaults = DecodingConfig().model_dump()
    lost = [
        key for key, value in run.model_dump().items() if key not in SUPPORTED_OPTIONS and value != defaults[key]
    ]
    if lost:
        keys = ", ".join(f"decoding.{key}" for key in lost)
        notify(f"note: the export does not include {keys}; set equivalent options of translate_batch")
    setting = f"as deployed (beam {run.beam}, length penalty {run.length_penalty}, {penalty} in CTranslate2)"
    expected = reference.translate(lines, run.beam, run.length_penalty)
    actual = exported.translate(lines, run.beam, penalty)
    agreements.append(compare(setting, expected, actual))
    notify(str(agreements[-1]))
    return ParityReport(agreements, penalty)


def decoding_options(loaded: LoadedModel, length_penalty: float) -> dict[str, Any]:
    """Arguments for CTranslate2's `translate_batch` that decode like the run."""
    config = loaded.config
    return {
        "beam_size": config.decoding.beam,
        "length_penalty": length_penalty,
        "max_decoding_length": longest_sequence_of(config, config.data.max_length - 1),
        **BASE_OPTIONS,
    }


def longest_sequence_of(config: Config, source: int) -> int:
    """Maximum tokens, without EOS, of the exported model's translation of `source` tokens."""
    longest = longest_translation(source, config.decoding.max_length_ratio, config.model.position_limit)
    return min(longest - 1, longest_sequence(config))


def ctranslate2_length_penalty(alpha: float, length: float) -> float:
    """The exponent with which CTranslate2 ranks most similarly, for translations of about this length.

    This program divides the log-probability by ((5 + length) / 6) ** alpha, CTranslate2 by length ** exponent.
    The slopes of the logarithms are equal where alpha / (5 + length) = exponent / length.
    """
    return alpha * length / (5.0 + length)


def select_lines(lines: Sequence[str], loaded: LoadedModel) -> list[str]:
    """Select at most `PARITY_LINES` evenly spaced lines that are not blank and fit into one segment.

    Raises:
        DataError: there are none.
    """
    max_tokens = loaded.config.data.max_length - 1
    encoded = loaded.vocabularies.src.encode(lines)
    usable = [
        line for line, ids in zip(lines, encoded, strict=True) if line.strip() and 0 < len(ids) <= max_tokens
    ]
    if not usable:
        raise DataError(
            "there is no text to verify the export with",
            hint="give some source sentences: --proof FILE",
        )
    count = min(len(usable), PARITY_LINES)
    return [usable[i * len(usable) // count] for i in range(count)]


class ReferenceEngine:
    """Translates with this program: the reference."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded

    def translate(self, lines: Sequence[str], beam: int, length_penalty: float) -> list[str]:
        """Return the best translation of each line."""
        run = self.loaded.config.decoding
        # All other options have their defaults: plain search, which both engines implement.
        options = DecodingConfig(
            beam=beam,
            length_penalty=length_penalty,
            max_length_ratio=run.max_length_ratio,
            batch_tokens=run.batch_tokens,
        )
        translator = build_translator(self.loaded.config, self.loaded.model, self.loaded.vocabularies, options)
        return [translation.text for translation in translator.translate(lines)]


class ExportedEngine:
    """Translates with CTranslate2 and an exported directory."""

    def __init__(self, directory: Path, loaded: LoadedModel) -> None:
        """Raises: UserError if CTranslate2 cannot load it."""
        self.loaded = loaded
        self.model = CTranslate2Model(directory, loaded.vocabularies, "default", threads=0)

    @property
    def compute_type(self) -> str:
        return str(self.model.translator.compute_type)

    def translate(self, lines: Sequence[str], beam: int, length_penalty: float) -> list[str]:
        """Return the best translation of each line, ranked with CTranslate2's length penalty."""
        sources = self.loaded.vocabularies.src.encode(lines)
        found = self.model.search(
            sources,
            [longest_sequence_of(self.loaded.config, len(ids)) for ids in sources],
            beam=beam,
            length_penalty=length_penalty,
        )
        texts = self.loaded.vocabularies.tgt.decode([as_ids(hypotheses[0][0]) for hypotheses in found])
        return [text.strip() for text in texts]


def compare(setting: str, expected: Sequence[str], actual: Sequence[str]) -> Agreement:
    """Count the identical lines, and score `actual` against `expected`."""
    identical = sum(a == b for a, b in zip(expected, actual, strict=True))
    # BLEU of identical lines is below 100 if they are too short for four-grams.
    bleu = 100.0 if identical == len(expected) else quick_scores(actual, expected)[0]
    return Agreement(setting, len(expected), identical, bleu)
