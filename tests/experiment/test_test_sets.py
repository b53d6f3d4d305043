from __future__ import annotations

from pathlib import Path

import pytest
from sacrebleu.dataset import DATASETS

from transformer_cli.errors import ConfigError, DataError
from transformer_cli.experiment.test_sets import TestSet, TestSetOptions


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def test_references_are_shared_out_in_order() -> None:
    options = TestSetOptions(src=paths("a/t.en", "b/t.en"), refs=paths("a1", "a2", "b1", "b2"))
    assert [(t.src, list(t.refs)) for t in options.test_sets()] == [
        (Path("a/t.en"), paths("a1", "a2")),
        (Path("b/t.en"), paths("b1", "b2")),
    ]
    by_file = TestSetOptions(hyps=paths("h1", "h2"), refs=paths("r1", "r2")).test_sets()
    assert [(t.src, list(t.refs)) for t in by_file] == [(Path("h1"), paths("r1")), (Path("h2"), paths("r2"))]
    tables = TestSetOptions(data=paths("t.tsv", "u.csv"), columns="1,2").test_sets()
    assert [t.name for t in tables] == ["t.tsv", "u.csv"] and all(t.data is not None for t in tables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TestSetOptions(src=paths("a", "b"), refs=paths("r1", "r2", "r3")), "3 --ref for 2 --src"),
        (TestSetOptions(hyps=paths("a", "b"), refs=paths("r")), "1 --ref for 2 --hyp"),
        (TestSetOptions(src=paths("a")), "0 --ref for 1 --src"),
        (TestSetOptions(), "no test set"),
        (TestSetOptions(src=paths("a"), refs=paths("r"), langpair="en-de"), "--langpair needs --test-set"),
        (TestSetOptions(src=paths("a"), refs=paths("r"), columns="1,2"), "--columns is for --data"),
        (TestSetOptions(hyps=paths("h"), refs=paths("r"), src=paths("s")), "--src needs a run"),
        (TestSetOptions(src=paths("a"), refs=paths("r"), data=paths("d")), "--data has both sides"),
        (TestSetOptions(names=["wmt14/ful"], langpair="en-de"), "no such test set"),
        (TestSetOptions(names=["wmt14/full"]), "--langpair is missing"),
        (TestSetOptions(names=["wmt14/full"], langpair="en-xx"), "no language pair en-xx"),
    ],
)
def test_mistakes(options: TestSetOptions, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options.test_sets()


def test_catalogue_is_read_from_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = DATASETS["wmt14/full"]
    monkeypatch.setattr(dataset, "_outdir", str(tmp_path))
    options = TestSetOptions(names=["wmt14/full"], langpair="en-de")
    with pytest.raises(DataError, match="downloads nothing") as missing:
        options.test_sets()
    assert missing.value.hint.endswith("sacrebleu --download wmt14/full -l en-de")
    assert not list(tmp_path.iterdir())
    for field in dataset.fieldnames("en-de"):  # sacreBLEU downloads them if one is missing
        (tmp_path / f"wmt14_full.en-de.{field}").write_text("")
    (tmp_path / "wmt14_full.en-de.src").write_text("A dog.\n")
    (tmp_path / "wmt14_full.en-de.ref").write_text("Ein Hund.\n")
    (found,) = options.test_sets()
    looked_up = [dataset.get_source_file("en-de"), *dataset.get_reference_files("en-de")]
    assert looked_up == list(map(str, found.paths))
    text = found.read(lambda message: None)
    assert (found.name, text.src, text.references) == ("wmt14_full.en-de", ["A dog."], [["Ein Hund."]])
    (scored,) = TestSetOptions(hyps=paths("h"), names=["wmt14/full"], langpair="en-de").test_sets()
    assert scored.src == Path("h") and scored.refs == found.refs
    with pytest.raises(ConfigError, match="one --hyp each"):
        TestSetOptions(hyps=paths("h", "i"), names=["wmt14/full"], langpair="en-de").test_sets()


def test_texts_are_told_apart_by_content(tmp_path: Path) -> None:
    for name, text in {"s": "a\n", "r": "b\n", "q": "c\n"}.items():
        (tmp_path / name).write_text(text)
    hashes = [
        TestSet("t", tmp_path / "s", [tmp_path / ref for ref in refs]).read(lambda message: None).hash
        for refs in ("r", "q", "rq", "r")
    ]
    assert hashes[0] == hashes[3] and len(set(hashes)) == 3
    (tmp_path / "blank").write_text("\n")
    with pytest.raises(DataError, match="no text to compare with"):
        TestSet("t", tmp_path / "s", [tmp_path / "r", tmp_path / "blank"]).read(lambda message: None)
