"""rescore_nbest: a decode directory's N-best lists rescored with language models."""

from __future__ import annotations

import argparse
from pathlib import Path

from asr_rescore.cli.rescoring_options import (
    add_config_options,
    add_directories,
    add_job_options,
    add_weight_options,
    read_config,
    read_inputs,
)

HELP = "rescore a Kaldi decode directory with language models and report its word error rate"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from asr_rescore.rescoring.config import ListConfig

    add_config_options(parser, ListConfig)
    how = add_weight_options(parser)
    how.add_argument("--tune", action="store_true", help="choose LM weights, LMWT and word penalty on this data-dir")
    parser.add_argument(
        "--score-cache", type=Path, metavar="DIR", help="keep every sentence's cost there, for other runs and jobs too"
    )
    add_job_options(parser)
    add_directories(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore.errors import UsageError
    from asr_rescore.rescoring.config import Job, ListConfig
    from asr_rescore.rescoring.run import Rescoring

    config = read_config(ListConfig, arguments)
    shares = [Job(job, arguments.nj) for job in range(1, arguments.nj + 1)]
    if arguments.job is None and not (arguments.lm_weight or arguments.weights or arguments.tune):
        raise UsageError("give --lm-weight, --weights or --tune (or --job, to do one share of the costs only)")
    inputs = read_inputs(config, arguments)
    chosen = inputs.given_weights(arguments.lm_weight, arguments.weights)
    rescoring = Rescoring(config, inputs, arguments.out_dir, chosen, arguments.score_cache)
    if arguments.job is not None:
        rescoring.cost(Job(arguments.job, arguments.nj))
        return 0
    for share in shares:
        rescoring.cost(share)
    failures = rescoring.finish(arguments.nj, with_lattice_oracle=not arguments.no_lattice_oracle)
    return 1 if failures.reasons else 0
