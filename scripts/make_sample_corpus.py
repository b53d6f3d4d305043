"""Write the English-German sample corpus, or compare it with the files.

    python scripts/make_sample_corpus.py            # writes data/sample
    python scripts/make_sample_corpus.py --check    # exits with 1 if data/sample differs

The package `sample_corpus` contains the lexicon and the grammar.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sample_corpus.build import build

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "sample"


def main(argv: list[str] | None = None) -> int:
    """Write the corpus, or with --check compare it with the files; return the exit code."""
    parser = argparse.ArgumentParser(description="Make the English-German sample corpus.")
    parser.add_argument("--out", type=Path, default=SAMPLE, help="folder for the six files")
    parser.add_argument("--seed", type=int, default=1, help="fixes every sentence")
    parser.add_argument("--train", type=int, default=20000, help="training pairs")
    parser.add_argument("--valid", type=int, default=500, help="validation pairs")
    parser.add_argument("--test", type=int, default=500, help="test pairs")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    args = parser.parse_args(argv)
    differing = []
    for name, pairs in build(args.seed, args.train, args.valid, args.test).items():
        for side, language in enumerate(("en", "de")):
            path = args.out / f"{name}.{language}"
            data = "".join(pair[side] + "\n" for pair in pairs).encode()
            if not args.check:
                args.out.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            elif not path.is_file() or path.read_bytes() != data:
                differing.append(path)
    for path in differing:
        print(f"differs: {path}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
