"""rescore_lattice: a decode directory's lattices rescored with language models, arc by arc."""

from __future__ import annotations

import argparse

from asr_rescore.cli.rescoring_options import add_rescoring_arguments, run_rescoring
from asr_rescore.rescoring.config import LatticeConfig

HELP = "rescore the lattices of a Kaldi decode directory with known weights"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_rescoring_arguments(parser, LatticeConfig)


def run(arguments: argparse.Namespace) -> int:
    """Rescore; see :func:`run_rescoring`.

    Raises:
        UsageError: nothing says how to weigh the LMs.
    """
    from asr_rescore.errors import UsageError

    if not (arguments.lm_weight or arguments.weights):
        raise UsageError("give --lm-weight or --weights, for example those that rescore_nbest --tune found")
    return run_rescoring(arguments, LatticeConfig)
