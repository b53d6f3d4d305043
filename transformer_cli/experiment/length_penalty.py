"""Choose the length penalty by the BLEU of beam search on the validation set, after training.

Beam search prefers short translations, the more so the less a model is trained. One exponent does not suit all
models: the best one found on validation sets is between 0.6 and 3 (docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import fmean

import torch

from transformer_cli import durable
from transformer_cli.artifacts.loading import LoadedModel, load_model_source
from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.text import Notify
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.evaluation.metrics import quick_scores
from transformer_cli.experiment.validation import directed_rows, take
from transformer_cli.schema import Config
from transformer_cli.untrusted import read_json_object

LADDER = (0.0, 0.6, 1.0, 1.4, 2.0, 3.0)
"""Length penalties that are tried, one after the other, while BLEU increases."""
START = 2
"""Index in `LADDER` of the first one."""
MIN_GAIN = 0.05
"""BLEU points that the next penalty must gain for the search to continue."""
MARGIN = 0.1
"""BLEU points below the best score that count as equal: of equal penalties the nearest to the start is chosen,
because a gain this small on a validation set does not carry over to other text (docs/log.md)."""
MAX_LINES = 1000
"""Validation pairs that are translated for each penalty."""
MAX_RESULT_BYTES = 1 << 16


def climb(score: Callable[[float], float]) -> dict[float, float]:
    """Walk from the start of `LADDER` upwards, or else downwards, while the score increases.

    Returns:
        The score of each length penalty that was tried.
    """
    scores = {LADDER[START]: score(LADDER[START])}
    for ladder in (LADDER[START + 1 :], LADDER[:START][::-1]):
        best = scores[LADDER[START]]
        for penalty in ladder:
            scores[penalty] = score(penalty)
            if scores[penalty] < best + MIN_GAIN:
                break
            best = scores[penalty]
        if best > scores[LADDER[START]]:  # the other direction leads away
            break
    return scores


def best_penalty(scores: Mapping[float, float]) -> float:
    """The length penalty nearest to the start of `LADDER` whose score is within `MARGIN` of the best one."""
    good = [
        i for i, penalty in enumerate(LADDER) if scores.get(penalty, -math.inf) >= max(scores.values()) - MARGIN
    ]
    return LADDER[min(good, key=lambda i: abs(i - START))]


def tune_length_penalty(
    run: RunDirectory,
    config: Config,
    text: ParallelText,
    device: torch.device,
    notify: Notify,
    is_stopped: Callable[[], bool] = lambda: False,
) -> float | None:
    """Choose the length penalty for the best checkpoint of a run, and write it to the run's configuration.

    The scores are kept in `evaluation/length_penalty.json`; if they are of this checkpoint, nothing is searched.

    Args:
        text: the validation text; at most `MAX_LINES` pairs are used.
        is_stopped: whether the user asked to stop; asked before each search.

    Returns:
        The length penalty; None if there is none to choose: with greedy search, or if the user stopped.
    """
    file = run.evaluation / "length_penalty.json"
    if config.decoding.beam == 1:
        return None
    source = open_model_source(run.path, "best")
    inputs = {"checkpoint": source.checkpoint.name, "beam": config.decoding.beam}
    previous = read_json_object(file, MAX_RESULT_BYTES)
    is_known = all(previous.get(key) == value for key, value in inputs.items())
    if not is_known or previous.get("length_penalty") not in LADDER:
        scores = _search(load_model_source(source, device), text, notify, is_stopped)
        if scores is None:
            return None
        best = best_penalty(scores)
        bleu = {f"{penalty:g}": round(value, 2) for penalty, value in sorted(scores.items())}
        previous = {**inputs, "bleu": bleu, "length_penalty": best}
        durable.make_directory(run.evaluation)
        durable.write_json(file, previous)
        tried = ", ".join(f"{penalty}: {value:.2f}" for penalty, value in bleu.items())
        notify(
            f"length penalty {best:g} chosen; validation BLEU of beam {config.decoding.beam} by penalty: {tried}"
        )
    best = float(previous["length_penalty"])
    if best != config.decoding.length_penalty:
        tuned = config.decoding.model_copy(update={"length_penalty": best})
        run.write_config(config.model_copy(update={"decoding": tuned}))
    return best


def _search(
    loaded: LoadedModel, text: ParallelText, notify: Notify, is_stopped: Callable[[], bool]
) -> dict[float, float] | None:
    """Validation BLEU by length penalty, see `climb`; None if the user stopped."""
    directions = directed_rows(text)
    parts = [(d.target if d else "", rows[: MAX_LINES // len(directions)]) for d, rows in directions]
    notify(
        f"choosing the length penalty by beam search on {sum(len(rows) for _, rows in parts):,} validation pairs"
    )

    def score(penalty: float) -> float:
        if is_stopped():
            return -1.0  # ends the search
        scores = []
        for target, rows in parts:
            request = TranslationRequest(scored=False, to=target)
            translator = loaded.translator({"length_penalty": penalty}, request)
            translations = [t.text for t in translator.translate(take(text.src, rows))]
            scores.append(quick_scores(translations, take(text.tgt, rows))[0])
        return fmean(scores)

    scores = climb(score)
    return None if is_stopped() else scores
