"""Validation during training: loss on the references, BLEU and chrF of greedy translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from transformer_cli import durable
from transformer_cli.artifacts.loading import build_translator
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies
from transformer_cli.data.batching import sorted_batches
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.directions import Direction
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.data.text import Notify, encode_lines
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import Config, DecodingConfig
from transformer_cli.training.loop import Validation
from transformer_cli.training.loss import label_smoothed_cross_entropy

SAMPLES = 3
"""Number of translations in the log of each validation."""


@dataclass
class Validator:
    """Compute loss, BLEU and chrF on the validation set; log some translations and write all to `samples/`."""

    run: RunDirectory
    config: Config
    model: Seq2Seq
    vocabularies: Vocabularies
    text: ParallelText
    corpus: EncodedCorpus
    device: torch.device
    notify: Notify

    def __call__(self, step: int) -> Validation:
        # Greedy search takes a third of the time of beam search and ranks checkpoints in the same order.
        options = DecodingConfig(
            beam=1,
            max_length_ratio=self.config.decoding.max_length_ratio,
            batch_tokens=self.config.decoding.batch_tokens,
            compiled="never",  # so that a resumed run scores as the interrupted one
        )
        translations: list[str] = []
        directions: dict[str, Validation] = {}
        rows_of = directed_rows(self.text)
        for direction, rows in rows_of:
            request = TranslationRequest(scored=False, to=direction.target if direction else "")
            translator = build_translator(
                self.config, self.model, self.vocabularies, options, request, graphs=False
            )
            found = [t.text for t in translator.translate(take(self.text.src, rows))]
            bleu, chrf = quick_scores(found, take(self.text.tgt, rows))
            directions[str(direction)] = Validation(self._loss(rows), bleu, chrf)
            translations += found
        translations = in_order(translations, rows_of)
        several = len(directions) > 1
        scores = Validation.mean(directions) if several else next(iter(directions.values()))
        durable.make_directory(self.run.samples)
        durable.write_bytes(self.run.samples / f"step_{step:09d}.txt", encode_lines(translations))
        for name, part in directions.items() if several else ():
            self.notify(f"step {step}: {name}: {_describe(part)}")
        self.notify(f"step {step}: {'mean: ' * several}{_describe(scores)} (greedy)")
        for i in self._sample_rows():
            self.notify(f"    source      {self.text.src[i]}")
            self.notify(f"    reference   {self.text.tgt[i]}")
            self.notify(f"    translation {translations[i]}")
        return scores

    @torch.no_grad()
    def _loss(self, rows: Sequence[int]) -> float:
        """Mean negative log-likelihood per target token of the pairs in these rows of the text, in nats."""
        total, tokens = 0.0, 0
        corpus = self.corpus
        if len(rows) < len(self.text):
            corpus = corpus.select(np.flatnonzero(np.isin(corpus.lines, rows)))
        for batch in sorted_batches(corpus, self.config.data.batch_tokens):
            on_device = batch.to(self.device)
            states = self.model(on_device)
            _, nll = label_smoothed_cross_entropy(states, self.model.output_weight, on_device.tgt_out, 0.0)
            total += float(nll)
            tokens += batch.tokens
        return total / tokens

    def _sample_rows(self) -> list[int]:
        """`SAMPLES` evenly spaced rows that are not blank."""
        rows = [i for i, line in enumerate(self.text.src) if line.strip()]
        return rows[:: max(1, len(rows) // SAMPLES)][:SAMPLES]


def _describe(scores: Validation) -> str:
    losses = f"loss {scores.loss:.3f}, perplexity {scores.perplexity:.2f}"
    return f"{losses}, BLEU {scores.bleu:.2f}, chrF {scores.chrf:.2f}"


def directed_rows(text: ParallelText) -> list[tuple[Direction | None, list[int]]]:
    """The rows of each direction of a text; those of all its pairs if no directions are given."""
    rows: dict[Direction | None, list[int]] = {}
    for direction, _, part in text.direction_rows():
        if len(part):
            rows.setdefault(direction, []).extend(part)
    return list(rows.items())


def take(lines: Sequence[str], rows: Sequence[int]) -> list[str]:
    """The lines in these rows."""
    return [lines[row] for row in rows]


def in_order(lines: Sequence[str], directions: Sequence[tuple[Direction | None, Sequence[int]]]) -> list[str]:
    """The lines of one direction after the other, in the order of the text."""
    rows = [row for _, part in directions for row in part]
    return [line for _, line in sorted(zip(rows, lines, strict=True))]
