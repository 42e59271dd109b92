"""lattice_to_nbest: an N-best directory from lattices."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.options import add_config_options, read_config

HELP = "write the N best hypotheses of each lattice, with their costs and alignments"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from asr_rescore.programs.lattice_to_nbest import NBestConfig

    add_config_options(parser, NBestConfig)
    parser.add_argument("--allow-pipes", action="store_true", help="run commands in rspecifiers and .scp files")
    parser.add_argument(
        "lattices", metavar="lattice-rspecifier|decode-dir", help="for example exp/tri4b/decode_dev, or ark:lat.ark"
    )
    parser.add_argument("words", type=Path, metavar="words.txt", help="words.txt of the decoding graph")
    parser.add_argument("nbest_dir", type=Path, metavar="nbest-dir", help="output; gets archives.JOB/")


def run(arguments: argparse.Namespace) -> int:
    """Write the directory; 1 if some utterances could not be written."""
    from asr_rescore import kaldi
    from asr_rescore.outputs import check_outputs
    from asr_rescore.programs.lattice_to_nbest import NBestConfig, check_nbest_dir, write_nbest_dir

    config = read_config(NBestConfig, arguments)
    check_nbest_dir(arguments.lattices, arguments.nbest_dir)  # before words.txt is read
    check_outputs([], [arguments.words], replaced=[*arguments.nbest_dir.glob("archives.*")])
    summary = write_nbest_dir(
        arguments.lattices,
        kaldi.read_words(arguments.words),
        arguments.nbest_dir,
        config,
        allow_pipes=arguments.allow_pipes,
    )
    failed = len(summary.failures.reasons)
    print(f"{arguments.nbest_dir}: {summary.hypotheses} hypotheses of {summary.utterances} utterances, {failed} failed")
    return 1 if failed else 0
