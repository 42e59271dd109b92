"""sample_text: text drawn from a language model."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.options import (
    add_config_options,
    add_device_option,
    number,
    output_file,
    read_config,
    summary_stream,
)
from asr_rescore.lm_config import SamplingConfig
from asr_rescore.ranges import COUNT

HELP = "write text drawn from one or more language models, to train a student on"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--sentences", type=number(int, COUNT), help="draw exactly this many sentences")
    amount.add_argument(
        "--tokens",
        type=number(int, COUNT),
        help="draw about this many tokens, sentence ends included; only whole sentences are drawn",
    )
    add_config_options(parser, SamplingConfig)
    add_device_option(parser)
    parser.add_argument(
        "lm_dir", type=Path, nargs="+", metavar="lm-dir", help="language model; several models form an ensemble"
    )
    parser.add_argument(
        "text_out",
        type=output_file,
        metavar="text-out",
        help="output, one sentence per line; gzipped if its name ends in .gz; -: standard output",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the text, write it and print how much it is."""
    from collections import Counter

    from asr_rescore.checkpoint import combine, load_model, model_files
    from asr_rescore.corpus import write_sentences
    from asr_rescore.files import atomic_text
    from asr_rescore.lm import sample_sentences
    from asr_rescore.models import choose_device
    from asr_rescore.outputs import check_outputs
    from asr_rescore.vocab import SENTENCE_END

    check_outputs([arguments.text_out], model_files(*arguments.lm_dir))
    device = choose_device(arguments.device)
    config = read_config(SamplingConfig, arguments)
    vocabulary, model = combine([load_model(path) for path in arguments.lm_dir])
    tally: Counter[str] = Counter()
    drawn = sample_sentences(
        model.to(device),
        vocabulary,
        device,
        sentences=arguments.sentences,
        tokens=arguments.tokens,
        config=config,
        tally=tally,
    )
    with atomic_text(arguments.text_out) as stream:
        counts = write_sentences(stream, drawn)
    print(
        f"{arguments.text_out}: {counts.total()} tokens in {counts[SENTENCE_END]} sentences, "
        f"{tally['cut']} of them cut after {config.max_tokens} words",
        file=summary_stream(arguments.text_out),
    )
    return 0
