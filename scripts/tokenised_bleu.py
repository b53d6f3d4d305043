#!/usr/bin/env python
"""Lowercased BLEU after Moses normalization and tokenization, for comparison with papers that report it.

It is not comparable with sacreBLEU on detokenized text, the main metric of this project.

    scripts/tokenised_bleu.py --hyp translations.de --ref test.de --language de
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sacrebleu.metrics.bleu import BLEU
from sacremoses import MosesPunctNormalizer, MosesTokenizer

from transformer_cli.data.corpus import read_parallel


def moses_tokenize(lines: list[str], language: str) -> list[str]:
    """Normalize punctuation, tokenize and lowercase each line."""
    normalizer, tokenizer = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
    return [
        tokenizer.tokenize(normalizer.normalize(line), return_str=True, escape=False).lower() for line in lines
    ]


def main() -> None:
    """Print BLEU and its signature."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hyp", type=Path, required=True)
    parser.add_argument("--ref", type=Path, required=True)
    parser.add_argument("--language", default="de")
    args = parser.parse_args()
    text = read_parallel([args.hyp], [args.ref])
    metric = BLEU(tokenize="none", force=True)
    hypotheses, references = (moses_tokenize(lines, args.language) for lines in (list(text.src), list(text.tgt)))
    result = metric.corpus_score(hypotheses, [references])
    print(f"{result.score:.2f}  lowercased, Moses-normalized and -tokenized; {metric.get_signature()}")


if __name__ == "__main__":
    main()
