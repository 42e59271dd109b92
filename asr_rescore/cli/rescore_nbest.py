"""rescore_nbest: a decode directory rescored with language models."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from asr_rescore.cli.training_options import add_device_option, choose_device

HELP = "rescore a Kaldi decode directory with language models and report its word error rate"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from asr_rescore.rescoring.options import RescoringConfig

    for option in fields(RescoringConfig):
        name, text = "--" + option.name.replace("_", "-"), option.metadata["help"]
        if isinstance(option.default, bool):
            parser.add_argument(name, action="store_true", help=text)
        elif isinstance(option.default, tuple):
            default = ",".join(map(str, option.default))
            parser.add_argument(name, type=_numbers, default=option.default, help=f"{text} ({default})")
        else:
            kind = type(option.default)
            shown = option.default if kind is str else f"{option.default:g}"
            parser.add_argument(name, type=kind, default=option.default, help=f"{text} ({shown})")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--lm-weight",
        type=float,
        action="append",
        metavar="W",
        help="weight of a neural LM against the old one, once for each lm-dir; LMWT is --inv-acwt, and no word penalty",
    )
    how.add_argument("--weights", type=Path, metavar="F", help="weights.yaml of a dev set (or its out-dir), unchanged")
    how.add_argument("--tune", action="store_true", help="choose LM weights, LMWT and word penalty on this data-dir")
    parser.add_argument("--nj", type=int, default=1, metavar="J", help="shares the work is cut into (1)")
    parser.add_argument(
        "--job", type=int, metavar="I", help="do share I only, and no scoring; then run once without --job"
    )
    parser.add_argument(
        "--score-cache", type=Path, metavar="DIR", help="keep every sentence's cost there, for other runs and jobs too"
    )
    parser.add_argument("--no-lattice-oracle", action="store_true", help="leave out the lattices' oracle WER")
    add_device_option(parser)
    parser.add_argument("old_lang_dir", type=Path, metavar="old-lang-dir", help="words.txt and G.fst of the first pass")
    parser.add_argument("lm_dir", type=Path, nargs="+", metavar="lm-dir", help="from train_lm, distill_lm, ensemble_lm")
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="utt2spk and, for scoring, text")
    parser.add_argument("decode_dir", type=Path, metavar="decode-dir", help="num_jobs and lat.JOB.gz")
    parser.add_argument("out_dir", type=Path, metavar="out-dir", help="a decode directory again")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore.errors import UsageError
    from asr_rescore.rescoring.options import RescoringConfig, Share
    from asr_rescore.rescoring.run import Rescoring

    config = RescoringConfig(**{option.name: getattr(arguments, option.name) for option in fields(RescoringConfig)})
    shares = [Share(job, arguments.nj) for job in range(1, arguments.nj + 1)]
    if arguments.job is None and not (arguments.lm_weight or arguments.weights or arguments.tune):
        raise UsageError("give --lm-weight, --weights or --tune (or --job, to do one share of the costs only)")
    rescoring = Rescoring(
        config,
        arguments.old_lang_dir,
        arguments.lm_dir,
        arguments.data_dir,
        arguments.decode_dir,
        arguments.out_dir,
        choose_device(arguments.device),
        arguments.score_cache,
    )
    if arguments.job is not None:
        rescoring.cost(Share(arguments.job, arguments.nj))
        return 0
    for share in shares:
        rescoring.cost(share)
    failures = rescoring.finish(
        arguments.nj,
        lm_weights=arguments.lm_weight,
        weights_file=arguments.weights,
        lattice_oracle=not arguments.no_lattice_oracle,
    )
    return 1 if failures.reasons else 0


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))
