"""Every number and signature of `evaluate` equals that of the `sacrebleu` command, over all options."""

from __future__ import annotations

import contextlib
import io
import json
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import sacrebleu.sacrebleu
from conftest import toy_pairs

from transformer_cli.config import validate_section
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.metrics import corpus_scores
from transformer_cli.schema.evaluation import MetricsConfig

# Its import lets SIGPIPE end the process, also the one of other tests, whose servers write to closed sockets.
signal.signal(signal.SIGPIPE, signal.SIG_IGN)

LINES = 60
SACREBLEU = {
    "chrf_beta": "--chrf-beta",
    "resamples": "--confidence-n",
}
"""Our key -> option of the command, where it is not the key with dashes."""
CASES: list[dict[str, Any]] = [
    {},
    *({"tokenize": name} for name in ("13a", "intl", "zh", "char", "none")),
    {"lowercase": True},
    *({"smooth_method": name} for name in ("floor", "add-k", "none")),
    {"smooth_method": "floor", "smooth_value": 0.3},
    {"smooth_method": "add-k", "smooth_value": 2.0},
    {"chrf_char_order": 4},
    {"chrf_beta": 3},
    {"chrf_whitespace": True},
    {"chrf_lowercase": True},
    {"chrf_eps_smoothing": True},
    {"ter_case_sensitive": True},
    {"ter_normalized": True},
    {"ter_normalized": True, "ter_asian_support": True},
    {"ter_no_punct": True},
    {"ter_no_punct": True, "ter_asian_support": True},
    {"resamples": 20},
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Translations with errors of all kinds, and two references, of which some lines end in spaces."""
    directory = tmp_path_factory.mktemp("texts")
    rng = random.Random(1)
    texts: dict[str, list[str]] = {"hyp": [], "ref1": [], "ref2": []}
    for number, (_, line) in enumerate(toy_pairs(LINES, seed=9)):
        words = line.split()
        other = rng.sample(words, len(words))
        texts["ref1"].append(f"{line} Nr. {number}, „so“ 我们。" + "  " * (number % 2))
        texts["ref2"].append(" ".join(other))
        texts["hyp"].append(
            "" if number == 7 else " ".join(other[:-1]).upper() if number % 9 == 0 else f"{line} {number}。 "
        )
    for name, lines in texts.items():
        (directory / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return directory


def by_command(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the `sacrebleu` command prints, as JSON with two digits."""
    printed = io.BytesIO()
    out = io.TextIOWrapper(printed, encoding="utf-8")

    def opened(number: int, *_: Any, **__: Any) -> Any:
        return out if number == 1 else io.StringIO()

    monkeypatch.setattr(sys, "argv", ["sacrebleu", *arguments, "-w", "2", "-f", "json", "--quiet", "--no-color"])
    monkeypatch.setattr(sacrebleu.sacrebleu, "open", opened, raising=False)
    with contextlib.redirect_stdout(io.StringIO()) as other:
        monkeypatch.setattr(other, "fileno", lambda: 1, raising=False)
        monkeypatch.setattr(sys, "stdin", other)
        sacrebleu.sacrebleu.main()
        out.flush()
    result = json.loads(printed.getvalue())
    return result if isinstance(result, list) else [result]


def test_every_option_is_a_case() -> None:
    assert {key for case in CASES for key in case} == set(MetricsConfig.model_fields)


@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_command(
    case: dict[str, Any], references: int, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [files / f"ref{i + 1}" for i in range(references)]
    options = {"tokenize": "13a", "resamples": 0, **case}
    arguments = [*map(str, refs), "-i", str(files / "hyp"), "-m", "bleu", "chrf", "ter"]
    for key, value in options.items():
        if key != "resamples" and value is not False:
            arguments += [
                SACREBLEU.get(key, f"--{key.replace('_', '-')}"),
                *([] if value is True else [str(value)]),
            ]
    if options["resamples"]:
        arguments += ["--confidence", "--confidence-n", str(options["resamples"])]
    expected = by_command(arguments, monkeypatch)
    expected += by_command([*arguments, "--chrf-word-order", "2"], monkeypatch)[1:2]

    lines = [
        [line.decode() for line in (files / name).read_bytes().split(b"\n")[:-1]]
        for name in ("hyp", *(r.name for r in refs))
    ]
    scores = corpus_scores(lines[0], *lines[1:], config=MetricsConfig.model_validate(options))
    ours = {s.name: (f"{s.value:.2f}", s.signature, s.interval) for s in scores}
    theirs = {e["name"]: (f"{e['score']:.2f}", e["signature"], e.get("confidence", "")) for e in expected}
    assert ours == theirs and list(ours)[:3] == [
        expected[0]["name"],
        expected[1]["name"],
        f"{expected[1]['name']}++",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"smooth_value": 1.0}, "no effect with smooth_method exp"),
        ({"resamples": 1}, "needs two or more"),
        ({"tokenize": "moses"}, "'13a'"),
    ],
)
def test_options_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_section(MetricsConfig, given, "metrics")


def test_large_texts_have_no_intervals() -> None:
    scores = corpus_scores(["a b"] * 301, ["a b"] * 301, config=MetricsConfig(resamples=100_000))
    assert all(score.mean is None and "bs:" not in score.signature for score in scores)
