"""Corpora from a local mirror: plain text with checksums, and one line for what is missing."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import load_script
from sacrebleu.dataset import DATASETS

XML = '<doc docid="1"><seg id="1"> Eins &amp; zwei </seg>\n<seg id="2">Drei</seg></doc>\n'


def tgz(path: Path, files: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))


def get(*arguments: object) -> int:
    return int(load_script("get_corpus").main(list(map(str, arguments))))


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    directory = tmp_path / "mirror"
    directory.mkdir()
    for split in ("train", "val", "test_2016_flickr"):
        for lang in ("en", "de"):
            (directory / f"{split}.{lang}.gz").write_bytes(gzip.compress(f"{split} {lang}\nzwei\n".encode()))
    names = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
    files = {f"de-en/IWSLT14.{n}.de-en.{lang}.xml": XML for n in names for lang in ("de", "en")}
    talk = "<url>x</url>\n<title>Titel</title>\n Ein Satz. \nNoch einer.\n"
    files |= {f"de-en/train.tags.de-en.{lang}": talk for lang in ("de", "en")}
    tgz(directory / "de-en.tgz", files)
    for archive, name in (
        ("training-parallel-europarl-v7.tgz", "europarl-v7"),
        ("training-parallel-commoncrawl.tgz", "commoncrawl"),
        ("training-parallel-nc-v9.tgz", "news-commentary-v9"),
    ):
        tgz(directory / archive, {f"training/{name}.de-en.{lang}": f"{name}\n" for lang in ("de", "en")})
    with zipfile.ZipFile(directory / "de-en.txt.zip", "w") as archive_file:
        for lang in ("de", "en"):
            archive_file.writestr(f"Books.de-en.{lang}", "Buch\n")
    return directory


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("multi30k", {"train.en": "train en\nzwei\n", "test_2016_flickr.de": "test_2016_flickr de\nzwei\n"}),
        ("iwslt14", {"train.de": "Titel\nEin Satz.\nNoch einer.\n", "tst2010.en": "Eins & zwei\nDrei\n"}),
        ("wmt14", {"europarl-v7.de": "europarl-v7\n", "news-commentary-v9.en": "news-commentary-v9\n"}),
        ("opus:Books/v1", {"Books.de": "Buch\n"}),
    ],
)
@pytest.mark.parametrize("as_url", [False, True])
def test_from_a_mirror(name: str, files: dict[str, str], as_url: bool, mirror: Path, tmp_path: Path) -> None:
    langs = ["--langs", "de-en"] if name.startswith("opus") else []
    place = mirror.as_uri() if as_url else mirror
    for _ in range(2):  # the second time nothing is downloaded
        assert get(name, tmp_path / "out", *langs, "--mirror", place) == 0
    assert {n: (tmp_path / "out" / n).read_text() for n in files} == files
    for line in (tmp_path / "out" / "SHA256SUMS").read_text().split("\n")[:-1]:
        digest, _, file = line.partition("  ")
        assert hashlib.sha256((mirror / file).read_bytes()).hexdigest() == digest


def test_what_is_missing_is_said_in_one_line(
    mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / "val.de.gz").unlink()
    assert get("multi30k", tmp_path / "out", "--mirror", mirror) == 5
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "lacks val.de.gz" in err
    assert not (tmp_path / "out" / "train.en").exists()


def test_no_network_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *args, **options: (_ for _ in ()).throw(OSError("offline"))
    )
    assert get("opus:Books/v1", tmp_path / "out", "--langs", "de-en") == 5
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "OPUS-Books/v1/moses/de-en.txt.zip" in err and "--mirror DIR" in err


def test_another_checksum_is_refused(mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mirror / "SHA256SUMS").write_text(f"{'0' * 64}  train.en.gz\n")
    assert get("multi30k", tmp_path / "out", "--mirror", mirror) == 3
    assert "has SHA-256" in capsys.readouterr().err


def test_a_damaged_archive_is_refused(mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mirror / "de-en.tgz").write_bytes((mirror / "de-en.tgz").read_bytes()[:200])
    assert get("iwslt14", tmp_path / "out", "--mirror", mirror) == 3
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["multi31k"], "unknown corpus"),
        (["opus:Books", "--langs", "de-en"], "no version"),
        (["opus:Books/v1"], "two languages are needed"),
        (["sacrebleu:wmt99", "--langs", "de-en"], "no test set wmt99"),
        (["mtdata:X-deu-eng", "--mirror", "x"], "no mirrors"),
    ],
)
def test_usage_errors(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(arguments[0], tmp_path / "out", *arguments[1:]) == 2
    assert message in capsys.readouterr().err


def test_mtdata_is_named_if_it_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert get("mtdata:Statmt-europarl-10-deu-eng", tmp_path / "out") == 2
    assert "pip install mtdata" in capsys.readouterr().err


def test_test_set_of_sacrebleu(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_set = DATASETS["multi30k/2016"]
    monkeypatch.setattr(data_set, "md5", None)
    files = {"test_2016_flickr.en": "One.\nTwo.\n", "test_2016_flickr.de": "Eins.\nZwei.\n"}
    tgz(mirror / data_set.data[0].rpartition("/")[2], files)
    assert get("sacrebleu:multi30k/2016", tmp_path / "out", "--langs", "en-de", "--mirror", mirror) == 0
    assert (tmp_path / "out" / "multi30k_2016.de").read_text() == "Eins.\nZwei.\n"


def test_test_set_with_another_md5_is_refused(
    tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / "test-filtered.tgz").write_bytes(b"x")
    code = get("sacrebleu:wmt14", tmp_path / "out", "--langs", "en-de", "--mirror", mirror)
    assert code == 3 and "MD5" in capsys.readouterr().err
