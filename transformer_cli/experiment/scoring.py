"""Implementation of `score`: log-probabilities of given translations (forced decoding)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from transformer_cli.artifacts.loading import load_model
from transformer_cli.artifacts.target_languages import choose_target
from transformer_cli.data.corpus import read_corpus
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.text import Notify
from transformer_cli.decoding.scoring import Score, perplexity, score_pairs
from transformer_cli.errors import ConfigError
from transformer_cli.runtime import select_device, tune_process


@dataclass(frozen=True)
class ScoredPair:
    """One sentence pair with its score; `tokens` are those of the target, `</s>` included."""

    src: str
    tgt: str
    tokens: list[str]
    score: Score

    def fields(self) -> dict[str, Any]:
        """The pair as a JSON object."""
        return {
            "source": self.src,
            "target": self.tgt,
            "log_prob": self.score.log_prob,
            "perplexity": self.score.perplexity,
            "pieces": self.tokens,
            "token_log_probs": [round(p, 6) for p in self.score.token_log_probs],
        }


@dataclass(frozen=True)
class ScoredText:
    """All pairs; `num_tokens` is the number of target tokens, `</s>` included."""

    pairs: list[ScoredPair]
    num_tokens: int
    perplexity: float


def score_files(
    run: Path,
    files: CorpusFiles,
    batch_tokens: int | None,
    checkpoint: str,
    device: str,
    notify: Notify,
    to: str = "",
) -> ScoredText:
    """Score the pairs of a corpus with a run.

    `to`: target language of a model that has several.

    Raises:
        UserError: files, run or options that cannot be used.
    """
    tune_process()
    text = read_corpus(files)
    for form in text.forms:
        notify(form)
    for note in text.notes:
        notify(f"warning: {note}")
    loaded = load_model(run, select_device(device), checkpoint)
    if batch_tokens is not None and batch_tokens < 1:
        raise ConfigError(f"--batch-tokens {batch_tokens}: must be 1 or more")
    tag = loaded.vocabularies.tag(choose_target(loaded.config, loaded.vocabularies, to, run))
    sources = [np.concatenate([tag, ids]) for ids in loaded.vocabularies.src.encode(text.src)]
    targets = loaded.vocabularies.tgt.encode(text.tgt)
    bound = loaded.config.model.position_limit
    max_length = max(max(len(s), len(t)) for s, t in zip(sources, targets, strict=True)) + 1
    if bound is not None and max_length > bound:
        raise ConfigError(f"a sentence of {max_length} tokens is longer than model.max_positions {bound}")
    tokens = loaded.vocabularies.tgt.vocabulary
    with tqdm(total=len(text), desc="score", unit="line", disable=None, file=sys.stderr) as bar:
        scores = score_pairs(
            loaded.model, sources, targets, batch_tokens or loaded.config.data.batch_tokens, bar.update
        )
    pairs = [
        ScoredPair(s, t, [tokens[i] for i in ids] + ["</s>"], score)
        for s, t, ids, score in zip(text.src, text.tgt, targets, scores, strict=True)
    ]
    return ScoredText(pairs, sum(len(s.token_log_probs) for s in scores), perplexity(scores))
