"""What the two rescoring commands share: their arguments, and what they print."""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from asr_rescore.cli.options import add_config_options, add_device_option, read_config
from asr_rescore.rescoring.config import LatticeConfig, ListConfig


def add_rescoring_arguments(
    parser: argparse.ArgumentParser, config: type[ListConfig | LatticeConfig]
) -> argparse._MutuallyExclusiveGroup:
    """Declare all arguments; returns the group of those that say how the LMs are weighed."""
    add_config_options(parser, config)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--lm-weight",
        type=float,
        action="append",
        metavar="W",
        help="weight of a neural LM against the old LM, once for each lm-dir; LMWT is then --inv-acwt, and there is no "
        "word insertion penalty",
    )
    how.add_argument("--weights", type=Path, metavar="F", help="apply a dev set's weights.yaml (or its out-dir)")
    parser.add_argument("--nj", type=int, default=1, metavar="J", help="number of jobs (default: 1)")
    parser.add_argument(
        "--job", type=int, metavar="I", help="run only job I, and no scoring; then run once without --job to finish"
    )
    parser.add_argument("--no-lattice-oracle", action="store_true", help="do not compute the lattices' oracle WER")
    add_device_option(parser)
    parser.add_argument("old_lang_dir", type=Path, metavar="old-lang-dir", help="words.txt and G.fst of the first pass")
    parser.add_argument("lm_dir", type=Path, nargs="+", metavar="lm-dir", help="from train_lm, distill_lm, ensemble_lm")
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="utt2spk and, for scoring, text")
    parser.add_argument("decode_dir", type=Path, metavar="decode-dir", help="num_jobs and lat.JOB.gz")
    parser.add_argument("out_dir", type=Path, metavar="out-dir", help="output; becomes a decode directory")
    return how


def run_rescoring(
    arguments: argparse.Namespace, config_type: type[ListConfig | LatticeConfig], score_cache: Path | None = None
) -> int:
    """Run one job, or all of them and the scoring, and print the result; the exit status."""
    from asr_rescore.rescoring.job import Job
    from asr_rescore.rescoring.run import Rescoring

    began = time.monotonic()
    jobs = Job.all(arguments.nj)  # refuses a wrong number before anything is read
    job = None if arguments.job is None else Job(arguments.job, arguments.nj)
    rescoring = Rescoring.open(
        arguments.old_lang_dir,
        arguments.lm_dir,
        arguments.data_dir,
        arguments.decode_dir,
        arguments.out_dir,
        lm_weight=arguments.lm_weight,
        weights=arguments.weights,
        config=read_config(config_type, arguments),
        score_cache=score_cache,
        device=arguments.device,
    )
    if job is not None:
        rescoring.run_job(job)
        return 0
    report = rescoring.run(len(jobs), lattice_oracle=not arguments.no_lattice_oracle)
    print(report.summary())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.out_dir}: done in {time.monotonic() - began:.1f} s, peak memory {peak:.2f} GiB")
    return 1 if report.failures else 0
