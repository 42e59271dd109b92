"""sample_text: text drawn from a language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.training_options import add_device_option, choose_device

HELP = "write text drawn from one or more language models, to train a student on"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--sentences", type=int, help="draw so many")
    amount.add_argument("--tokens", type=int, help="draw so many or a few more, sentence ends counted")
    parser.add_argument("--seed", type=int, help="of the draws (1)")
    parser.add_argument("--temperature", type=float, help="below 1: likelier words; above 1: more varied ones (1)")
    parser.add_argument("--streams", type=int, help="texts drawn side by side (64)")
    parser.add_argument("--max-tokens", type=int, help="words at which a sentence is cut (200)")
    add_device_option(parser)
    parser.add_argument("lm_dir", type=Path, nargs="+", metavar="lm-dir", help="several are averaged")
    parser.add_argument("text_out", type=Path, metavar="text-out", help="a sentence a line; gzipped if it ends in .gz")


def run(arguments: argparse.Namespace) -> int:
    """Draw the text and write it."""
    from collections import Counter

    from asr_rescore.checkpoint import combine, load_model
    from asr_rescore.corpus import write_sentences
    from asr_rescore.errors import UsageError
    from asr_rescore.lm.sampling import sample_sentences
    from asr_rescore.vocab import SENTENCE_END

    if arguments.text_out.is_dir():  # else seen only when all is drawn
        raise UsageError(f"{arguments.text_out} is a directory; name the text to write behind the models")
    device = choose_device(arguments.device)
    names = ("sentences", "tokens", "seed", "temperature", "streams", "max_tokens")
    options = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    vocabulary, model = combine([load_model(path) for path in arguments.lm_dir])
    tally: Counter[str] = Counter()
    drawn = sample_sentences(model.to(device), vocabulary, device, **options, tally=tally)
    counts = write_sentences(arguments.text_out, drawn)
    print(
        f"{arguments.text_out}: {counts.total()} tokens in {counts[SENTENCE_END]} sentences, "
        f"{tally['cut']} of them cut for their length"
    )
    return 0
