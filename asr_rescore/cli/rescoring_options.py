"""What the two rescoring commands share: their arguments, and what they print."""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from asr_rescore.cli.options import add_config_options, add_device_option, number, read_config
from asr_rescore.progress import work_on
from asr_rescore.ranges import JOBS
from asr_rescore.rescoring.config import LatticeConfig, ListConfig
from asr_rescore.scoring import ScoringConfig


def add_rescoring_arguments(parser: argparse.ArgumentParser, config: type[ListConfig | LatticeConfig]) -> None:
    """Declare all arguments of the command that rescores by ``config``."""
    parser.set_defaults(config_type=config)
    old_lm = parser.add_mutually_exclusive_group()
    old_lm.add_argument(
        "--old-lm",
        type=Path,
        metavar="F",
        help="the language model in the lattices' graph costs, if it is not that of old-lang-dir: a G.fst, a G.carpa "
        "or an ARPA file",
    )
    old_lm.add_argument(
        "--no-old-lm",
        action="store_true",
        help="there is no file of the old LM: weigh the new costs against whole graph costs",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--lm-weight",
        type=number(float),
        action="append",
        metavar="W",
        help="weight of a neural LM against the old LM, once for each lm-dir; LMWT is then --inv-acwt, and there is no "
        "word insertion penalty",
    )
    how.add_argument("--weights", type=Path, metavar="F", help="apply a dev set's weights.yaml (or its out-dir)")
    if config is ListConfig:
        how.add_argument(
            "--tune", action="store_true", help="tune LM weights, LMWT and word insertion penalty on this data-dir"
        )
        parser.add_argument(
            "--score-cache",
            type=Path,
            metavar="DIR",
            help="directory of sentence costs, shared with other runs and jobs",
        )
    else:
        parser.set_defaults(tune=None, score_cache=None)
    add_config_options(parser, config)
    tunes = config is ListConfig
    add_config_options(parser, ScoringConfig, helps={} if tunes else {"cer": "also count character errors"})
    parser.add_argument(
        "--nj",
        type=number(int, JOBS),
        default=1,
        metavar="J",
        help="number of jobs, and of lat.JOB.gz written; one command runs them one after the other, and recipes/steps/"
        + ("rescore_nbest.sh" if config is ListConfig else "rescore_lattice.sh")
        + " at the same time (default: 1)",
    )
    parser.add_argument(
        "--job",
        type=number(int, JOBS),
        metavar="I",
        help="run only job I, and no scoring; then run once without --job to finish",
    )
    parser.add_argument(
        "--skip-scoring", action="store_true", help="count no errors, as if data-dir had no text; needs known weights"
    )
    parser.add_argument("--no-lattice-oracle", action="store_true", help="do not compute the lattices' oracle WER")
    add_device_option(parser)
    parser.add_argument(
        "old_lang_dir", type=Path, metavar="old-lang-dir", help="words.txt and G.fst (or G.carpa) of the first pass"
    )
    parser.add_argument("lm_dir", type=Path, nargs="+", metavar="lm-dir", help="from train_lm, distill_lm, ensemble_lm")
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="utt2spk and, for scoring, text")
    parser.add_argument("decode_dir", type=Path, metavar="decode-dir", help="num_jobs and lat.JOB.gz")
    parser.add_argument("out_dir", type=Path, metavar="out-dir", help="output; becomes a decode directory")


def run_rescoring(arguments: argparse.Namespace) -> int:
    """Run one job, or all of them and the scoring, and print the result; 1 if something could not be done."""
    from asr_rescore.rescoring.job import Job
    from asr_rescore.rescoring.run import Rescoring

    began = time.monotonic()
    jobs = Job.all(arguments.nj)
    if arguments.job is not None:
        jobs = [Job(arguments.job, arguments.nj)]
        # A job of lists does not depend on the weights, so it runs without them too.
        arguments.tune = arguments.tune is not None and not (arguments.lm_weight or arguments.weights)
    work_on(arguments.out_dir, 1 if arguments.job is None else arguments.nj)
    rescoring = Rescoring.open(
        arguments.old_lang_dir,
        arguments.lm_dir,
        arguments.data_dir,
        arguments.decode_dir,
        arguments.out_dir,
        lm_weight=arguments.lm_weight,
        weights=arguments.weights,
        tune=bool(arguments.tune),
        config=read_config(arguments.config_type, arguments),
        scoring=read_config(ScoringConfig, arguments),
        skip_scoring=arguments.skip_scoring,
        score_cache=arguments.score_cache,
        device=arguments.device,
        old_lm=arguments.old_lm,
        no_old_lm=arguments.no_old_lm,
    )
    finished: list[Job] = []
    try:
        for job in jobs:
            rescoring.run_job(job)
            finished.append(job)
        if arguments.job is not None:
            return 0
        report = rescoring.finish(arguments.nj, lattice_oracle=not arguments.no_lattice_oracle)
    except KeyboardInterrupt:
        kept = _what_is_kept(len(finished), len(jobs))
        if arguments.job is not None:  # others may be finished
            kept = f"job {arguments.job} of {arguments.nj} is not finished; the same command begins it anew"
        print(f"{arguments.out_dir}: {kept}", flush=True)
        raise
    print(report.summary())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    times = f"done in {time.monotonic() - began:.1f} s"
    if rescoring.earlier:
        times += f", after jobs of {sum(rescoring.earlier.values()):.1f} s that were finished before"
    print(f"{arguments.out_dir}: {times}, peak memory {peak:.2f} GiB")
    return 1 if report.failures else 0


def _what_is_kept(finished: int, jobs: int) -> str:
    """What an interrupted rescoring leaves, and where the same command goes on."""
    if finished == jobs:
        return "all jobs are finished and kept; the same command only gathers them"
    if not finished:
        return "no job is finished; the same command begins anew"
    return f"{finished} of {jobs} jobs are finished and kept; the same command continues with the next"
