"""What `train` makes of a corpus is fixed: vocabulary, kept and held-out pairs, token ids, and the batches of each epoch.

The digests were taken when the whole text was still kept in memory. A change of any of them would make runs that were
started earlier impossible to resume, and published results impossible to repeat.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY_RUN, toy_pairs, write_pairs

from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.data import encoding, fingerprint, parallel, survey
from transformer_cli.data.batching import BatchStream
from transformer_cli.data.corpus import read_corpus
from transformer_cli.data.store import load_corpus
from transformer_cli.experiment import texts
from transformer_cli.experiment.training import TrainRequest, run_training
from transformer_cli.training.loop import StopRequest

EXPECTED = json.loads((Path(__file__).parent / "reproducible_data.json").read_text())
UNUSUAL = [
    ("", "leer"), ("blank", " "), ("\u3000", "x"), ("the cat", "the cat"), ("one two three four", "one two three four"),
    ("a " * 40, "kurz"), ("odd\u2028line \x00 end", "\ufeffungerade\x85Zeile"), ("ends here", "endet \u201ehier\u201c &amp; da"),
    ("call 1234567 now", "rufe 7654321 an"), ("привет мир снова здесь", "die Katze sieht das Haus"),
    ("naïve café 😀 “quoted”", "Müßiggang – 漢字"), ("tab\there", "Tab\tda"), ("see www.x.org", "siehe oben"),
]  # fmt: skip
"""Pairs that are excluded, repaired or rare."""


def noisy_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of the toy language, many of them repeated, with unusual ones in between."""
    pairs, rng = toy_pairs(count, seed), random.Random(seed)
    for i in range(0, count, 25):  # misaligned
        pairs[i] = (pairs[i][0], pairs[i - 7][1])
    for i, pair in enumerate(UNUSUAL * 3):
        pairs.insert(rng.randrange(len(pairs)), pair)
        pairs.insert(
            rng.randrange(len(pairs)), (f"number {i * seed} is {pair[0].upper()}", f"Nummer {i * seed} {pair[1]}")
        )
    return pairs


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpora")
    write_pairs(directory, "train", noisy_pairs(1500, 1))
    write_pairs(directory, "more", noisy_pairs(300, 2))
    write_pairs(directory, "valid", noisy_pairs(15, 1)[:40] + toy_pairs(20, 3))
    table = "".join(f'"{s}";"{t}"\n'.replace("\0", "") for s, t in toy_pairs(200, 4))
    (directory / "table.csv").write_text('English;German\n"a ""cell""\nof lines";"x"\n' + table, encoding="utf-8")
    return directory


PLAIN_FILTERS = [
    *(f"data.filters.{name}=false" for name in ("header", "swapped", "untranslated", "numbers", "urls")),
    *(f"data.filters.{name}=false" for name in ("placeholders", "tags", "damaged")),
    *(f"data.filters.{name}=0" for name in ("length_ratio", "char_ratio", "max_words", "truncated", "copies")),
    *(f"data.filters.{name}=0" for name in ("script", "repetition")),
]
ALL_FILTERS = [
    *(f"data.filters.{name}=true" for name in ("duplicates", "near_duplicates", "overlap")),
    "data.filters.alignment=0.9",
]
NORMALIZED = [f"data.normalization.{name}=true" for name in ("entities", "nfc", "quotes", "spaces")]
SCENARIOS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "held out": ({"src": ["train.en"], "tgt": ["train.de"]}, []),
    "filters off": (
        {"src": ["train.en"], "tgt": ["train.de"], "valid_src": "valid.en", "valid_tgt": "valid.de"},
        PLAIN_FILTERS,
    ),
    "all filters": (
        {"src": ["train.en"], "tgt": ["train.de"], "valid_src": "valid.en", "valid_tgt": "valid.de"},
        ALL_FILTERS,
    ),
    "all filters, held out": ({"src": ["more.en", "train.en"], "tgt": ["more.de", "train.de"]}, ALL_FILTERS),
    "two vocabularies": (
        {"src": ["train.en"], "tgt": ["train.de"]},
        ["tokenizer.joint=false", "tokenizer.model_type=bpe", "model.tie_embeddings=decoder", *NORMALIZED],
    ),
    "mixed": (
        {"src": ["train.en", "more.en"], "tgt": ["train.de", "more.de"], "data": ["table.csv"]},
        ["data.mixing.weights=[1,2,1]"],
    ),
    "temperature": (
        {"src": ["more.en"], "tgt": ["more.de"], "data": ["table.csv"], "columns": "English,German"},
        ["data.mixing.temperature=3.0", *NORMALIZED],
    ),
    "subword sampling": ({"src": ["more.en"], "tgt": ["more.de"]}, ["data.subword_sampling=0.3"]),
    "noise": (
        {"src": ["more.en", "train.en"], "tgt": ["more.de", "train.de"]},
        ["data.noise.share=0.4", "data.mixing.weights=[1,1]"],
    ),
}


def digest(*values: Any) -> str:
    """SHA-256 of arrays and strings."""
    state = hashlib.sha256()
    for value in values:
        state.update(value.encode() if isinstance(value, str) else np.asarray(value, dtype="<i8").tobytes())
    return state.hexdigest()[:32]


def train_and_digest(
    directory: Path, run: RunDirectory, scenario: str, monkeypatch: pytest.MonkeyPatch, *more: str, steps: int = 40
) -> dict[str, Any]:
    """Digests of everything that a short training reads and writes, except for weights."""
    files, settings = SCENARIOS[scenario]
    named = {
        name: directory / value if isinstance(value, str) and name != "columns" else value
        for name, value in files.items()
    }
    for name in ("src", "tgt", "data"):
        named[name] = [directory / file for file in files.get(name, ())]
    batches = hashlib.sha256()
    original = BatchStream.__next__

    def record(self: BatchStream) -> Any:
        plan = original(self)
        for side in (plan.src, plan.tgt):
            for row in plan.rows:
                batches.update(np.asarray(side[row], dtype="<i8").tobytes())
        return plan

    monkeypatch.setattr(BatchStream, "__next__", record)
    messages: list[str] = []
    limits = [f"training.max_steps={steps}", "training.validate_every=20", "training.save_every=20"]
    request = TrainRequest(
        run.path, settings=[*TINY_RUN, "tokenizer.vocab_size=230", *limits, *settings, *more], **named
    )
    run_training(request, messages.append, StopRequest())
    manifest = json.loads((run.checkpoints / "last" / "MANIFEST.json").read_text())
    found: dict[str, Any] = {"batches": batches.hexdigest()[:32], "identity": identity_of(manifest)}
    for name in ("train", "valid"):
        corpus = load_corpus(run.data, name, None)
        assert corpus is not None
        found[name] = {
            "pairs": len(corpus),
            "lines": digest(corpus.lines),
            "src": digest(corpus.src.tokens, corpus.src.offsets),
            "tgt": digest(corpus.tgt.tokens, corpus.tgt.offsets),
            "left out": corpus.left_out,
        }
    found["messages"] = digest(*about_data(messages, str(directory)))
    return found


def identity_of(manifest: dict[str, Any]) -> str:
    identity = manifest["identity"]
    return digest(json.dumps({key: identity[key] for key in ("tokenizer", "training text", "validation text")}))


def about_data(messages: Iterable[str], directory: str) -> list[str]:
    """The messages before training, without figures of the machine and without what is done after training."""
    kept = []
    for message in messages:
        if message.startswith(("transformer -> ", "step ")):
            break
        others = ("note: updates run", "largest batch", "  training.tune_length_penalty ")
        if not message.startswith(others):
            kept.append(message.replace(directory, ""))
    return kept


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_prepared_data_is_the_same_as_ever(
    scenario: str, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = train_and_digest(corpora, RunDirectory(tmp_path / "run"), scenario, monkeypatch)
    assert found == EXPECTED[scenario]


def test_prepared_data_does_not_depend_on_processes(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "MIN_TASKS", 1)
    monkeypatch.setattr(parallel, "available_cores", lambda: 3)
    monkeypatch.setattr(encoding, "PART", 1024)
    monkeypatch.setattr(survey, "PART", 400)
    scenario = "all filters, held out"
    found = train_and_digest(corpora, RunDirectory(tmp_path / "run"), scenario, monkeypatch)
    assert found == EXPECTED[scenario]


@pytest.mark.parametrize("scenario", ["held out", "mixed", "noise"])
def test_a_second_start_goes_on_as_the_first_would_have(
    scenario: str, corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is remembered, and read again only if an epoch needs it."""
    monkeypatch.setattr(fingerprint, "SETTLED_SECONDS", -60.0)
    whole, halves = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "halves")
    constant = "optim.schedule=constant"  # others depend on the number of steps
    train_and_digest(corpora, whole, scenario, monkeypatch, constant)
    train_and_digest(corpora, halves, scenario, monkeypatch, constant, steps=20)
    readings = []
    monkeypatch.setattr(
        texts, "read_corpus", lambda *args, **kw: readings.append(args) or read_corpus(*args, **kw)
    )
    train_and_digest(corpora, halves, scenario, monkeypatch, constant)
    assert len(readings) == (scenario == "noise")
    weights = [(run.checkpoints / "last" / "model.safetensors").read_bytes() for run in (whole, halves)]
    assert weights[0] == weights[1]
