"""compute_ppl: the perplexity of a text."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_device_option, choose_device

HELP = "print a text's perplexity, its tokens and its out-of-vocabulary words"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--by-sentence",
        action="store_true",
        help="start every sentence anew, as rescoring does; default: one running text",
    )
    add_device_option(parser)
    parser.add_argument("lm_dir", type=Path, metavar="lm-dir")
    parser.add_argument("text", type=Path, help="a sentence a line, plain or gzipped")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    import math

    from asr_rescore.checkpoint import load_model
    from asr_rescore.corpus import TokenStream, read_sentences
    from asr_rescore.scoring import SentenceScorer
    from asr_rescore.training import stream_cost

    device = choose_device(arguments.device)
    loaded = load_model(arguments.lm_dir, device)
    text = TokenStream.read(arguments.text, loaded.vocabulary)
    if arguments.by_sentence:
        scorer = SentenceScorer(loaded.model, loaded.vocabulary, device)
        cost = float(scorer.costs(list(read_sentences(arguments.text))).sum())
    else:
        cost = stream_cost(loaded.model, text.ids, device) + text.member_cost
    print(
        f"ppl {math.exp(cost / len(text)):.2f}, {len(text)} tokens in {text.sentences} sentences, {text.oov.total()} OOVs"
    )
    if text.oov:
        print("OOVs: " + ", ".join(f"{word} {count}" for word, count in text.oov.most_common(20)))
    return 0
