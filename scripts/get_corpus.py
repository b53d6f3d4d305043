#!/usr/bin/env python
"""Download a public corpus, check it, and write it as plain text: NAME.SRC and NAME.TGT files in a directory.

scripts/get_corpus.py multi30k data/multi30k --langs en-de
scripts/get_corpus.py iwslt14 data/iwslt14 --langs de-en
scripts/get_corpus.py wmt14 data/wmt14 --langs de-en
scripts/get_corpus.py opus:Books/v1 data/books --langs de-en       # any corpus of OPUS
scripts/get_corpus.py sacrebleu:wmt14 data/wmt14 --langs en-de     # any test set of sacreBLEU
scripts/get_corpus.py mtdata:Statmt-europarl-10-deu-eng data/ep    # any id of mtdata, which must be installed
scripts/get_corpus.py wmt14 data/wmt14 --mirror /mnt/downloads     # from files that were downloaded elsewhere

Languages are in the order of the publisher's files. Downloads are kept in DIR/downloads and not repeated. Their
SHA-256 is written to DIR/SHA256SUMS, and compared with it and with MIRROR/SHA256SUMS where they exist; test sets
are compared with sacreBLEU's MD5 as well. No other command of the project downloads anything.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import hashlib
import html
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformer_cli.durable import sha256_file, write_bytes
from transformer_cli.errors import ConfigError, DataError, DiskError, UserError

MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
IWSLT14 = "http://dl.fbaipublicfiles.com/fairseq/data/iwslt14"
STATMT = "http://www.statmt.org"
OPUS = "https://object.pouta.csc.fi/OPUS-"
SUMS = "SHA256SUMS"
TIMEOUT = 60
"""Seconds without an answer from a server."""
METADATA = re.compile(r"<(?:url|keywords|speaker|talkid|reviewer|translator|doc|/doc|\?xml)")
"""Lines of IWSLT's training files that are no text."""
SEGMENT = re.compile(r"<seg[^>]*>(.*?)</seg>", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """A text to write.

    Attributes:
        name: of the file.
        url: of the download that has it.
        member: end of the name of its file in the archive; empty for a single compressed file.
        convert: the publisher's text -> plain text, one sentence per line.
    """

    name: str
    url: str
    member: str = ""
    convert: Callable[[str], str] = lambda text: text


def multi30k(src: str, tgt: str) -> list[Part]:
    """Image captions; 29,000 pairs; en, de, fr, cs."""
    splits = ("train", "val", "test_2016_flickr")
    return [Part(f"{split}.{lang}", f"{MULTI30K}/{split}.{lang}.gz") for split in splits for lang in (src, tgt)]


def iwslt14(src: str, tgt: str) -> list[Part]:
    """TED talks as in fairseq's recipe: de-en and other pairs with English."""
    url, parts = f"{IWSLT14}/{src}-{tgt}.tgz", []
    for lang in (src, tgt):
        parts.append(Part(f"train.{lang}", url, f"train.tags.{src}-{tgt}.{lang}", training_text))
        for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"):
            member = f"IWSLT14.{name}.{src}-{tgt}.{lang}.xml"
            parts.append(Part(f"{name.partition('.')[2]}.{lang}", url, member, segments))
    return parts


def wmt14(src: str, tgt: str) -> list[Part]:
    """Europarl v7, Common Crawl and News Commentary v9: cs-en, de-en, fr-en, ru-en (without Europarl)."""
    archives = {
        "europarl-v7": f"{STATMT}/wmt13/training-parallel-europarl-v7.tgz",
        "commoncrawl": f"{STATMT}/wmt13/training-parallel-commoncrawl.tgz",
        "news-commentary-v9": f"{STATMT}/wmt14/training-parallel-nc-v9.tgz",
    }
    return [
        Part(f"{name}.{lang}", url, f"{name}.{src}-{tgt}.{lang}")
        for name, url in archives.items()
        if not (name == "europarl-v7" and src == "ru")
        for lang in (src, tgt)
    ]


def opus(name: str, src: str, tgt: str) -> list[Part]:
    """A corpus of OPUS, `Books/v1`."""
    corpus, slash, version = name.partition("/")
    if not (corpus and slash and version):
        raise ConfigError(f"opus:{name}: no version", hint="opus:CORPUS/VERSION, for example opus:Books/v1")
    url = f"{OPUS}{corpus}/{version}/moses/{src}-{tgt}.txt.zip"
    return [Part(f"{corpus}.{lang}", url, f"{corpus}.{src}-{tgt}.{lang}") for lang in (src, tgt)]


CORPORA: dict[str, tuple[Callable[[str, str], list[Part]], str]] = {
    "multi30k": (multi30k, "en-de"),
    "iwslt14": (iwslt14, "de-en"),
    "wmt14": (wmt14, "de-en"),
}
"""Name -> its parts, and the default languages."""


def training_text(text: str) -> str:
    """The sentences of an IWSLT training file: without lines of metadata, and tags around titles."""
    lines = [line for line in text.split("\n") if not METADATA.match(line)]
    return "\n".join(re.sub(r"</?(?:title|description)>", "", line).strip() for line in lines)


def segments(text: str) -> str:
    """The segments of an SGML or XML test set."""
    return "".join(" ".join(html.unescape(s).split()) + "\n" for s in SEGMENT.findall(text))


class Downloads:
    """The downloads of a directory, from their addresses or from a mirror."""

    def __init__(self, directory: Path, mirror: str | None) -> None:
        """`mirror`: directory or URL that has the files under the last part of their addresses."""
        self.directory, self.folder = directory, directory / "downloads"
        self.mirror = mirror.rstrip("/") if mirror else None
        if self.mirror and "://" not in self.mirror:
            self.mirror = Path(self.mirror).resolve().as_uri()
        self.sums = read_sums(directory / SUMS)
        self.expected = dict(self.sums)
        local = self._local_mirror()
        if local is not None:
            self.expected = {**read_sums(local / SUMS), **self.expected}

    def get(self, url: str) -> Path:
        """The downloaded file. Raises: DiskError: it cannot be downloaded. DataError: another SHA-256."""
        name = url.rpartition("/")[2]
        path = self.folder / name
        if not path.exists():
            self._download(f"{self.mirror}/{name}" if self.mirror else url, path)
        digest = sha256_file(path)
        if self.expected.get(name, digest) != digest:
            raise DataError(
                f"{path}: has SHA-256 {digest}, {SUMS} says {self.expected[name]}",
                hint="delete the file to download it again; delete its line if the publisher changed it",
            )
        self.sums[name] = digest
        text = "".join(f"{value}  {key}\n" for key, value in sorted(self.sums.items()))
        write_bytes(self.directory / SUMS, text.encode())
        return path

    def missing(self, urls: list[str]) -> list[str]:
        """Names of the files that a local mirror does not have; empty if it is not local."""
        names = [url.rpartition("/")[2] for url in urls]
        local = self._local_mirror()
        return [n for n in names if local and not (local / n).exists() and not (self.folder / n).exists()]

    def _local_mirror(self) -> Path | None:
        if not self.mirror or not self.mirror.startswith("file://"):
            return None
        return Path(urllib.request.url2pathname(self.mirror.removeprefix("file://")))

    def _download(self, url: str, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, partial.open("wb") as out:
                shutil.copyfileobj(answer, out)
        except (urllib.error.URLError, OSError, ValueError) as error:
            partial.unlink(missing_ok=True)
            reason = getattr(error, "reason", error)
            raise DiskError(
                f"{url}: cannot be downloaded: {reason}",
                hint=f"download {path.name} elsewhere and give its directory: --mirror DIR",
            ) from None
        partial.replace(path)


def read_sums(path: Path) -> dict[str, str]:
    """File name -> SHA-256, of a file as `sha256sum` writes it; empty if there is none."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return {
        name.strip().lstrip("*"): digest for line in lines if line for digest, _, name in [line.partition(" ")]
    }


def read_part(path: Path, member: str) -> str:
    """The text of a file in an archive, or of a compressed file. Raises: DataError if it is not there."""
    try:
        if not member:
            return gzip.decompress(path.read_bytes()).decode("utf-8")
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if is_member(name, member)]
                return archive.read(names[0]).decode("utf-8")
        with tarfile.open(path) as tar:
            found = next(m for m in tar if m.isfile() and is_member(m.name, member))
            stream = tar.extractfile(found)
            assert stream is not None
            return stream.read().decode("utf-8")
    except (StopIteration, IndexError):
        raise DataError(f"{path}: has no file {member}", hint="are --langs in the publisher's order?") from None
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}", hint="delete it to download it again") from None


def is_member(name: str, member: str) -> bool:
    """Whether a file of an archive is this one, in whatever directory."""
    return name.rpartition("/")[2] == member


def write_parts(parts: list[Part], downloads: Downloads) -> list[Path]:
    """Write the texts of a corpus. Raises: UserError."""
    urls = list(dict.fromkeys(part.url for part in parts))
    if missing := downloads.missing(urls):
        raise DiskError(f"{downloads.mirror}: lacks {', '.join(missing)}")
    written = []
    for part in parts:
        text = part.convert(read_part(downloads.get(part.url), part.member))
        written.append(downloads.directory / part.name)
        write_bytes(written[-1], (text.rstrip("\n") + "\n").encode())
    return written


def write_test_set(name: str, src: str, tgt: str, downloads: Downloads) -> list[Path]:
    """Write a test set of sacreBLEU, which extracts it. Raises: UserError."""
    from sacrebleu.dataset import DATASETS

    data_set: Any = DATASETS.get(name)
    pair = f"{src}-{tgt}"
    if data_set is None or pair not in data_set.langpairs:
        pairs = f"its languages are {', '.join(data_set.langpairs)}" if data_set else ", ".join(DATASETS)
        raise ConfigError(f"sacreBLEU has no test set {name} for {pair}", hint=pairs)
    if missing := downloads.missing(list(data_set.data)):
        raise DiskError(f"{downloads.mirror}: lacks {', '.join(missing)}")
    paths = [downloads.get(url) for url in data_set.data]
    for path, md5 in zip(paths, data_set.md5 or [None] * len(paths), strict=True):
        if md5 and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise DataError(f"{path}: its MD5 is not {md5}, that of sacreBLEU", hint="delete it")
    # sacreBLEU extracts these files; its own cache, in the home directory, is not touched.
    data_set = copy.copy(data_set)
    folder = downloads.folder / "sacrebleu" / name.replace("/", "_")
    data_set._outdir, data_set._rawdir = str(folder), str(folder / "raw")
    data_set.data = [path.resolve().as_uri() for path in paths]
    written = []
    files = (data_set.get_source_file(pair), data_set.get_reference_files(pair)[0])
    for file, lang in zip(files, (src, tgt), strict=True):
        written.append(downloads.directory / f"{name.replace('/', '_')}.{lang}")
        write_bytes(written[-1], Path(file).read_bytes())
    return written


def run_mtdata(name: str, directory: Path) -> None:
    """Let mtdata download a corpus into the directory. Raises: UserError."""
    if importlib.util.find_spec("mtdata") is None:
        raise ConfigError(f"mtdata:{name}: mtdata is not installed", hint="pip install mtdata")
    pair = "-".join(name.split("-")[-2:])
    command = [sys.executable, "-m", "mtdata", "get", "-l", pair, "-tr", name, "-o", str(directory)]
    if subprocess.run(command).returncode:
        raise DiskError(f"mtdata could not get {name}", hint="mtdata list names its corpora")


def get_corpus(name: str, directory: Path, langs: str | None, mirror: str | None) -> None:
    """Write the corpus to the directory. Raises: UserError."""
    kind, colon, rest = name.partition(":")
    if kind == "mtdata" and colon:
        if mirror:
            raise ConfigError("mtdata has no mirrors: leave out --mirror, or use another name")
        run_mtdata(rest, directory)
        return
    if not (name in CORPORA or (colon and kind in ("opus", "sacrebleu"))):
        raise ConfigError(
            f"{name}: unknown corpus",
            hint=f"{', '.join(CORPORA)}, opus:CORPUS/VERSION, sacrebleu:TESTSET or mtdata:ID",
        )
    pair = langs or (CORPORA[name][1] if name in CORPORA else "")
    if not re.fullmatch(r"[A-Za-z_]+-[A-Za-z_]+", pair):
        raise ConfigError(f"--langs {pair or 'is missing'}: two languages are needed, such as de-en")
    src, tgt = pair.split("-")
    directory.mkdir(parents=True, exist_ok=True)
    downloads = Downloads(directory, mirror)
    if kind == "sacrebleu":
        written = write_test_set(rest, src, tgt, downloads)
    else:
        parts = CORPORA[name][0](src, tgt) if name in CORPORA else opus(rest, src, tgt)
        written = write_parts(parts, downloads)
    for path in written:
        print(f"{path}: {path.read_bytes().count(10):,} lines")


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("directory", metavar="DIR", type=Path)
    parser.add_argument("--langs", metavar="SRC-TGT", help="languages, in the publisher's order")
    parser.add_argument(
        "--mirror", metavar="DIR|URL", help="where the downloads are instead of at the publisher's"
    )
    parsed = parser.parse_args(arguments)
    try:
        get_corpus(parsed.name, parsed.directory, parsed.langs, parsed.mirror)
    except UserError as error:
        print(f"error: {error.what}" + (f" ({error.hint})" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
