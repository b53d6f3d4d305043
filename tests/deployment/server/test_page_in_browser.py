"""The page in a real browser, with a server whose translations are predictable (`page_server.py`), and the real one."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import toy_pairs
from page_server import HEADS, LANGUAGES, LAYERS, MODELS, PAGE, PageServer, attention, reverse, serving, translate
from running_server import RunningServer

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")

expect = playwright.expect
PHONE = {"width": 360, "height": 740}
TEXT = "A dog runs.\nTwo children play with a red ball in front of an old house, and she sees them. Where is it?"


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """One tab for all tests; each has a server of its own, and with its port a storage of its own."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=arguments)
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], reduced_motion="reduce")
        context.set_default_timeout(8000)
        yield context.new_page()
        browser.close()


@pytest.fixture
def fake() -> Iterator[PageServer]:
    yield from serving()


@contextmanager
def opened(tab: Any, url: str) -> Iterator[Any]:
    """The page of a server. At the end: no error on the console but refused requests, and no request elsewhere."""
    faults: list[str] = []
    urls: list[str] = []
    listeners = {
        "console": lambda message: faults.append(message.text) if message.type in ("error", "warning") else None,
        "pageerror": lambda error: faults.append(str(error)),
        "request": lambda request: urls.append(request.url),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.emulate_media(color_scheme="light")
    tab.goto(url)
    tab.wait_for_function("() => languages.length")
    yield tab
    tab.goto("about:blank")
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert [fault for fault in faults if not fault.startswith("Failed to load resource")] == []
    assert [other for other in urls if not other.startswith((url, "data:", "about:"))] == []
    assert url in urls


@pytest.fixture
def page(tab: Any, fake: PageServer) -> Iterator[Any]:
    with opened(tab, fake.url) as page:
        yield page


def write(page: Any, text: str) -> None:
    """Write a text and wait for its translation, which Ctrl+Enter requests without waiting for more typing."""
    page.fill("#source", text)
    page.press("#source", "Control+Enter")
    page.wait_for_function("() => shown.q === source.value && shown.sentences.length")


def lit(page: Any, pane: str) -> list[str]:
    return page.locator(f"{pane} .lit").all_text_contents()


# ---------------------------------------------------------------- translation


def test_the_translation_appears_as_one_types(page: Any, fake: PageServer) -> None:
    page.locator("#source").press_sequentially("The dog", delay=15)
    expect(page.locator("#output")).to_contain_text("ehT god")
    assert [body["q"] for body in fake.bodies("/translate")] == ["The dog"], "typing was not debounced"
    (body,) = fake.bodies("/translate")
    assert body["source"] == "en" and body["target"] == "de" and body["model"] == "en-de"
    assert body["alignment"] is body["confidence"] is body["details"] is True
    expect(page.locator("#count")).to_have_text("7 characters")
    page.click("#clear")
    expect(page.locator("#output")).to_be_empty()
    assert len(fake.bodies("/translate")) == 1


@pytest.mark.parametrize("aborts", [True, False])
def test_a_slow_first_answer_does_not_replace_a_newer_one(page: Any, fake: PageServer, aborts: bool) -> None:
    if not aborts:  # the answer arrives, and must be dropped
        page.evaluate("() => { AbortController.prototype.abort = () => {}; }")
    started, answered = threading.Event(), threading.Event()

    def plan(path: str, body: dict[str, Any]) -> None:
        if body.get("q") == "first":
            started.set()
            time.sleep(0.8)
            answered.set()

    fake.plan = plan
    failed: list[str] = []
    page.once("requestfailed", lambda request: failed.append(request.post_data_json["q"]))
    page.fill("#source", "first")
    assert started.wait(5)
    page.fill("#source", "second")
    expect(page.locator("#output")).to_contain_text("dnoces")
    assert answered.wait(5)
    page.wait_for_timeout(150)
    expect(page.locator("#output .text")).to_have_text("dnoces")
    assert failed == (["first"] if aborts else [])


def test_paragraphs_and_characters_outside_the_basic_plane_keep_their_places(page: Any) -> None:
    text = "𝒜 dog 𝓫arks.\n\n  Zwölf \U0001f600 dogs."
    write(page, text)
    assert page.evaluate("translation()") == translate(text, [], 0)["translatedText"]
    assert page.locator(".sentence .text").all_text_contents() == ["𝒜 god skra𝓫.", "flöwZ \U0001f600 sgod."]
    assert page.locator("#mirror").text_content().rstrip("\u200b") == text
    page.locator("#output .word", has_text="sgod").hover()
    assert (lit(page, "#mirror"), lit(page, "#output")) == (["dogs"], ["sgod"])
    expect(page.locator("#count")).to_have_text(f"{len(text)} characters")


def test_the_text_behind_the_text_area_is_set_like_it(page: Any) -> None:
    """Words are lit on a copy of the text: it must break its lines where the text area does."""
    write(page, TEXT * 5)
    names = ["font", "lineHeight", "padding", "letterSpacing", "wordSpacing", "whiteSpace", "wordBreak", "overflowWrap",
             "textAlign", "direction", "unicodeBidi", "tabSize", "textIndent", "hyphens"]  # fmt: skip
    styles, sizes = page.evaluate(
        """names => { const both = [document.getElementById("mirror"), source];
        return [both.map(e => names.map(n => getComputedStyle(e)[n])), both.map(e => [e.clientWidth, e.clientHeight, e.scrollHeight])]; }""",
        names,
    )
    assert dict(zip(names, styles[0], strict=True)) == dict(zip(names, styles[1], strict=True))
    assert sizes[0] == sizes[1]
    assert sizes[1][1] == sizes[1][2], "the text area scrolls"


def test_languages_models_and_direction(page: Any, fake: PageServer) -> None:
    assert page.locator("#from option").all_text_contents() == ["Detect language", "English", "German"]
    assert page.locator("#to option").all_text_contents() == ["German", "Arabic"]
    write(page, "A dog.")
    page.select_option("#model", "en-de-small")
    page.wait_for_function("() => !running && !output.classList.contains('stale')")
    assert fake.bodies("/translate")[-1]["model"] == "en-de-small"
    page.click("#swap")
    expect(page.locator("#source")).to_have_value("A god.")
    expect(page.locator("#output .text")).to_have_text("A dog.")
    last = fake.bodies("/translate")[-1]
    assert (last["source"], last["target"], last["model"]) == ("de", "en", "de-en")
    assert page.get_attribute("#output", "lang") == "en" and page.get_attribute("#source", "lang") == "de"
    page.reload()
    expect(page.locator("#from")).to_have_value("de")
    page.select_option("#from", "en")
    page.select_option("#to", "ar")
    expect(page.locator("#swap")).to_have_attribute("aria-disabled", "true")
    page.click("#swap", force=True)
    expect(page.locator("#from")).to_have_value("en")


def test_the_language_is_detected(page: Any, fake: PageServer) -> None:
    page.select_option("#from", "auto")
    write(page, "A dog.")
    expect(page.locator("#state")).to_contain_text("Detected: German")
    (body,) = fake.bodies("/translate")
    assert body["source"] == "auto" and "model" not in body
    page.locator(".sentence").click()
    expect(page.locator("#alternatives li button")).to_have_count(5)
    page.click("text=Show its attention")
    expect(page.locator("#map svg")).to_be_visible()
    assert fake.bodies("/translate")[-1]["source"] == fake.bodies("/attention")[-1]["source"] == "de"


def test_right_to_left_text(page: Any) -> None:
    write(page, "مرحبا بالعالم.")
    directions = (
        "() => ['source', 'mirror', 'output'].map(id => getComputedStyle(document.getElementById(id)).direction)"
    )
    assert page.evaluate(directions) == ["rtl", "rtl", "rtl"]
    page.locator(".sentence").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert lit(page, "#mirror") == ["بالعالم"]


def test_a_model_that_cannot_align_still_translates(page: Any, fake: PageServer) -> None:
    fake.plan = lambda path, body: (501, {"error": "no alignment"}) if body.get("alignment") else None
    write(page, "A dog.")
    expect(page.locator("#notice")).to_be_hidden()
    write(page, "A cat.")
    assert [body.get("alignment", False) for body in fake.bodies("/translate")] == [True, False, False]


# ---------------------------------------------------------------- the real server


def test_with_a_real_server(tab: Any, server: RunningServer) -> None:
    (first, _), (second, _) = toy_pairs(2, seed=5)
    text = f"{first}\n\n{second}"
    with opened(tab, f"http://127.0.0.1:{server.port}/") as page:
        write(page, text)
        assert page.evaluate("translation()") == server.translate(text)["translatedText"]
        expect(page.locator(".sentence .badge")).to_have_count(2)
        page.locator("#output .word").first.hover()
        expect(page.locator("#output .lit.own")).to_have_count(1)
        page.locator(".sentence").first.click()
        expect(page.locator("#alternatives li button").nth(1)).to_be_visible()
        page.locator("#alternatives li button").nth(1).click()
        expect(page.locator(".sentence .badge").first).to_have_text("chosen")
        page.click("#attention summary")
        expect(page.locator("#heads button")).to_have_count(4)


def test_the_server_of_these_tests_answers_like_the_real_one(server: RunningServer) -> None:
    def fields(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fields(part) for key, part in value.items()}
        return [fields(value[0])] if isinstance(value, list) and value else type(value)

    def get(path: str) -> Any:
        return json.loads(server.request("GET", path)[2])

    ((line, _),) = toy_pairs(1)
    asked = {"alignment": True, "confidence": True, "details": True}
    real, own = server.translate(line, alternatives=2, **asked), translate(line, [], 2)
    assert real["translatedText"] and fields(own["sentences"]) == fields(real["sentences"])
    assert fields(attention(line)) == fields(
        server.post("/attention", {"q": line, "source": "en", "target": "de"})[1]
    )
    assert fields(LANGUAGES) == fields(get("/languages")) and fields(MODELS) == fields(get("/models"))


# ---------------------------------------------------------------- sentences


def test_alternatives_replace_a_sentence(page: Any, fake: PageServer) -> None:
    write(page, TEXT)
    page.locator(".sentence").nth(2).click()
    options = page.locator("#alternatives li button")
    expect(options).to_have_count(5)
    assert fake.bodies("/translate")[-1]["q"] == "Where is it?"
    assert options.first.get_attribute("aria-pressed") == "true"
    options.nth(2).click()
    expect(page.locator("#alternatives")).to_be_hidden()
    chosen = reverse("Where is it?") + " (3)"
    expect(page.locator(".sentence .text").nth(2)).to_have_text(chosen)
    expect(page.locator(".sentence").nth(2)).to_be_focused()
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    expected = reverse(TEXT).replace(reverse("Where is it?"), chosen)
    assert page.evaluate("navigator.clipboard.readText()") == expected
    write(page, TEXT.replace("dog", "cat"))  # the choice stays when other sentences change
    expect(page.locator(".sentence .text").nth(2)).to_have_text(chosen)
    page.locator(".sentence").nth(2).click()
    options.first.click()
    expect(page.locator(".sentence .text").nth(2)).to_have_text(reverse("Where is it?"))


def test_words_that_belong_together_are_lit_under_the_pointer(page: Any) -> None:
    write(page, TEXT)
    page.locator("#output .word", has_text="nerdlihc").hover()
    assert (lit(page, "#mirror"), lit(page, "#output")) == (["children"], ["nerdlihc"])
    box = page.locator("#mirror .word", has_text="ball").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#output .lit")).to_have_text("llab")
    assert lit(page, "#mirror") == ["ball"]
    page.mouse.move(5, 5)
    expect(page.locator(".lit")).to_have_count(0)
    page.locator("#source").press("Control+Home")
    assert (lit(page, "#mirror"), lit(page, "#output")) == (["A"], ["A"]), "the word at the caret"
    page.keyboard.type("x")
    assert not lit(page, "#mirror")


def test_confidence_is_shown_by_colour_pattern_and_text(page: Any) -> None:
    write(page, TEXT.replace("Where is it?", "Where is it now?"))
    assert page.locator(".sentence .badge").all_text_contents() == [
        " high confidence 80 %", " low confidence 10 %", " medium confidence 75 %",
    ]  # fmt: skip
    styles = page.locator(".sentence .text").evaluate_all(
        "all => all.map(e => { const s = getComputedStyle(e); return [s.borderBottomStyle, s.borderBottomColor]; })"
    )
    assert len({style for style, _ in styles}) == len({colour for _, colour in styles}) == 3
    expect(page.locator("#state")).to_contain_text("Confidence: high, medium, low")


def test_keyboard_only(page: Any, fake: PageServer) -> None:
    expect(page.locator("#source")).to_be_focused()
    page.keyboard.type(TEXT)
    page.wait_for_function("() => shown.q === source.value")
    focused = page.locator(":focus")
    page.keyboard.press("Tab")
    expect(page.locator("#clear")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".sentence").first).to_be_focused()
    outline = "e => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)]"
    assert focused.evaluate(outline) == ["solid", 2]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert (lit(page, "#mirror"), lit(page, "#output")) == (["dog"], ["god"])
    expect(page.locator("#status")).to_have_text("god: dog")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".sentence").nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#alternatives li button").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".sentence").nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#alternatives li button").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".sentence .text").nth(2)).to_have_text(reverse("Where is it?") + " (2)")
    page.keyboard.press("Tab")
    expect(page.locator("#copy")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # opens the attention
    expect(page.locator("#map svg")).to_be_visible()
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(page.locator("#kinds input:checked")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#map-title")).to_have_text("Decoder self-attention, layer 3, head 3")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#map-title")).to_have_text("Decoder self-attention, layer 2, head 2")
    page.keyboard.press("Tab")
    expect(page.locator("#map")).to_be_focused()
    before = page.locator("#reading").text_content()
    page.keyboard.press("ArrowDown")
    assert page.locator("#reading").text_content() != before


# ---------------------------------------------------------------- glossary


def test_the_glossary_is_used_and_kept(page: Any, fake: PageServer) -> None:
    page.click("#glossary summary")
    fields = page.locator("#terms input")
    fields.nth(0).fill("dog")
    fields.nth(1).fill("Hund")
    write(page, "A dog.")
    expect(page.locator("#output .text")).to_have_text("A Hund.")
    fields.nth(1).press("Enter")
    expect(fields).to_have_count(4)
    fields.nth(2).fill("incomplete")
    page.reload()
    expect(page.locator("#terms-count")).to_have_text("1 term")
    write(page, "A dog.")
    assert fake.bodies("/translate")[-1]["glossary"] == [{"source": "dog", "target": "Hund"}]
    page.select_option("#to", "ar")  # other languages have a glossary of their own
    expect(page.locator("#output .text")).to_have_text("A god.")
    page.select_option("#to", "de")
    expect(page.locator("#output .text")).to_have_text("A Hund.")
    page.click("#glossary summary")
    page.locator("#terms button").first.click()
    expect(page.locator("#output .text")).to_have_text("A god.")


def test_damaged_storage_is_ignored(page: Any) -> None:
    page.evaluate(
        """() => { localStorage.setItem("transformer-cli.glossary.en-de", '[1, null, {"source": 2}, {"source": "dog", "target": "Hund"}]');
        localStorage.setItem("transformer-cli.choice", "{"); }"""
    )
    page.reload()
    write(page, "A dog.")
    expect(page.locator("#output .text")).to_have_text("A Hund.")


# ---------------------------------------------------------------- attention


def test_attention_as_heat_maps(page: Any, fake: PageServer) -> None:
    write(page, TEXT)
    page.locator(".sentence").nth(2).click()
    page.click("text=Show its attention")
    expect(page.locator("#heads button")).to_have_count(LAYERS * HEADS)
    assert fake.bodies("/attention")[-1]["q"] == "Where is it?"
    assert page.locator("#map svg rect[fill]").count() == 16
    page.click("[aria-label='Layer 3, head 2']")
    expect(page.locator("#map-title")).to_have_text("Cross-attention, layer 3, head 2")
    page.locator("#map svg rect[fill]").nth(5).hover()
    weight = page.evaluate("weights.cross[2][1][1][1]")
    expect(page.locator("#reading")).to_have_text(
        f"To write “si”, the decoder takes {weight:.3f} of its mixture from the value of “is”."
    )
    page.click("#numbers summary")
    expect(page.locator("#table thead th")).to_have_text(["Query", "Where", "is", "it?", "</s>"])
    rows = page.locator("#table tbody tr").evaluate_all(
        "all => all.map(r => [...r.cells].slice(1).map(c => Number(c.textContent)))"
    )
    assert all(abs(sum(row) - 1) < 0.03 for row in rows)
    page.check("[value=decoder]")
    assert page.locator("#map svg rect[fill]").count() == 10, "what comes later is masked"
    page.click("text=Previous sentence")
    expect(page.locator("#chosen")).to_contain_text("Two children")
    page.wait_for_function("() => weights.source_tokens.length === 18")


@pytest.mark.parametrize("status", [422, 501])
def test_a_model_without_attention(page: Any, fake: PageServer, status: int) -> None:
    fake.plan = lambda path, body: (status, {"error": "an rnn"}) if path == "/attention" else None
    write(page, "A dog.")
    page.click("#attention summary")
    expect(page.locator("#absent")).to_have_text("This model has no attention to show: an rnn.")
    expect(page.locator("#inside")).to_be_hidden()


def test_colours_of_weights_differ_in_lightness(page: Any) -> None:
    """A scale that rises in luminance alone can be read with any colour vision, and in grey."""
    luminance = "() => [...Array(21).keys()].map(i => { const [r, g, b] = ramp()(i / 20); return .2126 * r + .7152 * g + .0722 * b; })"
    for scheme, sign in (("light", -1), ("dark", 1)):
        page.emulate_media(color_scheme=scheme)
        values = page.evaluate(luminance)
        assert all(sign * (b - a) > 2 for a, b in itertools.pairwise(values)), scheme


# ---------------------------------------------------------------- failures


def test_a_server_that_asks_for_a_key(page: Any, fake: PageServer) -> None:
    fake.plan = lambda path, body: (
        (401, {"error": "an API key is needed"})
        if path == "/translate" and body.get("api_key") != "secret"
        else None
    )
    page.fill("#source", "A dog.")
    expect(page.locator("#message")).to_have_text("This server asks for an API key: an API key is needed.")
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    expect(page.locator("#message")).to_contain_text("This API key is not accepted")
    page.fill("#key", "secret")
    page.click("text=Use key")
    expect(page.locator("#output .text")).to_have_text("A god.")
    expect(page.locator("#notice")).to_be_hidden()
    page.reload()
    write(page, "A cat.")
    assert page.evaluate("Object.values(localStorage).join()").find("secret") < 0, "the key outlives the tab"


@pytest.mark.parametrize(
    ("status", "text", "clicks"), [(429, "Too many requests", False), (503, "The server is busy", True)]
)
def test_a_server_that_is_overloaded(page: Any, fake: PageServer, status: int, text: str, clicks: bool) -> None:
    busy = True
    fake.plan = lambda path, body: (status, {"error": "slow down"}) if busy and path == "/translate" else None
    page.fill("#source", "A dog.")
    expect(page.locator("#message")).to_have_text(f"{text}: slow down.")
    busy = False
    if clicks:
        page.click("#retry")
    expect(page.locator("#output .text")).to_have_text("A god.")
    expect(page.locator("#notice")).to_be_hidden()


def test_other_refusals(page: Any, fake: PageServer) -> None:
    leads = {400: "does not understand", 413: "too long", 422: "cannot be translated", 500: "The server failed"}
    for status, lead in leads.items():
        fake.plan = lambda path, body, status=status: (status, {"error": "why"}) if path == "/translate" else None
        page.fill("#source", f"A dog {status}.")
        page.press("#source", "Control+Enter")
        expect(page.locator("#message")).to_contain_text(lead)
        expect(page.locator("#message")).to_contain_text(": why.")
    fake.plan = lambda path, body: None
    write(page, "A shorter dog.")
    expect(page.locator("#notice")).to_be_hidden()


def test_a_dead_server(page: Any, fake: PageServer) -> None:
    write(page, "A dog.")
    fake.shutdown()
    fake.server_close()
    page.fill("#source", "A cat.")
    expect(page.locator("#message")).to_have_text("The server does not answer.")
    expect(page.locator("#source")).to_have_value("A cat.")
    for again in serving(fake.port):
        page.click("#retry")
        expect(page.locator("#output .text")).to_have_text("A tac.")
        assert again.bodies("/translate")


def test_a_server_that_starts_late(page: Any, fake: PageServer) -> None:
    late = True
    fake.plan = lambda path, body: (503, {"error": "loading"}) if late and path == "/models" else None
    page.reload()
    expect(page.locator("#message")).to_have_text("The server is busy: loading.")
    page.fill("#source", "A dog.")
    late = False
    expect(page.locator("#output .text")).to_have_text("A god.")


# ---------------------------------------------------------------- hostile text

HOSTILE = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script><b onclick='1'>&amp;</b>"


def test_text_is_never_markup(page: Any, fake: PageServer) -> None:
    def plan(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if path == "/languages":
            return 200, [{"code": "en", "name": HOSTILE, "targets": ["de"]}]
        if path == "/models":
            return 200, [
                {"name": HOSTILE, "source": "en", "target": "de", "architecture": HOSTILE, "engine": HOSTILE}
            ]
        if path == "/attention":
            tokens, weights = [HOSTILE, "</s>"], [[[[0.5, 0.5], [0.5, 0.5]]]]
            return 200, {
                "source_tokens": tokens,
                "target_tokens": tokens,
                "encoder": weights,
                "decoder": weights,
                "cross": weights,
            }
        if "refuse" in body["q"]:
            return 422, {"error": HOSTILE}
        word = [{"text": HOSTILE, "start": 0, "end": len(HOSTILE)}]
        sentence = {"source": HOSTILE, "source_start": 0, "source_end": len(HOSTILE), "translation": HOSTILE, "target_start": 0,
                    "target_end": len(HOSTILE), "score": -1, "confidence": 0.5, "alternatives": [{"text": HOSTILE + "2", "score": -2}],
                    "source_tokens": word, "target_tokens": word, "alignment": [[0, 0]]}  # fmt: skip
        return 200, {"translatedText": HOSTILE, "sentences": [sentence]}

    fake.plan = plan
    page.reload()
    write(page, HOSTILE)
    expect(page.locator(".sentence .text")).to_have_text(HOSTILE)
    page.locator(".sentence").click()
    page.locator("#alternatives li button").nth(1).click()
    expect(page.locator(".sentence .text")).to_have_text(HOSTILE + "2")
    page.click("#attention summary")
    expect(page.locator("#strip")).to_contain_text("<img src=x on")
    page.click("#numbers summary")
    page.fill("#source", "refuse")
    expect(page.locator("#message")).to_contain_text(HOSTILE)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script, main b[onclick]").count() == 0


def test_answers_without_sense_do_no_harm(page: Any, fake: PageServer) -> None:
    sentence = {"translation": "x", "source_start": -5, "source_end": 1e9, "target_start": "a", "target_end": None,
                "source_tokens": [{"start": 9, "end": 2}, {}], "target_tokens": "none", "alignment": [[7, 9]], "alternatives": 3}  # fmt: skip
    answers: list[Any] = [
        {"translatedText": "only text"},
        {"translatedText": "x y", "sentences": [sentence, None, 5]},
        {"sentences": 7},
    ]
    for number, answer in enumerate(answers):
        fake.plan = lambda path, body, answer=answer: (200, answer) if path == "/translate" else None
        page.fill("#source", f"text {number}")
        page.wait_for_function("() => shown.q === source.value")
        assert page.locator("#output").text_content() == answer.get("translatedText", "")


# ---------------------------------------------------------------- looks, and access for everybody


def open_everything(page: Any) -> None:
    write(page, TEXT + " " + "Donaudampfschifffahrt" * 8 + ".")
    page.click("#glossary summary")
    page.click("#attention summary")
    page.wait_for_selector("#map svg")
    page.click("#next")
    page.wait_for_function("() => weights.source_tokens.length === 18")
    page.click("#numbers summary")
    page.locator(".sentence").first.click()
    page.wait_for_selector("#alternatives li")
    page.evaluate("complain(new Failure(401, 'an API key is needed'), () => {})")


def test_nothing_is_wider_than_the_window(page: Any) -> None:
    page.set_viewport_size(PHONE)
    open_everything(page)
    for width in (320, 360, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        page.wait_for_function("width => innerWidth === width", arg=width)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, summary")]
            .filter(e => e.checkVisibility() && e.type !== "radio").map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
            .filter(([, r]) => r.width < 24 || r.height < 24).map(([html]) => html)"""
        )
        assert small == [], f"too small to touch at {width} px"


CONTRAST = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const background = e => { const own = parse(getComputedStyle(e).backgroundColor);
    return own[3] === 1 || !e.parentElement ? own.slice(0, 3) : over(own, background(e.parentElement)); };
  const luminance = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.matches("input, select");
    if (!own || !e.checkVisibility() || e.closest(".sr, #mirror, noscript, script, option")) continue;
    const style = getComputedStyle(e), below = background(e), svg = e instanceof SVGElement;
    const colour = parse(svg ? style.fill : style.color), large = parseFloat(style.fontSize) >= 24;
    found.push([`${e.tagName} ${e.id || e.className} ${e.textContent.slice(0, 30)}`, ratio(over(colour, below), below), large ? 3 : 4.5]);
  }
  const field = document.getElementById("source"), card = background(field);
  found.push(["placeholder", ratio(parse(getComputedStyle(field, "::placeholder").color).slice(0, 3), card), 4.5]);
  for (const e of document.querySelectorAll(".sentence .text")) found.push([`line of ${e.className}`, ratio(parse(getComputedStyle(e).borderBottomColor).slice(0, 3), card), 3]);
  for (const e of document.querySelectorAll("select, #terms input")) found.push(["border", ratio(parse(getComputedStyle(e).borderTopColor).slice(0, 3), card), 3]);
  return found;
}"""


def test_contrast(page: Any) -> None:
    """WCAG AA: 4.5 for text, 3 for large text and for the lines of controls and of confidence."""
    open_everything(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", background)[0]) < 128) == (scheme == "dark")
        found = page.evaluate(CONTRAST)
        assert len(found) > 100
        assert [(name, round(ratio, 2)) for name, ratio, least in found if ratio < least] == [], scheme
        page.evaluate("light(shown.sentences[0], 1, 0)")
        lit_ratio = [ratio for name, ratio, _ in page.evaluate(CONTRAST) if name.startswith("SPAN word lit")]
        assert lit_ratio and min(lit_ratio) > 4.5


def test_every_control_has_a_name_and_a_role(page: Any) -> None:
    """What the browser tells a screen reader, from its accessibility tree."""
    open_everything(page)
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]

    def facts(node: dict[str, Any]) -> tuple[str, str, bool]:
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
        return node["role"]["value"], node.get("name", {}).get("value", ""), bool(properties.get("focusable"))

    controls = [facts(node) for node in nodes if not node.get("ignored")]
    focusable = [(role, name) for role, name, can in controls if can and role != "RootWebArea"]
    assert len(focusable) > 40
    assert [role for role, name in focusable if not name.strip()] == []
    assert not {role for role, _ in focusable} & {"generic", "none"}
    names = [name for _, name in focusable]
    for name in (
        "From",
        "To",
        "Model",
        "Beam size",
        "Text to translate",
        "Swap languages",
        "API key",
        "Layer 2, head 3",
    ):
        assert name in names
    headings = [name for role, name, _ in controls if role == "heading"]
    assert {"transformer-cli", "Attention", "Glossary"} <= set(headings)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_file_stands_alone() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"<style\b", text)) == 1
    assert not re.findall(r"""\s(?:style|on\w+)=["']""", text.split("<script>")[0])
    outside = [
        url for url in re.findall(r"https?://[^\s\"'<>]+", text) if not url.startswith("http://www.w3.org/")
    ]
    assert not outside and "@import" not in text and "url(" not in text
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in text
