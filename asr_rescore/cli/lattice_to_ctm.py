"""lattice_to_ctm: words with times and confidences."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the words of each lattice with times and confidences, as a ctm"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--inv-acwt", type=float, metavar="LMWT", help="inverse of the acoustic scale (12)")
    parser.add_argument("--word-ins-penalty", type=float, metavar="P", help="added to the cost once a word (0)")
    parser.add_argument("--weights", type=Path, metavar="F", help="both from a weights.yaml (or its out-dir)")
    parser.add_argument(
        "--decode",
        choices=("mbr", "best"),
        default="mbr",
        help="mbr: the words with the fewest expected errors; best: those of the best path (mbr)",
    )
    parser.add_argument(
        "--posterior-scale",
        type=float,
        default=1.0,
        metavar="S",
        help="multiplies all costs; below 1, confidences fall (1)",
    )
    parser.add_argument("--frame-shift", type=float, default=0.01, metavar="S", help="seconds a frame (0.01)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="D",
        help="its segments, if it has them, say where in a recording utterances lie",
    )
    parser.add_argument("--allow-pipes", action="store_true", help="run commands in rspecifiers and .scp files")
    parser.add_argument("words", type=Path, metavar="words.txt", help="of the graph the lattices were decoded with")
    parser.add_argument(
        "lattices", metavar="lattice-rspecifier|decode-dir", help="e.g. an out-dir of rescore_nbest, or ark:lat.ark"
    )
    parser.add_argument("ctm", type=Path, metavar="out-ctm", help="the file to write")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    import sys

    from asr_rescore import kaldi
    from asr_rescore.errors import UsageError
    from asr_rescore.programs.lattice_to_ctm import CtmConfig, write_ctm
    from asr_rescore.ranking import OperatingPoint
    from asr_rescore.rescoring.weights import ChosenWeights

    lmwt, wip = arguments.inv_acwt, arguments.word_ins_penalty
    if arguments.weights is None:
        point = OperatingPoint(12.0 if lmwt is None else lmwt, 0.0 if wip is None else wip)
    elif lmwt is None and wip is None:
        point = ChosenWeights.load(arguments.weights, None).weights.point
    else:
        raise UsageError("--weights has both --inv-acwt and --word-ins-penalty; give either it or them")
    summary = write_ctm(
        arguments.lattices,
        kaldi.read_words(arguments.words),
        arguments.ctm,
        CtmConfig(point, arguments.posterior_scale, arguments.decode == "mbr", arguments.frame_shift),
        kaldi.read_places(arguments.data_dir) if arguments.data_dir else None,
        allow_pipes=arguments.allow_pipes,
    )
    failed = summary.failures.reasons
    print(
        f"{arguments.ctm}: {summary.words} words of {summary.utterances} utterances, "
        f"{summary.risk:.1f} word errors expected, {len(failed)} failed"
    )
    for what, reason in sorted(failed.items()):
        print(f"{what}\t{reason}", file=sys.stderr)
    return 1 if failed else 0
