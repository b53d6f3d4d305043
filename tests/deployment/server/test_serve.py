"""The server gives what the command gives, in LibreTranslate's format."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import cli, toy_pairs
from libretranslatepy import LibreTranslateAPI
from running_server import RunningServer

from transformer_cli.deployment.server.models import ModelFile, ServedModel

LINES = [source for source, _ in toy_pairs(40, seed=5)]


@pytest.fixture(scope="module")
def expected(toy_run: Path) -> dict[str, str]:
    """What the command translates each line to."""
    done = cli("translate", toy_run, stdin="".join(line + "\n" for line in LINES).encode())
    return dict(zip(LINES, done.stdout.decode().split("\n"), strict=False))


def test_a_client_of_libretranslate_works(server: RunningServer, expected: dict[str, str]) -> None:
    client = LibreTranslateAPI(f"http://127.0.0.1:{server.port}/")
    assert client.languages() == [
        {"code": "de", "name": "German", "targets": []},
        {"code": "en", "name": "English", "targets": ["de"]},
    ]
    assert client.translate(LINES[0], "en", "de") == expected[LINES[0]]
    assert client.translate(LINES[0], "auto", "de") == expected[LINES[0]]
    assert client.detect(LINES[0]) == [{"language": "en", "confidence": 100.0}]


def test_requests_that_arrive_together_are_translated_like_the_command(
    server: RunningServer, expected: dict[str, str]
) -> None:
    jobs = [LINES[i % 40 : i % 40 + 1 + i % 7] for i in range(120)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda lines: server.translate(lines)["translatedText"], jobs))
    assert answers == [[expected[line] for line in lines] for lines in jobs]


def test_white_space_and_lines_survive(server: RunningServer, expected: dict[str, str]) -> None:
    a, b, c = LINES[:3]
    text = f"\n  {a} {b}\r\n\r\n\t{c}  \n\n"
    answer = server.translate(text, details=True)
    assert answer["translatedText"] == f"\n  {expected[a]} {expected[b]}\r\n\r\n\t{expected[c]}  \n\n"
    (sentences,) = answer["sentences"]
    for sentence, line in zip(sentences, (a, b, c), strict=True):
        assert text[sentence["source_start"] : sentence["source_end"]] == sentence["source"] == line
        place = slice(sentence["target_start"], sentence["target_end"])
        assert answer["translatedText"][place] == sentence["translation"] == expected[line]
    assert server.translate([" ", ""])["translatedText"] == [" ", ""]
    assert server.translate([])["translatedText"] == []


def test_what_can_be_asked(server: RunningServer, toy_run: Path) -> None:
    line = "The cat sees the house today."
    fields = {"alternatives": 2, "alignment": True, "glossary": [{"source": "cat", "target": "Vogel"}]}
    answer = server.translate(line, beam=4, **fields)
    assert "Vogel" in answer["translatedText"] and len(answer["alternatives"]) == 2
    ((sentence,),) = answer["sentences"]
    assert len(sentence["alternatives"]) == 3 and 0 < sentence["confidence"] <= 1
    for side in ("source", "target"):
        text = sentence["source" if side == "source" else "translation"]
        words = sentence[f"{side}_tokens"]
        assert [text[w["start"] : w["end"]] for w in words] == [w["text"] for w in words] == text.split()
    assert sentence["alignment"]
    done = cli("translate", toy_run, "--format", "jsonl", stdin=(line + "\n").encode())
    command = json.loads(done.stdout)
    ((sentence,),) = server.translate(line, confidence=True)["sentences"]
    assert sentence["score"] == pytest.approx(command["score"], abs=1e-3)
    mean = sum(command["token_log_probs"]) / len(command["token_log_probs"])
    assert sentence["confidence"] == pytest.approx(math.exp(mean), abs=1e-3)


def test_answers_are_streamed_in_order(server: RunningServer, expected: dict[str, str]) -> None:
    body = {"q": "\n".join(LINES), "source": "en", "target": "de", "stream": True}
    status, headers, content = server.request("POST", "/translate", body)
    assert status == 200 and headers["content-type"] == "application/x-ndjson"
    answers = [json.loads(line) for line in content.decode().split("\n")[:-1]]
    assert answers == [{"index": i, "translatedText": expected[line]} for i, line in enumerate(LINES)]


def test_attention_weights(server: RunningServer) -> None:
    status, answer = server.post("/attention", {"q": "The cat sees the house.", "source": "en", "target": "de"})
    assert status == 200
    rows = {"encoder": "source", "decoder": "target", "cross": "target"}
    for kind, side in rows.items():
        (layer,) = answer[kind]
        assert len(layer) == 4 and len(layer[0]) == len(answer[f"{side}_tokens"])
        assert sum(layer[0][0]) == pytest.approx(1, abs=0.01)
    assert len(answer["cross"][0][0][0]) == len(answer["source_tokens"])
    for q, status in (("", 422), ("The cat sees the house. " * 20, 422)):
        assert server.post("/attention", {"q": q, "source": "en", "target": "de"})[0] == status


def test_languages_are_those_of_the_training_files(toy_run: Path, tmp_path: Path) -> None:
    for text, name, expected in (
        (str(toy_run), "run", ("en", "de")),
        (f"fr-it={toy_run}", "fr-it", ("fr", "it")),
        (f"best={toy_run}", "best", ("en", "de")),
    ):
        model = ServedModel(ModelFile.parse(text), {}, "cpu")
        assert (model.name, model.source, model.target) == (name, *expected)
    assert ModelFile.parse(f"a={tmp_path}") == ModelFile(tmp_path, "a")
    (tmp_path / "a=b").mkdir()
    assert ModelFile.parse(str(tmp_path / "a=b")).name == ""
