"""compute_ppl: the perplexity of a text."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_device_option, choose_device

HELP = "print a text's perplexity, its tokens and its out-of-vocabulary words"
SENTENCES_AT_ONCE = 1000  # bounds the memory for their hidden states
SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--by-sentence",
        action="store_true",
        help="start every sentence anew, as rescoring does; default: one running text",
    )
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="print also the perplexity of dynamic evaluation, where the model goes on learning from the text",
    )
    parser.add_argument(
        "--statistics", type=Path, metavar="TEXT", help="with --dynamic: the training text, as train_lm reads it"
    )
    parser.add_argument("--dynamic-lr", type=float, metavar="RATE", help="with --dynamic: learning rate (0.002)")
    parser.add_argument(
        "--dynamic-decay", type=float, metavar="RATE", help="with --dynamic: pull back to the trained weights (0.075)"
    )
    parser.add_argument(
        "--dynamic-epsilon",
        type=float,
        metavar="SIZE",
        help="with --dynamic: added to the usual size of a gradient, by which steps are divided (0.001)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--kaldi-text", action="store_true", help="lines start with an utterance id; leave it out")
    add_device_option(parser)
    parser.add_argument("lm_dir", type=Path, metavar="lm-dir")
    parser.add_argument("text", type=Path, help="a sentence a line, plain or gzipped")


def run(arguments: argparse.Namespace) -> int:
    """Predict every token once, sentence ends included, and print what that costs."""
    import json
    from itertools import islice

    from asr_rescore.checkpoint import load_model
    from asr_rescore.corpus import TokenStream, read_sentences
    from asr_rescore.errors import UsageError
    from asr_rescore.files import atomic_text
    from asr_rescore.lm import DynamicConfig, dynamic_cost, gradient_statistics, perplexity, stream_cost
    from asr_rescore.lm.neural_scorer import NeuralScorer

    given = {"lr": arguments.dynamic_lr, "decay": arguments.dynamic_decay, "epsilon": arguments.dynamic_epsilon}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.dynamic and (arguments.by_sentence or not arguments.statistics):
        raise UsageError("--dynamic needs --statistics, the model's training text, and goes without --by-sentence")
    if not arguments.dynamic and (given or arguments.statistics):
        raise UsageError("--statistics, --dynamic-lr, --dynamic-decay and --dynamic-epsilon go with --dynamic")
    options = DynamicConfig(**given)
    device = choose_device(arguments.device)
    loaded = load_model(arguments.lm_dir, device)
    text = TokenStream.read(arguments.text, loaded.vocabulary, kaldi_text=arguments.kaldi_text)
    train = TokenStream.read(arguments.statistics, loaded.vocabulary) if arguments.dynamic else None
    if arguments.by_sentence:
        scorer = NeuralScorer(loaded.model, loaded.vocabulary, device)
        sentences = read_sentences(arguments.text, kaldi_text=arguments.kaldi_text)
        cost = 0.0
        while some := list(islice(sentences, SENTENCES_AT_ONCE)):
            cost += float(scorer.costs(some).sum())
    else:
        cost = stream_cost(loaded.model, text.ids, device) + text.class_cost
    ppl = perplexity(cost / len(text))
    print(f"ppl {ppl:.2f}, {len(text)} tokens in {text.sentences} sentences, {text.oov.total()} OOVs")
    if text.oov:
        listed = ", ".join(f"{word} {count}" for word, count in text.oov.most_common(SHOWN))
        more = f" and {len(text.oov) - SHOWN} other words" if len(text.oov) > SHOWN else ""
        print(f"OOVs: {listed}{more}")
    figures = {"ppl": ppl, "tokens": len(text), "oovs": text.oov.total(), "text": text.hash, "model": loaded.hash}
    if train is not None:
        statistics = gradient_statistics(loaded.model, train.ids, device, options)
        cost = dynamic_cost(loaded.model, text.ids, device, statistics, options) + text.class_cost
        rates = {"lr": options.lr, "decay": options.decay, "epsilon": options.epsilon}
        figures |= {"dynamic_ppl": perplexity(cost / len(text)), **rates}
        listed = ", ".join(f"{name} {value:g}" for name, value in rates.items())
        print(f"dynamic ppl {figures['dynamic_ppl']:.2f}, {listed}")
    if arguments.json:
        with atomic_text(arguments.json) as stream:
            json.dump(figures, stream, indent=2)
    return 0
