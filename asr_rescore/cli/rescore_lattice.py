"""rescore_lattice: a decode directory's lattices rescored with language models, arc by arc."""

from __future__ import annotations

import argparse

from asr_rescore.cli.rescoring_options import add_rescoring_arguments
from asr_rescore.cli.rescoring_options import run_rescoring as run
from asr_rescore.rescoring.config import LatticeConfig

__all__ = ["ELSEWHERE", "HELP", "configure", "run"]
HELP = "rescore the lattices of a Kaldi decode directory with known weights"
ELSEWHERE = {"--tune": "rescore_nbest --tune finds weights on a dev set, and --weights takes them from its out-dir"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_rescoring_arguments(parser, LatticeConfig)
