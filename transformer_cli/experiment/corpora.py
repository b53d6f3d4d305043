"""Corpora with their languages: from the command line and from the configuration to files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer_cli.data.directions import DirectedFiles, Direction
from transformer_cli.errors import ConfigError
from transformer_cli.schema.data import LANGUAGE, CorpusConfig, DataConfig

CORPUS = re.compile(rf"({LANGUAGE})([-+])({LANGUAGE})=(.+)", re.DOTALL)
FORM = "en-de=train.en,train.de or en-de=train.tsv; en+de=... also trains from de to en"


def corpora_settings(corpora: Sequence[str], valid_corpora: Sequence[str]) -> list[str]:
    """The settings of the options --corpus and --valid-corpus, such as `en-de=train.en,train.de`.

    Raises:
        ConfigError: another form.
    """
    given = {"corpora": ("--corpus", corpora), "valid_corpora": ("--valid-corpus", valid_corpora)}
    return [
        f"data.{key}={json.dumps([_parse(option, text) for text in texts], ensure_ascii=False)}"
        for key, (option, texts) in given.items()
        if texts
    ]


def _parse(option: str, text: str) -> dict[str, Any]:
    match = CORPUS.fullmatch(text)
    files = match[4].split(",") if match else []
    if match is None or len(files) > 2 or not all(files):
        raise ConfigError(f"{option} {text}: is not LANGUAGE-LANGUAGE=FILE,FILE", hint=f"for example: {FORM}")
    corpus: dict[str, Any] = {"source": match[1], "target": match[3], "files": files}
    return {**corpus, "both": True} if match[2] == "+" else corpus


def directed_files(corpora: Sequence[CorpusConfig] | None) -> list[DirectedFiles]:
    """The files of each direction of each corpus, in order."""
    directed = []
    for corpus in corpora or ():
        files = tuple(map(Path, corpus.files))
        direction, *opposite = (Direction(*pair) for pair in corpus.directions)
        directed.append(DirectedFiles(direction, files))
        directed += [DirectedFiles(one, files[::-1], swapped=len(files) == 1) for one in opposite]
    return directed


def require_targets(config: DataConfig) -> None:
    """Raises: ConfigError: a validation corpus is translated into a language that is not trained."""
    known = config.target_languages
    for corpus in directed_files(config.valid_corpora):
        if corpus.direction.target not in known:
            raise ConfigError(
                f"data.valid_corpora: {corpus.direction} translates into a language without a training corpus",
                hint=f"target languages: {', '.join(known)}",
            )
