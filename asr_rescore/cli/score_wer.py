"""score_wer: the word error rate of hypotheses against references."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.options import add_config_options, check_one_stdin, input_file, read_config
from asr_rescore.scoring import ScoringConfig

HELP = "print the word error rate of a hypothesis file as Kaldi's compute-wer does"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--mode",
        choices=("all", "present"),
        default="all",
        help="all: a missing hypothesis counts as deletions; present: its utterance is left out (%(default)s)",
    )
    parser.add_argument(
        "--details-dir", type=Path, metavar="DIR", help="directory for per_utt, per_spk, ops and wer_bootci"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="D",
        help="data directory whose utt2spk has the speakers for per_spk; default: each utterance is a speaker",
    )
    add_config_options(parser, ScoringConfig)
    parser.add_argument(
        "reference",
        type=input_file,
        metavar="ref-text",
        help="references; each line is an utterance id and words; -: standard input",
    )
    parser.add_argument(
        "hypothesis", type=input_file, metavar="hyp-text", help="hypotheses, in the same form; -: standard input"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the word error rate, and say which utterances lack a hypothesis or a reference."""
    import sys

    from asr_rescore.errors import UsageError, printable
    from asr_rescore.kaldi import read_data_dir, read_table
    from asr_rescore.outputs import check_outputs
    from asr_rescore.report import IN_CHARACTERS, IN_WORDS, write_details
    from asr_rescore.scoring import InCharacters, Scoring
    from asr_rescore.word_errors import wer

    config = read_config(ScoringConfig, arguments)
    unit = IN_CHARACTERS if config.cer else IN_WORDS
    check_one_stdin(arguments.reference, arguments.hypothesis)
    if arguments.data_dir and not arguments.details_dir:
        raise UsageError("--data-dir is only for the files in --details-dir; give both")
    if arguments.details_dir:
        inputs = [arguments.reference, arguments.hypothesis]
        if arguments.data_dir:
            inputs += [arguments.data_dir / name for name in ("utt2spk", "text")]
        check_outputs([arguments.details_dir / name for name in unit.details_files()], inputs)
    scoring = Scoring.open(config)
    references = scoring.references(read_table(arguments.reference))
    hypotheses = scoring.hypotheses(read_table(arguments.hypothesis))
    if config.cer:
        references = InCharacters(references)
        hypotheses = InCharacters(hypotheses)
    if arguments.details_dir:
        speakers = read_data_dir(arguments.data_dir).utt2spk if arguments.data_dir else {}
        write_details(arguments.details_dir, references, hypotheses, speakers, arguments.mode, unit)
    print(wer(references, hypotheses, arguments.mode).lines(), end="")
    missing = references.keys() - hypotheses.keys()
    unexpected = hypotheses.keys() - references.keys()
    for utt in sorted(missing):
        print(printable(f"{arguments.hypothesis}: no hypothesis for {utt}"), file=sys.stderr)
    for utt in sorted(unexpected):
        print(printable(f"{arguments.reference}: no reference for {utt}, which is not scored"), file=sys.stderr)
    return 1 if missing or unexpected else 0
