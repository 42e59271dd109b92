"""lattice_to_nbest: an N-best directory from lattices."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the N best hypotheses of each lattice, with costs and alignments"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--n", type=int, default=1000, help="hypotheses of an utterance at most (1000)")
    parser.add_argument(
        "--acoustic-scale", type=float, default=0.1, help="with which they are chosen; costs stay unscaled (0.1)"
    )
    parser.add_argument("--allow-pipes", action="store_true", help="run commands in rspecifiers and .scp files")
    parser.add_argument(
        "lattices", metavar="lattice-rspecifier|decode-dir", help="e.g. exp/tri4b/decode_dev, or ark:lat.ark"
    )
    parser.add_argument("words", type=Path, metavar="words.txt", help="of the graph the lattices were decoded with")
    parser.add_argument("nbest_dir", type=Path, metavar="nbest-dir", help="where archives.JOB/ go")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore import kaldi
    from asr_rescore.programs.lattice_to_nbest import write_nbest_dir

    utterances, hypotheses, failures = write_nbest_dir(
        arguments.lattices,
        kaldi.read_words(arguments.words),
        arguments.nbest_dir,
        n=arguments.n,
        acoustic_scale=arguments.acoustic_scale,
        allow_pipes=arguments.allow_pipes,
    )
    print(f"{arguments.nbest_dir}: {hypotheses} hypotheses of {utterances} utterances, {len(failures.reasons)} failed")
    return 1 if failures.reasons else 0
