"""The bodies of requests and answers. They are also the schema at `/openapi.json`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_BEAM = 32
MAX_ALTERNATIVES = 20
MAX_GLOSSARY = 100
"""Entries of the glossary of a request."""

Term = Annotated[str, Field(min_length=1, max_length=200)]


class GlossaryEntry(BaseModel):
    """Where the text has `source`, the translation has `target`."""

    source: Term
    target: Term


class TranslateRequest(BaseModel):
    """Text to translate. The first six fields are those of LibreTranslate."""

    model_config = ConfigDict(extra="ignore")

    q: str | list[str] = Field(description="A text, or a list of texts.")
    source: str = Field(description="Language of the text; `auto`: it is identified.", max_length=40)
    target: str = Field(description="Language of the translation.", max_length=40)
    format: str = Field("text", description="`text`; `html` is not supported.", max_length=40)
    alternatives: int = Field(0, ge=0, le=MAX_ALTERNATIVES, description="Number of further translations.")
    api_key: str | None = Field(None, max_length=1000)
    model: str | None = Field(None, max_length=200, description="Name of a model. Default: by languages.")
    beam: int | None = Field(None, ge=1, le=MAX_BEAM, description="Beam width. Default: that of the model.")
    n_best: int | None = Field(
        None, ge=1, le=MAX_ALTERNATIVES + 1, description="Number of `alternatives` of each sentence."
    )
    glossary: list[GlossaryEntry] = Field([], max_length=MAX_GLOSSARY)
    alignment: bool = Field(False, description="Whether words are aligned.")
    confidence: bool = Field(False, description="Whether sentences have a confidence.")
    details: bool = Field(False, description="Whether the answer has `sentences`.")
    split_sentences: bool = Field(True, description="False: each line is translated as one sentence.")
    stream: bool = Field(
        False, description="Answer with one JSON object per line: for each text of `q`, or for each line of it."
    )


class DocumentRequest(BaseModel):
    """The fields of `DocumentForm` but the document itself."""

    model_config = ConfigDict(extra="ignore")

    source: str = Field(description="Language of the document; `auto`: it is identified.", max_length=40)
    target: str = Field(description="Language of the translation.", max_length=40)
    api_key: str | None = Field(None, max_length=1000)
    model: str | None = Field(None, max_length=200, description="Name of a model. Default: by languages.")
    direct: bool = Field(False, description="Answer with the translated document itself.")


class DocumentForm(DocumentRequest):
    """The form of a document to translate. All fields but `model` and `direct` are those of LibreTranslate."""

    file: Annotated[str, Field(description="The document.", json_schema_extra={"format": "binary"})]


class DocumentAnswer(BaseModel):
    """Where the translated document can be fetched for ten minutes, without a key."""

    translatedFileUrl: str  # noqa: N815


class AttentionRequest(BaseModel):
    """A sentence whose attention weights are wanted."""

    model_config = ConfigDict(extra="ignore")

    q: str = Field(max_length=1000)
    source: str = Field(max_length=40)
    target: str = Field(max_length=40)
    model: str | None = Field(None, max_length=200)
    api_key: str | None = Field(None, max_length=1000)


class DetectRequest(BaseModel):
    """A text whose language is to be identified, as in LibreTranslate."""

    model_config = ConfigDict(extra="ignore")

    q: str
    api_key: str | None = Field(None, max_length=1000)


class DetectedLanguage(BaseModel):
    """`confidence`: from 0 to 100."""

    language: str
    confidence: float


class Alternative(BaseModel):
    text: str
    score: float


class Word(BaseModel):
    """A word, and its place in its sentence, in code points."""

    text: str
    start: int
    end: int


class SentenceDetails(BaseModel):
    """A sentence and its translation. Places are in code points, in the text and in its translation."""

    source: str
    source_start: int
    source_end: int
    translation: str
    target_start: int
    target_end: int
    score: float = Field(description="Length-normalised log-probability.")
    confidence: float | None = Field(None, description="From 0 to 1.")
    alternatives: list[Alternative] = []
    source_tokens: list[Word] | None = None
    target_tokens: list[Word] | None = None
    alignment: list[tuple[int, int]] | None = Field(None, description="Pairs (source word, target word).")


class TranslateAnswer(BaseModel):
    """The fields of LibreTranslate, and `sentences` on request. Lists if `q` is a list."""

    translatedText: str | list[str]  # noqa: N815
    alternatives: list[Any] | None = None
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = None  # noqa: N815
    sentences: list[list[SentenceDetails]] | None = None


class AttentionAnswer(BaseModel):
    """Attention weights `[layer][head][row][column]`: rows attend to columns."""

    source_tokens: list[str]
    target_tokens: list[str]
    encoder: list[list[list[list[float]]]]
    decoder: list[list[list[list[float]]]]
    cross: list[list[list[list[float]]]]


class Language(BaseModel):
    code: str
    name: str
    targets: list[str]


class ModelFacts(BaseModel):
    name: str
    source: str
    target: str
    architecture: str
    engine: str


class ErrorAnswer(BaseModel):
    error: str
