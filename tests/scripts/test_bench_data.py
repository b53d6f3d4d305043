from __future__ import annotations

import os
from pathlib import Path

from conftest import load_script

from transformer_cli.config import load_config
from transformer_cli.data.tokenizer import train_tokenizer
from transformer_cli.schema import TokenizerConfig

bench_data = load_script("bench_data")


def test_the_generated_corpus_is_aligned_and_always_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        bench_data.write_corpus(tmp_path / name, 300)
    src, tgt = ((tmp_path / "a" / f"train.{side}").read_text().split("\n")[:-1] for side in ("en", "de"))
    assert len(src) == len(tgt) == 300 and len(set(src)) > 290
    assert [len(line.split()) for line in src] == [len(line.split()) for line in tgt]
    assert (tmp_path / "a" / "train.en").read_bytes() == (tmp_path / "b" / "train.en").read_bytes()


def test_every_filter_can_be_turned_off() -> None:
    config = load_config(None, [f"data.filters.{name}={value}" for name, value in bench_data.all_off().items()])
    assert not any(config.data.filters.model_dump().values())


def test_both_ways_of_encoding_are_timed(tmp_path: Path) -> None:
    bench_data.write_corpus(tmp_path / "c", 300)
    lines = (tmp_path / "c" / "train.en").read_text().split("\n")
    (tmp_path / "c" / "run").mkdir()
    model = train_tokenizer(lines, TokenizerConfig(vocab_size=400))[0].model
    (tmp_path / "c" / "run" / "tokenizer.model").write_bytes(model)
    figures = bench_data.compare_encoding(tmp_path / "c")
    assert figures["ours"] > 0 and figures["plain"] > 0


def test_memory_of_this_process_and_its_children() -> None:
    assert os.getpid() in list(bench_data.tree(os.getpid()))
    assert 10 < bench_data.pss_mib(os.getpid()) < 100_000 and bench_data.pss_mib(0) == 0
