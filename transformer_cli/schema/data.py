"""The keys of the section `data`: batches, filters and normalisation."""

from __future__ import annotations

from pathlib import Path
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


LANGUAGE = r"[a-z]{2,3}(?:_[A-Za-z0-9]{2,8})*"
"""Pattern of the code of a language: `de`, `pt_BR`, `zh_Hant`."""
Language = Annotated[str, Field(pattern=f"^{LANGUAGE}$", max_length=30)]


class CorpusConfig(Section):
    """A corpus of one direction: the languages of its sides, and its files."""

    source: Language = key(help="Code of the source language, such as en.")
    target: Language = key(help="Code of the target language.")
    files: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=2)] = key(
        help="Two text files, of source and target, or one file with both."
    )
    both: bool = key(False, "Train also the opposite direction with it.")
    weight: float | None = key(None, "Relative share among the pairs of an epoch; null = by size.", ge=0.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are the same language: {self.source}")
        return self

    @property
    def directions(self) -> list[tuple[str, str]]:
        """(source, target), and the opposite direction if it is trained."""
        return [(self.source, self.target)] + [(self.target, self.source)] * self.both


Corpora = Annotated[tuple[CorpusConfig, ...], Field(strict=False, min_length=1)] | None


class DataConfig(Section):
    """Batches and filters of the training data."""

    corpora: Corpora = key(
        None,
        "Corpora with languages, as --corpus: objects with source, target, files (one or two), and optionally "
        "both (true: also the opposite direction) and weight; null = as the command says.",
        values="list of objects",
    )
    valid_corpora: Corpora = key(
        None,
        "Validation corpora in the same form, as --valid-corpus; null = pairs of each corpus are held out.",
        values="list of objects",
    )

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        weights = [corpus.weight for corpus in self.corpora or ()]
        if any(weight is not None for weight in weights):
            if None in weights:
                raise ValueError("corpora: give all of them a weight, or none")
            if not sum(filter(None, weights)) > 0:
                raise ValueError("corpora: one of them needs a weight above 0")
            if self.mixing != MixingConfig():
                raise ValueError("corpora with a weight cannot be combined with data.mixing: both set the shares")
        if self.valid_corpora and not self.corpora:
            raise ValueError("valid_corpora needs corpora")
        return self

    @property
    def shares(self) -> MixingConfig:
        """The shares of the files: `mixing`, or the weights of `corpora`, one for each direction."""
        weights = [corpus.weight for corpus in self.corpora or () for _ in corpus.directions]
        if not weights or None in weights:
            return self.mixing
        return MixingConfig(weights=tuple(weight for weight in weights if weight is not None))

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """(source, target) of all `corpora`, each once, in order."""
        return tuple(dict.fromkeys(pair for corpus in self.corpora or () for pair in corpus.directions))

    @property
    def target_languages(self) -> tuple[str, ...]:
        """The target languages of `corpora`, each once, in alphabetical order."""
        return tuple(sorted({target for _, target in self.directions}))

    def without_paths(self) -> Self:
        """The same with the names of the files of the corpora, but not their places on a disk."""
        corpora = {
            key: tuple(c.model_copy(update={"files": tuple(Path(name).name for name in c.files)}) for c in given)
            for key, given in (("corpora", self.corpora), ("valid_corpora", self.valid_corpora))
            if given
        }
        return self.model_copy(update=corpora)
