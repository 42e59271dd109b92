"""compute_ppl: the perplexity of a text."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_rescore.cli.options import (
    add_config_options,
    add_device_option,
    add_utterance_id_options,
    given,
    input_file,
    output_file,
    summary_stream,
)
from asr_rescore.lm_config import DYNAMIC_PRESETS, DynamicConfig

if TYPE_CHECKING:
    from asr_rescore.checkpoint import LoadedModel
    from asr_rescore.lm.text_cost import TextCost

HELP = "print a text's perplexity, number of tokens and out-of-vocabulary words"
RATES = ("lr", "decay", "epsilon")  # the settings of dynamic evaluation that have an option
SHOWN = 20  # out-of-vocabulary words that are listed


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--by-sentence",
        action="store_true",
        help="predict each sentence by itself, as rescoring does, instead of the text as a whole",
    )
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="also print the perplexity of dynamic evaluation, in which the model goes on learning from the text",
    )
    parser.add_argument(
        "--statistics", type=Path, metavar="TEXT", help="with --dynamic: the text that the model was trained on"
    )
    parser.add_argument(
        "--dynamic-preset",
        choices=tuple(DYNAMIC_PRESETS),
        help="units of the rates of dynamic evaluation, and their defaults; reference: those of the AWD-LSTM-MoS code, "
        "in which good rates depend on the sizes of model and text (default: relative, whose defaults are given below)",
    )
    add_config_options(parser, DynamicConfig, RATES, prefix="dynamic_")
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="also write the results to this file; -: standard output"
    )
    parser.add_argument(
        "--details",
        type=output_file,
        metavar="FILE",
        help="also write the cost of each word and each sentence to this file, as a table; -: standard output",
    )
    add_utterance_id_options(parser)
    add_device_option(parser)
    parser.add_argument("lm_dir", type=Path, metavar="lm-dir", help="language model")
    parser.add_argument("text", type=input_file, help="one sentence per line, plain or gzipped; -: standard input")


def run(arguments: argparse.Namespace) -> int:
    """Predict every token once, sentence ends included, and print the perplexity."""
    import json

    from asr_rescore.checkpoint import load_model, model_files
    from asr_rescore.corpus import TokenStream, read_sentences
    from asr_rescore.errors import UsageError, printable
    from asr_rescore.files import STDOUT, atomic_text, rereadable
    from asr_rescore.lm import NeuralScorer
    from asr_rescore.lm.dynamic import evaluate_dynamically
    from asr_rescore.lm.text_cost import evaluate_sentences, evaluate_text
    from asr_rescore.models import choose_device
    from asr_rescore.outputs import check_outputs

    if arguments.dynamic and (arguments.by_sentence or not arguments.statistics):
        raise UsageError("--dynamic needs --statistics and cannot be combined with --by-sentence")
    rates = given(arguments, DynamicConfig, "dynamic_")
    if not arguments.dynamic and (arguments.statistics or arguments.dynamic_preset or rates):
        raise UsageError(
            "--statistics, --dynamic-preset, --dynamic-lr, --dynamic-decay and --dynamic-epsilon need --dynamic"
        )
    config = replace(DYNAMIC_PRESETS[arguments.dynamic_preset or "relative"], **rates)
    outputs = [path for path in (arguments.json, arguments.details) if path]
    if outputs.count(STDOUT) > 1:
        raise UsageError("--json and --details are both standard output; give a file for one of them")
    texts = [path for path in (arguments.text, arguments.statistics) if path]
    check_outputs(outputs, [*texts, *model_files(arguments.lm_dir)])
    device = choose_device(arguments.device)
    loaded = load_model(arguments.lm_dir, device)
    with rereadable(arguments.text) as path:
        text = TokenStream.read(path, loaded.vocabulary, kaldi_text=arguments.kaldi_text)
        if arguments.details:
            cost = _write_details(arguments, loaded, path, text.sentences)
        elif arguments.by_sentence:
            scorer = NeuralScorer(loaded.model, loaded.vocabulary, device)
            sentences = read_sentences(path, kaldi_text=arguments.kaldi_text)
            cost = evaluate_sentences(scorer, sentences, text.sentences)
        else:
            cost = evaluate_text(loaded.model, text, device)
    training_text = TokenStream.read(arguments.statistics, loaded.vocabulary) if arguments.dynamic else None
    said = summary_stream(STDOUT if STDOUT in outputs else None)
    print(f"ppl {cost.ppl:.2f}, {len(text)} tokens in {text.sentences} sentences, {text.oov.total()} OOVs", file=said)
    if text.oov:
        listed = ", ".join(f"{word} {count}" for word, count in text.oov.most_common(SHOWN))
        more = f" and {len(text.oov) - SHOWN} other words" if len(text.oov) > SHOWN else ""
        print(printable(f"OOVs: {listed}{more}"), file=said)
    figures: dict[str, Any] = {
        "ppl": cost.ppl,
        "tokens": len(text),
        "oovs": text.oov.total(),
        "text": text.hash,
        "model": loaded.hash,
    }
    if training_text is not None:
        dynamic_cost = evaluate_dynamically(loaded.model, text, training_text, device, config)
        rates = {name: getattr(config, name) for name in RATES}
        figures |= {"dynamic_ppl": dynamic_cost.ppl, "units": config.units, **rates}
        listed = ", ".join(f"{name} {value:g}" for name, value in rates.items())
        print(f"dynamic ppl {dynamic_cost.ppl:.2f}, {listed}, {config.units} units", file=said)
    if arguments.json:
        with atomic_text(arguments.json) as stream:
            json.dump(figures, stream, indent=2)
    return 0


def _write_details(arguments: argparse.Namespace, loaded: LoadedModel, text: Path, sentences: int) -> TextCost:
    """Write the cost of each word, sentence by sentence, and return that of the text."""
    from asr_rescore.corpus import read_sentences
    from asr_rescore.files import atomic_text
    from asr_rescore.lm.details import word_costs, write_word_costs
    from asr_rescore.models import choose_device
    from asr_rescore.progress import progress_bar

    read = read_sentences(text, kaldi_text=arguments.kaldi_text)
    costs = word_costs(loaded, read, choose_device(arguments.device), by_sentence=arguments.by_sentence)
    with atomic_text(arguments.details) as stream:
        return write_word_costs(stream, progress_bar("word costs", sentences, "sentences").over(costs))
