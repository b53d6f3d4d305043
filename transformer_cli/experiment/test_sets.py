"""Test sets of `evaluate`: from the files that the user names, or from sacreBLEU's catalogue on this disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformer_cli.artifacts.run_directory import hash_text
from transformer_cli.data.corpus import read_corpus, replace_target
from transformer_cli.data.readers.corpus_files import CorpusFiles
from transformer_cli.data.text import Notify
from transformer_cli.errors import ConfigError, DataError


@dataclass(frozen=True)
class TestSet:
    """The files of a test set.

    Attributes:
        name: names the files of results.
        src: the source, or the translations to score.
        refs: one or more files of references; empty if `data` holds both sides.
        data: a file with source and reference, which is then also `src`.
    """

    __test__ = False  # not a class of tests

    name: str
    src: Path
    refs: Sequence[Path] = ()
    data: CorpusFiles | None = None

    @property
    def paths(self) -> list[Path]:
        return [self.src, *self.refs]

    def read(self, notify: Notify) -> TestText:
        """Read each file once, so that it may be a pipe, and report how, and what was repaired.

        Raises:
            DataError: missing, blank or misaligned files.
        """
        refs = self.refs or [self.src]
        text = read_corpus(self.data or CorpusFiles([self.src], [refs[0]]), allow_blank=True)
        texts = [text, *(replace_target(text, ref) for ref in refs[1:])]
        for form in dict.fromkeys(form for parallel in texts for form in parallel.forms):
            notify(form)
        for note in dict.fromkeys(note for parallel in texts for note in parallel.notes):
            notify(f"warning: {note}")
        for parallel, ref in zip(texts, refs, strict=True):
            if not any(line.strip() for line in parallel.tgt):
                raise DataError(f"{ref}: no text to compare with (every line is blank)")
        return TestText(self, list(text.src), [list(parallel.tgt) for parallel in texts])


@dataclass(frozen=True)
class TestText:
    """The lines of a test set."""

    __test__ = False

    files: TestSet
    src: list[str]
    references: list[list[str]]
    hash: str = field(init=False)
    """SHA-256 of source and references: what tells test sets apart."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", hash_text(self.src, *self.references))

    def facts(self) -> dict[str, object]:
        """The files and their hash, for the results."""
        return {
            "source": str(self.files.src),
            "references": list(map(str, self.files.refs)),
            "text": self.hash,
        }


@dataclass(frozen=True)
class TestSetOptions:
    """What the user says about the test sets; see the options of `evaluate`."""

    __test__ = False

    src: Sequence[Path] = ()
    refs: Sequence[Path] = ()
    data: Sequence[Path] = ()
    names: Sequence[str] = ()
    hyps: Sequence[Path] = ()
    langpair: str | None = None
    columns: str | None = None
    data_format: str | None = None

    def test_sets(self) -> list[TestSet]:
        """The test sets: text files, then data files, then those of the catalogue.

        With `hyps`, the source of each is a file of translations.

        Raises:
            ConfigError: options that contradict each other, or an unknown test set.
            DataError: a test set of the catalogue is not on this disk.
        """
        if self.langpair and not self.names:
            raise ConfigError("--langpair needs --test-set")
        if self.columns and not self.data:
            raise ConfigError("--columns is for --data: a text file has no columns")
        if self.data and (self.src or self.refs or self.hyps):
            raise ConfigError("--data has both sides of the test set: it excludes --src, --ref and --hyp")
        if self.hyps:
            return self._of_translations()
        found = pair_files(self.src, self.refs) if self.src or self.refs else []
        found += [
            TestSet(path.name, path, data=CorpusFiles(data=[path], columns=self.columns, form=self.data_format))
            for path in self.data
        ]
        found += from_catalogue(self.names, self.langpair) if self.names else []
        if not found:
            raise ConfigError(
                "no test set is given", hint="give --src FILE --ref FILE, --data FILE, or --test-set NAME"
            )
        return found

    def _of_translations(self) -> list[TestSet]:
        if self.src:
            raise ConfigError("--src needs a run; --hyp only scores translations")
        if not self.names:
            return pair_files(self.hyps, self.refs, "--hyp")
        found = from_catalogue(self.names, self.langpair)
        if self.refs or len(self.hyps) != len(found):
            raise ConfigError(f"--test-set needs one --hyp each and no --ref ({len(self.hyps)} for {len(found)})")
        return [TestSet(one.name, hyp, one.refs) for one, hyp in zip(found, self.hyps, strict=True)]


def pair_files(sources: Sequence[Path], refs: Sequence[Path], option: str = "--src") -> list[TestSet]:
    """Test sets of text files, each with the same number of references, given in the order of the sources.

    Args:
        option: what the sources are on the command line.

    Raises:
        ConfigError: the references cannot be shared out.
    """
    if not sources or not refs or len(refs) % len(sources):
        raise ConfigError(
            f"{len(refs)} --ref for {len(sources)} {option}: each test set needs the same number of references",
            hint="in the order of the test sets: --src a.en --src b.en --ref a.de --ref b.de",
        )
    each = len(refs) // len(sources)
    return [TestSet(src.name, src, refs[i * each : (i + 1) * each]) for i, src in enumerate(sources)]


def from_catalogue(names: Sequence[str], langpair: str | None) -> list[TestSet]:
    """Test sets of sacreBLEU, such as `wmt14/full`, from its directory on this disk. Nothing is downloaded.

    Raises:
        ConfigError: unknown test set or language pair.
        DataError: a test set is not on this disk.
    """
    from sacrebleu.dataset import DATASETS

    found = []
    for name in names:
        if name not in DATASETS:
            raise ConfigError(
                f"--test-set {name}: sacreBLEU has no such test set", hint="the list of all: sacrebleu --list"
            )
        dataset = DATASETS[name]
        if langpair is None or langpair not in dataset.langpairs:
            given = f"no language pair {langpair}" if langpair else "--langpair is missing"
            raise ConfigError(
                f"--test-set {name}: {given}", hint=f"it has: {', '.join(sorted(dataset.langpairs))}"
            )
        # Where `get_files` looks, which would download what is missing.
        fields = dataset.fieldnames(langpair)
        paths = {
            one: Path(dataset._get_txt_file_path(langpair, one))  # type: ignore[no-untyped-call]
            for one in fields
        }
        refs = [path for one, path in paths.items() if one.startswith("ref")]
        missing = [path for path in (paths["src"], *refs) if not path.is_file()]
        if missing:
            raise DataError(
                f"--test-set {name}: {missing[0]}: not on this disk, and this command downloads nothing",
                hint=f"with a network, once: sacrebleu --download {name} -l {langpair}",
            )
        if not refs:
            raise DataError(f"--test-set {name}: has no references for {langpair}")
        found.append(TestSet(f"{name.replace('/', '_')}.{langpair}", paths["src"], refs))
    return found
