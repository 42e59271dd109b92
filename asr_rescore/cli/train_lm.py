"""train_lm: a language model from text."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_training_options, choose_device, start_model

HELP = "train a language model on text; run again after a stop, it goes on where it was"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_training_options(parser)
    parser.add_argument(
        "--vocab", type=Path, help="directory with vocab.txt (prepare_text); default: all words of --train"
    )
    parser.add_argument("lm_dir", type=Path, metavar="lm-dir", help="where the model goes")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore import corpus
    from asr_rescore.config import load_config
    from asr_rescore.errors import UsageError
    from asr_rescore.training import TrainingRun, train
    from asr_rescore.vocab import Vocabulary
    from asr_rescore.vocab_files import load_vocabulary

    device = choose_device(arguments.device)
    config = load_config(*arguments.config)
    if config.objective.needs_teacher:
        raise UsageError(f"{arguments.config[-1]}: objective {config.objective.kind} needs a teacher; use distill_lm")
    if arguments.vocab:
        vocabulary = load_vocabulary(arguments.vocab)
    else:
        vocabulary = Vocabulary.from_counts(corpus.count_words(corpus.read_sentences(arguments.train)))
    texts = [corpus.TokenStream.read(path, vocabulary) for path in (arguments.train, arguments.valid)]
    model, facts = start_model(arguments, config, vocabulary, device)
    print(f"{arguments.lm_dir}: {model.num_parameters} parameters, {len(texts[0])} tokens, on {device}")
    run = TrainingRun(config, vocabulary, *texts, arguments.seed, arguments.lm_dir, facts, bool(arguments.init))
    ppl = train(run, model, device)
    print(f"{arguments.lm_dir}: valid ppl {ppl:.2f}")
    return 0
