"""rescore_nbest: a decode directory's N-best lists rescored with language models."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.rescoring_options import add_rescoring_arguments
from asr_rescore.cli.rescoring_options import run_rescoring as run
from asr_rescore.rescoring.config import ListConfig

__all__ = ["HELP", "configure", "run"]
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
