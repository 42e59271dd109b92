"""train_lm: a language model from text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from asr_rescore.cli.training_options import (
    add_training_options,
    check_training_outputs,
    prepared_run,
    read_training_config,
    say_plan,
    training_ranks,
)

if TYPE_CHECKING:
    from asr_rescore.training import Ranks

HELP = "train a language model on text; if stopped, run the same command again to continue"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_training_options(parser)
    parser.add_argument(
        "--vocab", type=Path, help="directory with vocab.txt, from prepare_text (default: all words of --train)"
    )
    parser.add_argument("lm_dir", type=Path, metavar="lm-dir", help="output directory")


def run(arguments: argparse.Namespace) -> int:
    """Train the model, or continue a stopped training, and print the best valid perplexity."""
    with training_ranks(arguments) as ranks:
        _run(arguments, ranks)
    return 0


def _run(arguments: argparse.Namespace, ranks: Ranks) -> None:
    from asr_rescore.corpus import count_words, read_sentences
    from asr_rescore.errors import UsageError
    from asr_rescore.training import train
    from asr_rescore.vocab import Vocabulary
    from asr_rescore.vocab_files import UNK_PROBS_FILE, VOCABULARY_FILE, load_vocabulary

    vocabulary_files = []
    if arguments.vocab:
        vocabulary_files = [arguments.vocab / name for name in (VOCABULARY_FILE, UNK_PROBS_FILE)]
    check_training_outputs(arguments, arguments.lm_dir, vocabulary_files)
    config = read_training_config(arguments)
    if config.objective.needs_teacher:
        raise UsageError(f"{arguments.config[-1]}: objective {config.objective.kind} needs a teacher; use distill_lm")
    if arguments.vocab:
        vocabulary = load_vocabulary(arguments.vocab)
    else:
        vocabulary = Vocabulary.from_counts(count_words(read_sentences(arguments.train)))
    with prepared_run(arguments, arguments.lm_dir, config, vocabulary, ranks.device) as (run, model):
        print(f"{arguments.lm_dir}: {model.num_parameters} parameters, {len(run.train)} tokens, on {ranks}")
        say_plan(arguments, config, arguments.lm_dir)
        ppl = train(run, model, ranks.device, ranks=ranks)
        print(f"{arguments.lm_dir}: valid ppl {ppl:.2f}")
