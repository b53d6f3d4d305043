"""The keys of the section `data`: batches, filters and normalisation."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from transformer_cli.options import Section, key
from transformer_cli.schema.types import CountOrZero, Fraction


class FiltersConfig(Section):
    """Pairs to exclude. Pairs with a blank side are always excluded.

    `clean` and `check` also use the filters of `CLEANING`, which `train` leaves off by default.
    """

    length_ratio: float = key(
        9.0, "Maximum ratio of the longer to the shorter side, in tokens; 0 = no limit. Only in train.", ge=0.0
    )
    char_ratio: float = key(
        4.0,
        "Maximum factor between the ratio of lengths in characters and the median ratio of the corpus, for pairs "
        "of at least 40 characters; 0 = no limit.",
        ge=0.0,
    )
    max_words: CountOrZero = key(500, "Maximum words of a side; 0 = no limit.")
    truncated: Fraction = key(
        0.5,
        "Exclude pairs if one side lacks the punctuation at the end and has less than this share of the expected "
        "length; 0 = off.",
    )
    header: bool = key(True, "Exclude names of columns in the first line.")
    copies: CountOrZero = key(
        4, "Exclude pairs of at least this many words whose target equals the source; 0 = off."
    )
    duplicates: bool = key(False, "Exclude pairs that repeat an earlier pair word for word.")
    near_duplicates: bool = key(
        False, "Exclude pairs that repeat an earlier pair except for case, punctuation and spaces."
    )
    script: Fraction = key(
        0.3, "Minimum share of the letters of a side that are in the scripts prevailing on that side; 0 = off."
    )
    languages: str | None = key(
        None,
        "Exclude pairs in other languages than these, such as en,de; needs the extra langid.",
        values="two ISO 639 codes",
    )
    swapped: bool = key(True, "Exclude pairs whose source has the words of the target side and vice versa.")
    untranslated: bool = key(True, "Exclude pairs that have the words of one side of the corpus on both sides.")
    numbers: bool = key(
        True, "Exclude pairs if both sides have a number of three or more digits that the other does not have."
    )
    urls: bool = key(True, "Exclude pairs with different numbers of URLs and e-mail addresses.")
    placeholders: bool = key(True, "Exclude pairs with different placeholders, such as {name} or %s.")
    tags: bool = key(True, "Exclude pairs with different tags, such as <b>.")
    repetition: Fraction = key(
        0.5, "Exclude pairs of which a side repeats itself in more than this share of its words; 0 = off."
    )
    damaged: bool = key(
        True, "Exclude pairs with control or replacement characters, or decoded with a wrong encoding."
    )
    overlap: bool = key(
        False,
        "Exclude training pairs that are also in the validation text. clean: in the files of --exclude, always.",
    )
    alignment: Fraction = key(
        0.0,
        "Exclude pairs whose word-alignment score (IBM Model 1) is below this quantile of random pairs; 0 = off.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("char_ratio", "length_ratio"):
            if 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} {getattr(self, name)} would exclude every pair: it must be above 1, or 0"
                )
        return self


CLEANING: dict[str, Any] = {"duplicates": True, "near_duplicates": True, "alignment": 0.9}
"""Filters of `clean` and `check` whose defaults differ from those of `train`."""


class NormalizationConfig(Section):
    """Changes of the text, all off by default. `translate` makes none: its input must be like the corpus."""

    cells: bool = key(False, "Remove the quotation marks of CSV cells around a side, and undouble those inside.")
    encoding: bool = key(False, "Repair text that was decoded with a wrong encoding (mojibake), with ftfy.")
    entities: bool = key(False, "Replace HTML entities, such as &amp;, by their characters.")
    nfc: bool = key(False, "Compose characters and their accents (Unicode NFC).")
    quotes: bool = key(False, "Replace typographic quotation marks and apostrophes by straight ones.")
    spaces: bool = key(False, "Replace every run of white space by one space, and remove invisible characters.")


class NoiseConfig(Section):
    """Random changes of source sentences in training, as users type them; see docs/training.md."""

    share: Fraction = key(0.0, "Share of the source sentences that are changed, anew in each epoch; 0 = off.")
    case: bool = key(True, "Change sentences to lower case or capitals.")
    punctuation: bool = key(True, "Leave out the last punctuation mark, or all.")
    typing: bool = key(True, "Make typing errors: letters exchanged, missing or doubled.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.share and not (self.case or self.punctuation or self.typing):
            raise ValueError("noise.share needs one of case, punctuation and typing")
        return self


class MixingConfig(Section):
    """Shares of several corpora in an epoch: of the --src files, then the --data files, in their order."""

    weights: Annotated[tuple[Annotated[float, Field(ge=0.0)], ...], Field(strict=False)] | None = key(
        None,
        "Relative share of each file among the pairs of an epoch, such as [1, 3]; null = by size.",
        values="numbers of at least 0",
    )
    temperature: float = key(
        1.0,
        "Shares are proportional to size ** (1 / temperature): 1 = by size, 5 = almost equal.",
        ge=1.0,
        le=100.0,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights is not None and not sum(self.weights) > 0:
            raise ValueError("mixing.weights needs a number above 0")
        if self.weights is not None and self.temperature != 1.0:
            raise ValueError("mixing.weights cannot be combined with mixing.temperature: both set the shares")
        return self


class DataConfig(Section):
    """Batches and filters of the training data."""

    max_length: int = key(
        200,
        "Maximum tokens of a sentence: training excludes longer pairs, translation splits longer lines.",
        ge=4,
        le=4096,
    )
    batch_tokens: int = key(4096, "Tokens of the longer side of a training batch, padding included.", ge=16)
    subword_sampling: Fraction = key(
        0.0,
        "Sample a new segmentation each epoch, with this alpha (Kudo 2018): 0.2 is strong, 0.5 mild; 0 = off. "
        "Requires tokenizer.model_type unigram.",
    )
    mixing: MixingConfig = MixingConfig()
    noise: NoiseConfig = NoiseConfig()
    filters: FiltersConfig = FiltersConfig()
    normalization: NormalizationConfig = NormalizationConfig()
