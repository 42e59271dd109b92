"""rescore_lattice: a decode directory's lattices rescored with language models, arc by arc."""

from __future__ import annotations

import argparse

from asr_rescore.cli.rescoring_options import (
    add_config_options,
    add_directories,
    add_job_options,
    add_weight_options,
    read_config,
    read_inputs,
)

HELP = "rescore the lattices of a Kaldi decode directory with language models, with weights that are known"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from asr_rescore.rescoring.config import LatticeConfig

    add_config_options(parser, LatticeConfig)
    add_weight_options(parser)
    add_job_options(parser)
    add_directories(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore.errors import UsageError
    from asr_rescore.rescoring.config import Job, LatticeConfig
    from asr_rescore.rescoring.lattice_run import LatticeRescoring

    config = read_config(LatticeConfig, arguments)
    if not (arguments.lm_weight or arguments.weights):
        raise UsageError("give --lm-weight or --weights, e.g. those that rescore_nbest --tune found")
    shares = [Job(job, arguments.nj) for job in range(1, arguments.nj + 1)]
    inputs = read_inputs(config, arguments)
    chosen = inputs.given_weights(arguments.lm_weight, arguments.weights)
    rescoring = LatticeRescoring(config, inputs, chosen, arguments.out_dir)
    if arguments.job is not None:
        rescoring.rescore(Job(arguments.job, arguments.nj))
        return 0
    for share in shares:
        rescoring.rescore(share)
    failures = rescoring.finish(arguments.nj, with_lattice_oracle=not arguments.no_lattice_oracle)
    return 1 if failures.reasons else 0
