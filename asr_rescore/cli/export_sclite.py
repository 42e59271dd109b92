"""export_sclite: the files of NIST's sclite from a decode directory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr_rescore.cli.lattice_to_ctm import add_operating_point, ctm_config

HELP = "write the transcripts of a decode directory and their references for NIST's sclite"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--words", type=Path, metavar="words.txt", help="words.txt of the decoding graph; for ref.stm and hyp.ctm"
    )
    add_operating_point(parser, ["inv_acwt", "word_ins_penalty", "frame_shift"])
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="data directory with references")
    parser.add_argument("decode_dir", type=Path, metavar="decode-dir", help="an out-dir of rescore_nbest, for example")
    parser.add_argument(
        "out_dir", type=Path, metavar="out-dir", help="gets ref.trn and hyp.trn; with --words, ref.stm and hyp.ctm"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files; 1 if some utterances are missing in them.

    Raises:
        UsageError: the operating point is given twice.
    """
    from asr_rescore.errors import printable
    from asr_rescore.kaldi import read_words
    from asr_rescore.outputs import check_outputs
    from asr_rescore.programs.sclite_export import HYP_CTM, HYP_TRN, REF_STM, REF_TRN, export_sclite, inputs_of
    from asr_rescore.rescoring.weights import WEIGHTS_FILE

    timed = [] if arguments.words is None else [REF_STM, HYP_CTM]
    inputs = [*inputs_of(arguments.data_dir, arguments.decode_dir), *filter(None, [arguments.words, arguments.weights])]
    check_outputs([arguments.out_dir / name for name in (REF_TRN, HYP_TRN, *timed)], inputs)
    if arguments.weights is None and "inv_acwt" not in arguments and "word_ins_penalty" not in arguments:
        known = arguments.decode_dir / WEIGHTS_FILE
        arguments.weights = known if known.exists() else None
    config = ctm_config(arguments, str(arguments.decode_dir), arguments.data_dir, sys.stdout, decode="best")
    words = None if arguments.words is None else read_words(arguments.words)
    summary = export_sclite(arguments.data_dir, arguments.decode_dir, arguments.out_dir, words, config)
    failed = summary.failures.reasons
    print(
        f"{arguments.out_dir}: {summary.utterances} utterances, "
        f"{len(summary.without_hypothesis)} without a transcript, {len(failed)} failed"
    )
    if summary.differing:
        print(
            f"{arguments.out_dir}: the best path of {summary.differing} lattices at LMWT {config.inv_acwt:g}, WIP "
            f"{config.word_ins_penalty:g} is not the transcript; give the weights with --weights",
            file=sys.stderr,
        )
    for utt in summary.without_hypothesis:
        print(printable(f"{utt}\tno transcript in {arguments.decode_dir}; written as an empty one"), file=sys.stderr)
    summary.failures.log()
    return 1 if failed or summary.differing or summary.without_hypothesis else 0
