#!/usr/bin/env python
"""Speed and memory of everything that handles a corpus, on generated pairs of several sizes.

    scripts/bench_data.py --pairs 100000 1000000 10000000 --directory /tmp/bench

Printed are lines per second of encoding, and their ratio to plain `sentencepiece` with the same threads on
lines in memory; seconds of the first start of `train` (reading, checking, holding out, tokenizer, filters,
encoding) and of the second, both until training is ready for its first update, with the processor time of the
second; pairs per second of `check` and `clean`; and peak memory.

Memory is the sum over all processes of a command, sampled, of their pages without those of files: pages that
processes share are divided among them, and mapped files, such as the encoded corpus, take only what memory
nothing else needs. The directory needs about 350 bytes a pair, and the temporary files of `train` 150 more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transformer_cli.data.corpus import ParallelText, read_corpus
from transformer_cli.data.encoding import encode_text
from transformer_cli.data.parallel import available_cores
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.store import CorpusWriter
from transformer_cli.data.tokenizer import Tokenizer
from transformer_cli.schema.data import DataConfig, FiltersConfig

WORDS = 30_000
PART = 50_000
"""Pairs that are generated, and lines that plain sentencepiece encodes, at a time."""
SETTINGS = ["model.preset=tiny", "model.d_model=64", "tokenizer.vocab_size=8000", "data.batch_tokens=4096"]
"""A small model: its first update is part of the start."""
ROUNDS, MAX_ROUNDS_PAIRS = 3, 2_000_000
"""Rounds of encoding, of which the fastest counts, and the size of the corpus up to which there are so many."""
SYLLABLES = (
    [c + v for c in "bcdfghklmnprstvw" for v in ("a", "e", "i", "o", "u", "ea", "ing", "er")],
    [c + v for c in "bdfgklmnprstwzh" for v in ("a", "e", "i", "ö", "ü", "ei", "ung", "er", "sch")],
)
READY = "largest batch"
"""Beginning of the message after which training begins."""


def main() -> None:
    """Measure each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000, 1_000_000], help="sizes of the corpus")
    parser.add_argument("--directory", type=Path, required=True, help="for corpora and runs; must not exist")
    parser.add_argument("--steps", nargs="+", default=list(MEASUREMENTS), help="what to measure")
    parser.add_argument("--filters", action="store_true", help="leave the filters of train on")
    parser.add_argument("--keep", action="store_true", help="keep the files, and use those of an earlier call")
    parser.add_argument("--encode-only", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.encode_only:
        print(json.dumps(compare_encoding(args.encode_only)))
        return
    args.directory.mkdir(parents=True, exist_ok=args.keep)
    print(f"{available_cores()} cores; filters of train {'on' if args.filters else 'off'}")
    for pairs in args.pairs:
        folder = args.directory / str(pairs)
        if not (folder / "train.de").exists():
            write_corpus(folder, pairs)
        print(f"{pairs:,} pairs")
        for step in args.steps:
            print(f"  {step:<8} {MEASUREMENTS[step](folder, pairs, args.filters)}", flush=True)
        if not args.keep:
            shutil.rmtree(folder)


def write_corpus(folder: Path, pairs: int) -> None:
    """Write `train.en` and `train.de`: sentences of words with the frequencies of natural language."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    lexicon = [words(side, np.random.default_rng(2)) for side in SYLLABLES]
    share = 1 / (np.arange(WORDS) + 3.0)
    cumulative = np.cumsum(share / share.sum())
    with (folder / "train.en").open("w") as src, (folder / "train.de").open("w") as tgt:
        for start in range(0, pairs, PART):
            count = min(PART, pairs - start)
            lengths = rng.poisson(8, count) + 3
            drawn = np.searchsorted(cumulative, rng.random(int(lengths.sum())))
            for stream, side in ((src, lexicon[0]), (tgt, lexicon[1])):
                chosen, ends = [side[i] for i in drawn.tolist()], np.cumsum(lengths).tolist()
                stream.writelines(
                    " ".join(chosen[first:end]).capitalize() + ".\n"
                    for first, end in zip([0, *ends], ends, strict=False)
                )


def words(syllables: list[str], rng: np.random.Generator) -> list[str]:
    """Different words of one to four syllables, frequent ones short."""
    found: dict[str, None] = {}
    while len(found) < WORDS:
        count = min(4, 1 + int(rng.random() * (1 + len(found) / 1000)))
        found["".join(syllables[i] for i in rng.integers(len(syllables), size=count))] = None
    return list(found)


def measure_train(folder: Path, pairs: int, filters: bool) -> str:
    """The first and the second start of `train`."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    off = [f"data.filters.{name}={value}" for name, value in all_off().items()]
    settings = [word for setting in [*SETTINGS, *([] if filters else off)] for word in ("--set", setting)]
    for side in ("en", "de"):  # for validation, which is not measured
        with (folder / f"train.{side}").open("rb") as stream:
            (folder / f"valid.{side}").write_bytes(b"".join(stream.readline() for _ in range(10)))
    valid = ["--valid-src", str(folder / "valid.en"), "--valid-tgt", str(folder / "valid.de")]
    command = ["train", *corpus(folder), *valid, "--run", str(run), "--max-steps", "1", *settings]
    time.sleep(3.5)  # until the files are old enough to be trusted by their times
    first, second = (watch(command, until=READY) for _ in range(2))
    return (
        f"first start {first.ready:.1f} s, {first.peak:,} MiB; "
        f"second start {second.ready:.2f} s ({second.processor:.2f} s of processor time), {second.peak:,} MiB"
    )


def all_off() -> dict[str, str]:
    """Values that turn every filter of `train` off."""
    defaults = FiltersConfig().model_dump()
    kinds = {bool: "false", int: "0", float: "0"}
    return {name: kinds[type(value)] for name, value in defaults.items() if type(value) in kinds and value}


def measure_encoding(folder: Path, pairs: int, filters: bool) -> str:
    """Encoding compared with sentencepiece alone, in a process of its own."""
    own = subprocess.run(
        [sys.executable, __file__, "--directory", str(folder), "--encode-only", str(folder)],
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    figures = json.loads(own.stdout)
    ours, plain = figures["ours"], figures["plain"]
    return f"{ours:,.0f} lines/s, plain sentencepiece {plain:,.0f}: ratio {ours / plain:.2f}"


def compare_encoding(folder: Path) -> dict[str, float]:
    """Lines per second of both; the text is read from its temporary file, and the store is written."""
    tokenizer = Tokenizer.load(folder / "run" / "tokenizer.model")
    text = read_corpus(CorpusFiles([folder / "train.en"], [folder / "train.de"]), directory=folder)
    ours, plain = [], []
    for _ in range(ROUNDS if len(text) <= MAX_ROUNDS_PAIRS else 1):
        plain.append(seconds_of_sentencepiece(tokenizer, text))
        start = time.perf_counter()
        with CorpusWriter(folder, "bench") as writer:
            encode_text(text, tokenizer, tokenizer, DataConfig(), [], writer)
            writer.finish({}, {})
        ours.append(time.perf_counter() - start)
    for file in folder.glob("bench.*"):
        file.unlink()
    return {"ours": 2 * len(text) / min(ours), "plain": 2 * len(text) / min(plain)}


def seconds_of_sentencepiece(tokenizer: Tokenizer, text: ParallelText) -> float:
    """Time to encode all lines from lists in memory to lists of ids, with all cores."""
    seconds, threads = 0.0, available_cores()
    for side in (text.src, text.tgt):
        for start in range(0, len(side), PART):
            lines = list(side[start : start + PART])
            begin = time.perf_counter()
            tokenizer._processor.EncodeAsIds(lines, num_threads=threads)
            seconds += time.perf_counter() - begin
    return seconds


def measure_check(folder: Path, pairs: int, filters: bool) -> str:
    """`check` with its defaults."""
    done = watch(["check", *corpus(folder)])
    return f"{pairs / done.total:,.0f} pairs/s, {done.peak:,} MiB"


def measure_clean(folder: Path, pairs: int, filters: bool) -> str:
    """`clean` with its defaults."""
    done = watch(["clean", *corpus(folder), "--output", str(folder / "cleaned")])
    for file in folder.glob("cleaned*"):
        file.unlink()
    return f"{pairs / done.total:,.0f} pairs/s, {done.peak:,} MiB"


def corpus(folder: Path) -> list[str]:
    return ["--src", str(folder / "train.en"), "--tgt", str(folder / "train.de")]


class Watched:
    """A command that was run: seconds, and of processor time, until it was ready; seconds in all; peak in MiB."""

    def __init__(self) -> None:
        self.ready = self.processor = self.total = 0.0
        self.peak = 0


def watch(arguments: list[str], until: str = "") -> Watched:
    """Run a command of transformer-cli and watch its processes."""
    watched, start = Watched(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "transformer_cli", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def sample() -> None:
        while process.poll() is None:
            watched.peak = max(watched.peak, sum(map(pss_mib, tree(process.pid))))
            time.sleep(0.1)

    sampler = threading.Thread(target=sample)
    sampler.start()
    assert process.stderr
    for line in process.stderr:
        if until and line.startswith(until):
            watched.ready = time.perf_counter() - start
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            watched.processor = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    assert process.wait() == 0, "the command failed"
    watched.total = time.perf_counter() - start
    sampler.join()
    return watched


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))
    except OSError:
        return


def pss_mib(pid: int) -> int:
    """Memory of a process without files; pages that processes share are divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n")
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))) >> 10
    except OSError:
        return 0


MEASUREMENTS = {"train": measure_train, "encode": measure_encoding, "check": measure_check, "clean": measure_clean}

if __name__ == "__main__":
    main()
