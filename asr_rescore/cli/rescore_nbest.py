"""rescore_nbest: a decode directory's N-best lists rescored with language models."""

from __future__ import annotations

import argparse

from asr_rescore.cli.rescoring_options import add_rescoring_arguments
from asr_rescore.cli.rescoring_options import run_rescoring as run
from asr_rescore.rescoring.config import ListConfig

__all__ = ["ELSEWHERE", "HELP", "configure", "run"]
HELP = "rescore the N-best lists of a Kaldi decode directory and report the word error rate"
ELSEWHERE = {"--N": "here it is --n"}  # the scripts in recipes/steps, as Kaldi's, have --N


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_rescoring_arguments(parser, ListConfig)
