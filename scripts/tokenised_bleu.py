#!/usr/bin/env python
"""Lowercased BLEU after Moses normalisation and tokenisation, for comparison with papers that report that.

It is not comparable with sacreBLEU on detokenised text, which is what this project reports first.

    scripts/tokenised_bleu.py --hyp translations.de --ref test.de --language de
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sacrebleu.metrics.bleu import BLEU
from sacremoses import MosesPunctNormalizer, MosesTokenizer

from transformer_cli.data.corpus import read_parallel


def tokenise(lines: list[str], language: str) -> list[str]:
    normaliser, tokeniser = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
    return [
        tokeniser.tokenize(normaliser.normalize(line), return_str=True, escape=False).lower() for line in lines
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hyp", type=Path, required=True)
    parser.add_argument("--ref", type=Path, required=True)
    parser.add_argument("--language", default="de")
    args = parser.parse_args()
    text = read_parallel([args.hyp], [args.ref])
    metric = BLEU(tokenize="none", force=True)
    result = metric.corpus_score(tokenise(text.src, args.language), [tokenise(text.tgt, args.language)])
    print(f"{result.score:.2f}  lowercased, Moses-normalised and -tokenised; {metric.get_signature()}")


if __name__ == "__main__":
    main()
