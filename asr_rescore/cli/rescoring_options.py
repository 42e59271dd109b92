"""Arguments that the rescoring commands share."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from asr_rescore.cli.training_options import add_device_option, choose_device

if TYPE_CHECKING:
    from asr_rescore.rescoring.config import FirstPassConfig
    from asr_rescore.rescoring.inputs import Inputs

Config = TypeVar("Config", bound="FirstPassConfig")


def add_config_options(parser: argparse.ArgumentParser, config: type[FirstPassConfig]) -> None:
    """An option for each field of ``config``, with its default and its help."""
    for option in fields(config):
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


def read_config(config: type[Config], arguments: argparse.Namespace) -> Config:
    """The options that :func:`add_config_options` added."""
    return config(**{option.name: getattr(arguments, option.name) for option in fields(config)})


def add_weight_options(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """How the LMs are weighed; a command may add its own ways to the group."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--lm-weight",
        type=float,
        action="append",
        metavar="W",
        help="weight of a neural LM against the old one, once for each lm-dir; LMWT is --inv-acwt, and no word penalty",
    )
    how.add_argument("--weights", type=Path, metavar="F", help="weights.yaml of a dev set (or its out-dir), unchanged")
    return how


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """How the work is cut up, and where it runs."""
    parser.add_argument("--nj", type=int, default=1, metavar="J", help="shares the work is cut into (1)")
    parser.add_argument(
        "--job", type=int, metavar="I", help="do share I only, and no scoring; then run once without --job"
    )
    parser.add_argument("--no-lattice-oracle", action="store_true", help="leave out the lattices' oracle WER")
    add_device_option(parser)


def add_directories(parser: argparse.ArgumentParser) -> None:
    """The positional arguments, in the order of Kaldi's rescoring scripts."""
    parser.add_argument("old_lang_dir", type=Path, metavar="old-lang-dir", help="words.txt and G.fst of the first pass")
    parser.add_argument("lm_dir", type=Path, nargs="+", metavar="lm-dir", help="from train_lm, distill_lm, ensemble_lm")
    parser.add_argument("data_dir", type=Path, metavar="data-dir", help="utt2spk and, for scoring, text")
    parser.add_argument("decode_dir", type=Path, metavar="decode-dir", help="num_jobs and lat.JOB.gz")
    parser.add_argument("out_dir", type=Path, metavar="out-dir", help="a decode directory again")


def read_inputs(config: FirstPassConfig, arguments: argparse.Namespace) -> Inputs:
    """What the directories hold."""
    from asr_rescore.rescoring.inputs import Inputs

    return Inputs.read(
        config,
        arguments.old_lang_dir,
        arguments.lm_dir,
        arguments.data_dir,
        arguments.decode_dir,
        arguments.out_dir,
        choose_device(arguments.device),
    )


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))
