"""Every kind of planted fault is named with its line, and a clean corpus has no finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, cli, write_pairs
from planted import FAULTS, plant, sample_pairs

from transformer_cli.data.corpus_stream import CorpusStream
from transformer_cli.data.doctor import CorpusReport, check_corpus
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.schema.data import CLEANING, FiltersConfig
from transformer_cli.errors import DataError

CONFIG = FiltersConfig(**CLEANING)


def check(src: Path, tgt: Path, config: FiltersConfig = CONFIG, excluded: list[str] | None = None) -> tuple[CorpusReport, list[str]]:
    messages: list[str] = []
    stream = CorpusStream(CorpusFiles([src], [tgt]).sources(as_text=True), messages.append)
    return check_corpus(stream, config, excluded), messages


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusReport, dict[str, int]]:
    """The report about a corpus with every fault of single pairs."""
    pairs, lines = plant(sample_pairs(4000))
    files = write_pairs(tmp_path_factory.mktemp("planted"), "train", pairs)
    excluded = [pairs[1500][0], pairs[1500][1], pairs[1600][1]]
    report, _ = check(*files, config=CONFIG.model_copy(update={"languages": "en,de"}), excluded=excluded)
    return report, {**lines, "test overlap": 1501}


@pytest.mark.parametrize("name", [*FAULTS, "repeated pairs", "near-duplicates", "header row", "test overlap"])
def test_a_planted_fault_is_named_with_its_line(planted: tuple[CorpusReport, dict[str, int]], name: str) -> None:
    report, lines = planted
    kind = FAULTS[name].kind if name in FAULTS else {"test overlap": "also in the test set"}.get(name, name)
    findings = {finding.kind: finding for finding in report.findings}
    assert kind in findings, sorted(findings)
    assert lines[name] in findings[kind].lines and findings[kind].advice
    assert kind.startswith("blank") or findings[kind].examples


def test_many_small_faults_are_a_problem_together(planted: tuple[CorpusReport, dict[str, int]]) -> None:
    report, _ = planted
    (total,) = [finding for finding in report.problems if finding.kind == "pairs with a fault, of all kinds"]
    assert 20 <= total.count <= len(FAULTS) + 6
    damaged = next(finding for finding in report.findings if finding.kind == "damaged text")
    assert not any("\x02" in side for example in damaged.examples for side in example)


def test_most_strangers_are_recognised_by_their_words(planted: tuple[CorpusReport, dict[str, int]]) -> None:
    report, lines = planted
    (finding,) = [finding for finding in report.findings if finding.kind == "misaligned"]
    expected = {line for name, line in lines.items() if name.startswith("misaligned")}
    assert len(expected & set(finding.lines)) >= 2


def test_faults_of_whole_files_are_named(tmp_path: Path) -> None:
    pairs = sample_pairs(3000)
    src, tgt = write_pairs(tmp_path, "train", pairs)
    shifted = tmp_path / "shifted.de"
    shifted.write_text("".join(t + "\n" for _, t in [*pairs[:800], *pairs[801:], pairs[800]]))
    (finding,) = [f for f in check(src, shifted)[0].problems if f.kind.startswith("shifted")]
    assert finding.lines[0] == 801 and "shifted.de" not in finding.places[0]
    table = tmp_path / "table.txt"
    table.write_text("".join(f"{s}\t{t}\n" for s, t in pairs))
    kinds = {finding.kind for finding in check(table, table)[0].problems}
    assert {"columns separated by tabs", "source equals target"} <= kinds
    quoted = write_pairs(tmp_path, "quoted", [(f'"{s}"', f'"{t}"') for s, t in pairs])
    (finding,) = [f for f in check(*quoted)[0].problems if f.kind == "lines in quotation marks"]
    assert finding.count == 3000 and finding.mends == "cells"
    (tmp_path / "wide.de").write_bytes("".join(t + "\n" for _, t in pairs).encode("utf-16-be"))
    report, messages = check(src, tmp_path / "wide.de")
    assert not report.findings and "UTF-16 (big endian) without a byte-order mark" in messages[0]
    (tmp_path / "nul.de").write_bytes(tgt.read_bytes().replace(b" ", b"\0", 1).replace(b"e", b"\xff", 1))
    notes = check(src, tmp_path / "nul.de")[0].notes
    assert any("not UTF-8" in note for note in notes) and any("control characters" in note for note in notes)
    (tmp_path / "random.de").write_text("".join(t + "\n" for _, t in pairs[1000:] + pairs[:1000]))
    assert "no correspondence of words" in {f.kind for f in check(src, tmp_path / "random.de")[0].problems}
    with pytest.raises(DataError, match="not aligned"):
        check(src, table.with_name("short.de") if table.with_name("short.de").write_text("a\n") else src)


def test_a_file_without_pairs_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    src, tgt = write_pairs(tmp_path, "train", sample_pairs(300))
    files = CorpusFiles([tmp_path / "empty", src], [tmp_path / "empty", tgt])
    report = check_corpus(CorpusStream(files.sources(), print), CONFIG)
    assert report.pairs == 300 and not report.findings


def test_a_clean_corpus_has_no_finding() -> None:
    report, messages = check(ROOT / "data/sample/train.en", ROOT / "data/sample/train.de")
    assert (report.findings, report.notes, messages, report.pairs) == ([], [], [], 20_000)
    assert report.lengths["source words"] == {"5 %": 5, "median": 10, "95 %": 17, "99 %": 20, "longest": 30}
    assert report.longest[0] > 1 and report.types[0] > 1000


def test_the_command_names_places_levels_and_the_remedy(tmp_path: Path) -> None:
    pairs = sample_pairs(300)
    pairs[9] = ("Fish &amp; chips are cheap today.", "Fisch &amp; Chips sind heute billig.")
    src, tgt = write_pairs(tmp_path, "train", pairs)
    done = cli("check", "--src", src, "--tgt", tgt, "--strict")
    assert done.returncode == 0 and b"- note: HTML entities: 1 (lines 10): " in done.stdout
    command = f"transformer-cli clean --src {src} --tgt {tgt} --normalize entities --output cleaned"
    assert f"to mend what can be mended: {command}" in done.stdout.decode()
    files = ["--src", src, "--tgt", tgt, "--against-src", src, "--against-tgt", tgt, "--strict"]
    done = cli("check", *files, "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["findings"][0]["kind"] == "also in the test set" and report["findings"][0]["count"] == 300
    assert f"--exclude {src} {tgt}" in report["clean"] and report["lengths"]["source words"]["longest"] > 5
    assert {"kind", "count", "lines", "advice", "level", "examples"} <= set(report["findings"][0])
    assert cli("check", *files[:-1]).returncode == 0
