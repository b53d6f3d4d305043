"""Validation during training: loss on the references, BLEU and chrF of greedy translations."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from transformer_cli import durable
from transformer_cli.artifacts.loading import build_translator
from transformer_cli.artifacts.run_directory import RunDirectory, Vocabularies
from transformer_cli.data.batching import sorted_batches
from transformer_cli.data.corpus import ParallelText
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
        request = TranslationRequest(scored=False)
        translator = build_translator(self.config, self.model, self.vocabularies, options, request, graphs=False)
        loss = self._loss()
        translations = [t.text for t in translator.translate(self.text.src)]
        bleu, chrf = quick_scores(translations, self.text.tgt)
        scores = Validation(loss, bleu, chrf)
        durable.make_directory(self.run.samples)
        durable.write_bytes(self.run.samples / f"step_{step:09d}.txt", encode_lines(translations))
        self.notify(
            f"step {step}: loss {loss:.3f}, perplexity {scores.perplexity:.2f}, "
            f"BLEU {bleu:.2f}, chrF {chrf:.2f} (greedy)"
        )
        for i in self._sample_rows():
            self.notify(f"    source      {self.text.src[i]}")
            self.notify(f"    reference   {self.text.tgt[i]}")
            self.notify(f"    translation {translations[i]}")
        return scores

    @torch.no_grad()
    def _loss(self) -> float:
        """Mean negative log-likelihood per target token, in nats."""
        total, tokens = 0.0, 0
        for batch in sorted_batches(self.corpus, self.config.data.batch_tokens):
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
