#!/usr/bin/env python
"""Measure `decoding.protect`: how many items a run keeps exactly, and what happens to the text around them.

scripts/measure_protection.py RUN --src val.en --ref val.de [--beam 5] [--lines 1000]

Every line of the text gets one to three items: URLs, e-mail addresses, numbers, placeholders, or a pair of tags
around some words. Kept: the translation has the item exactly, as often as the source. BLEU of planted lines is
that of the translations without their items.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

import torch

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.engines import torch_translator
from transformer_cli.deployment.protection.items import find_items, missing_items
from transformer_cli.deployment.protection.placement import remove_items
from transformer_cli.evaluation.metrics import corpus_scores

WORDS = ("shop", "news", "mail", "cafe", "river", "garden", "north", "studio", "basket", "lamp")
NAMES = ("name", "count", "user", "city", "date", "0", "1", "price")
TAGS = ("b", "i", "em", "strong", "u")


def make_item(kind: str, rng: random.Random) -> str:
    """A random item."""
    word, other, number = rng.choice(WORDS), rng.choice(WORDS), rng.randrange(10_000)
    choices = {
        "url": [
            f"https://www.{word}.org/{other}",
            f"http://{word}-{other}.com/a?id={number}&x={other}",
            f"www.{word}{number}.net",
        ],
        "e-mail": [f"{word}@{other}.org", f"{word}.{other}{number % 100}@mail.{other}.co.uk"],
        "number": [
            f"{number}",
            f"{number:,}.50",
            f"{1900 + number % 125}",
            f"{number % 24}:{number % 60:02d}",
            f"${number}",
            f"{number % 100}%",
            f"{2000 + number % 30}-{1 + number % 12:02d}-{1 + number % 28:02d}",
            f"{number % 90 + 10},{number % 1000:03d},{number % 997:03d}",
        ],
        "placeholder": [f"{{{rng.choice(NAMES)}}}", f"{{{{{rng.choice(NAMES)}}}}}", f"${{{rng.choice(NAMES)}}}"],
        "printf": ["%s", "%d", f"%({rng.choice(NAMES)})s", f"%{1 + number % 3}$s"],
    }
    return rng.choice(choices[kind])


def plant(line: str, number: int, rng: random.Random) -> tuple[str, str]:
    """(kind, the line with items of this kind): inside, at the beginning, at the end, or around words."""
    kind = ("url", "e-mail", "number", "placeholder", "printf", "tags")[number % 6]
    words = line.split()
    if kind == "tags":
        for _ in range(rng.choice((1, 1, 2))):
            start = rng.randrange(len(words))
            end = min(len(words) - 1, start + rng.randrange(3))
            tag = rng.choice(TAGS)
            words[start] = f"<{tag}>{words[start]}"
            words[end] += f"</{tag}>"
        return kind, " ".join(words)
    for _ in range(rng.choice((1, 1, 2, 3))):
        item = make_item(kind, rng)
        place = rng.randrange(4)
        if place == 0:
            words.insert(0, f"{item}:")
        elif place == 1:
            words[-1] = f"{words[-1].rstrip('.')} ({item})."
        else:
            words.insert(rng.randrange(1, len(words)), item)
    return kind, " ".join(words)


def without_items(text: str) -> str:
    """A translation without its items."""
    return remove_items(text, find_items(text)).text.strip()


def report(name: str, planted: list[tuple[str, str]], outputs: list[str], references: list[str]) -> None:
    """Print the share of items kept by kind, the lines with all items, and BLEU of the text around them."""
    total: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    complete = 0
    for (kind, line), output in zip(planted, outputs, strict=True):
        items = find_items(line)
        missing = missing_items(output, items)
        total[kind] += len(items)
        kept[kind] += len(items) - len(missing)
        complete += not missing
    bleu = corpus_scores([without_items(o) for o in outputs], references)[0].value
    shares = ", ".join(f"{kind} {kept[kind]}/{total[kind]}" for kind in total)
    print(
        f"{name}: kept {sum(kept.values())} of {sum(total.values())} items "
        f"({100 * sum(kept.values()) / sum(total.values()):.2f} %), lines {complete} of {len(planted)}, "
        f"BLEU around items {bleu:.2f}; {shares}"
    )


def translate(loaded: LoadedModel, lines: list[str], beam: int, protect: bool) -> list[str]:
    """Translations with or without protection."""
    options = {"beam": beam, "protect": protect}
    return [t.text for t in torch_translator(loaded, options, TranslationRequest(scored=False)).translate(lines)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--src", type=Path, required=True)
    parser.add_argument("--ref", type=Path, required=True)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="directory for the planted text and its translations")
    arguments = parser.parse_args()
    loaded = load_model(arguments.run, torch.device("cpu"))
    src = arguments.src.read_text(encoding="utf-8").split("\n")[:-1]
    ref = arguments.ref.read_text(encoding="utf-8").split("\n")[:-1]
    rng = random.Random(arguments.seed)
    planted = [plant(line, i, rng) for i, line in enumerate(src[: arguments.lines])]
    lines = [line for _, line in planted]
    clean = {p: translate(loaded, src, arguments.beam, p) for p in (False, True)}
    for protect in (False, True):
        name = "with protection" if protect else "without protection"
        outputs = translate(loaded, lines, arguments.beam, protect)
        report(name, planted, outputs, ref[: len(lines)])
        print(f"{name}: BLEU of the clean text {corpus_scores(clean[protect], ref)[0].value:.2f}")
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            (arguments.output / f"{name.replace(' ', '_')}.txt").write_text("\n".join(outputs) + "\n")
            (arguments.output / "source.txt").write_text("\n".join(lines) + "\n")
    same = sum(a == b for a, b in zip(clean[False], clean[True], strict=True))
    with_items = sum(bool(find_items(line)) for line in src)
    print(f"clean text: {same} of {len(src)} translations are the same; {with_items} lines have items")


if __name__ == "__main__":
    main()
