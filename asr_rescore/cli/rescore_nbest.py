"""rescore_nbest: a decode directory's N-best lists rescored with language models."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.rescoring_options import add_rescoring_arguments, run_rescoring
from asr_rescore.rescoring.config import ListConfig

HELP = "rescore the N-best lists of a Kaldi decode directory and report the word error rate"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    how = add_rescoring_arguments(parser, ListConfig)
    how.add_argument(
        "--tune", action="store_true", help="tune LM weights, LMWT and word insertion penalty on this data-dir"
    )
    parser.add_argument(
        "--score-cache", type=Path, metavar="DIR", help="directory of sentence costs, shared with other runs and jobs"
    )


def run(arguments: argparse.Namespace) -> int:
    """Rescore; see :func:`run_rescoring`.

    Raises:
        UsageError: nothing says how to weigh the LMs.
    """
    from asr_rescore.errors import UsageError

    if arguments.job is None and not (arguments.lm_weight or arguments.weights or arguments.tune):
        raise UsageError("give --lm-weight, --weights or --tune (or --job, to run only one job)")
    return run_rescoring(arguments, ListConfig, arguments.score_cache)
