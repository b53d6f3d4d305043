from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from transformer_cli.evaluation.comparison import Duel, Result
from transformer_cli.evaluation.metrics import Score
from transformer_cli.evaluation.report.contents import (
    Attention,
    Example,
    FailureCount,
    Report,
    RunReport,
    word_diff,
)
from transformer_cli.evaluation.report.render import render_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \" ' & {{ 7 * 7 }} {% raw %}"
VOID = {"meta", "br", "img", "link", "input", "hr"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Checks that tags are balanced; collects tags, attributes and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def make_run(name: str, text: str = "ein Hund") -> RunReport:
    attention = Attention(["▁a", text], ["▁ein"], [[9, 0]])
    example = Example(7, text, f"{text} läuft", text, 51.5, note=text, attention=attention)
    return RunReport(
        name=name,
        scores=[Score("BLEU", 30.123, "nrefs:1", 30.2, 1.5), Score("TER", 50.0, "nrefs:1")],
        failures=[FailureCount("Empty", "No text.", 1234, [example]), FailureCount("Copied", "Same.", 0, [])],
        worst=[example],
        best=[Example(1, text, "", " ", 0.0)],
        summary={"parameters": "2 M"},
        data={"pairs": "29,000", text: text},
        filtered={text: 5},
        speed={"sentences per second": "60"},
        versions={"torch": text},
        hashes={"weights": text},
        curves=[
            {"kind": "train", "step": 5, "loss": 2.0, "lr": 0.1, "tokens_per_second": 100.0},
            {"kind": "validation", "step": 10, "loss": 1.5, "bleu": 20.0, "chrf": 40.0},
            {"kind": "validation", "step": text, "loss": [], "bleu": None, "chrf": True},
        ],
        config=f"model: {text}",
        commands=[f"transformer-cli report {text}"],
    )  # fmt: skip


def make_report(*runs: RunReport, text: str = "words") -> Report:
    buckets = [("1–5", 3, [40.0] * len(runs)), ("6–10", 20_000, [30.0] * len(runs))]
    return Report(list(runs), text, 1234, text, buckets, buckets)


def test_it_shows_what_it_is_given() -> None:
    page = Page(render_report(make_report(make_run("mine"))))
    text = " ".join(" ".join(page.text).split())
    for words in ("30.12", "30.20 ± 1.50", "50.00", "Empty", "No text.", "1,234", "100.0 %", "line 7 · chrF 51.5",
                  "29,000", "2 M", "nats per target token", "chrF (0 to 100)", "n=20k", "nrefs:1", "(empty)"):  # fmt: skip
        assert words in text, words
    tokens = [attributes for tag, attributes in page.tags if tag == "button"]
    assert [token["data-weights"] for token in tokens] == ["9 0"] * 2


def test_text_never_becomes_markup() -> None:
    plain, hostile = (Page(render_report(make_report(make_run(t, t), text=t))) for t in ("x", HOSTILE))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in hostile.tags]
    assert " ".join(hostile.text).count("{{ 7 * 7 }}") > 10
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)


def test_it_needs_nothing_from_outside_and_runs_only_its_own_script() -> None:
    text = render_report(make_report(make_run("a"), make_run("b")))
    page = Page(text)
    for tag, attributes in page.tags:
        assert (
            tag not in ("link", "img", "iframe", "object")
            and "src" not in attributes
            and "style" not in attributes
        )
        assert not (attributes.get("href") or "#").lstrip("#").startswith(("http", "/"))
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy and policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert "@import" not in text and "url(http" not in text


def test_links_inside_have_their_targets() -> None:
    page = Page(render_report(make_report(make_run("a"))))
    ids = {attributes.get("id") for _, attributes in page.tags}
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    assert len(links) == 7 and all(link[1:] in ids for link in links)


def test_two_runs_are_beside_each_other_with_their_tests() -> None:
    report = make_report(make_run("first"), make_run("second"))
    scores = [Score("BLEU", 30.123, "s"), Score("TER", 50.0, "s")]
    results = {
        s.name: [Result("first", [s], 30.0, None), Result("second", [s], 31.0, None, 0.0123, None)] for s in scores
    }
    duel = Duel("second", 700, 500, 34, [], [])
    text = render_report(Report(report.runs, "t", 1234, "w", report.lengths, report.frequencies, results, duel))
    assert "+1.00" in text and "0.0123" in text and "better on 700 lines, worse on 500, equal on 34" in text
    assert text == render_report(
        Report(report.runs, "t", 1234, "w", report.lengths, report.frequencies, results, duel)
    )
    assert "first: validation" in text and "second: validation" in text


def test_differences_of_words() -> None:
    reference, translation = word_diff("Ein Hund läuft schnell", "Ein Hund rennt  schnell weg")
    assert reference == [("Ein Hund", False), ("läuft", True), ("schnell", False)]
    assert translation == [("Ein Hund", False), ("rennt", True), ("schnell", False), ("weg", True)]
    assert word_diff("", "a") == ([], [("a", True)])


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_without_scrolling_sideways(width: int, tmp_path: Path) -> None:
    runs = [make_run("first-of-two", "Donaudampfschifffahrt " * 20), make_run("second-of-two", "W" * 300)]
    text = render_report(make_report(*runs))
    # The policy would forbid this script.
    text = re.sub(r"<meta http-equiv[^>]*>", "", text)
    text += (
        "<script>document.querySelector('button').click();"
        "const d = document.documentElement;"
        "d.dataset.result = d.scrollWidth + ' ' + d.clientWidth + ' ' + document.querySelectorAll('.a9').length;</script>"
    )
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={width},800",
        "--dump-dom",
    ]
    done = subprocess.run(
        [*command, f"file://{tmp_path}/report.html"], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'data-result="(\d+) (\d+) (\d+)"', done.stdout)
    assert found, done.stderr[-2000:]
    wide, visible, shaded = map(int, found.groups())
    assert wide <= visible and shaded == 1
