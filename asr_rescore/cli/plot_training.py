"""plot_training: a picture of how language models were trained."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

HELP = "draw the loss, perplexity and learning rate of trainings, also while they run"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "lm_dir", type=Path, nargs="+", metavar="lm-dir", help="directory of train_lm or distill_lm, with a log.jsonl"
    )
    parser.add_argument("picture", type=Path, help="output file; its name ends in .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> int:
    """Draw the picture."""
    from asr_rescore.errors import InputError
    from asr_rescore.files import atomic_binary
    from asr_rescore.outputs import check_outputs
    from asr_rescore.report.plots.figure import picture_format
    from asr_rescore.report.plots.training import draw_training
    from asr_rescore.report.training_curve import LOG_FILE, TrainingCurve

    kind = picture_format(arguments.picture)
    check_outputs([arguments.picture], [directory / LOG_FILE for directory in arguments.lm_dir])
    curves = []
    for directory in arguments.lm_dir:
        curve = TrainingCurve.read(directory)
        if not curve.epochs and not curve.train_loss:
            remedy = "wait for the end of its first epoch"
            raise InputError(directory / LOG_FILE, found="no line", expected="the log of a training", remedy=remedy)
        curves.append(curve)
    names = [curve.name for curve in curves]
    for place, directory in enumerate(arguments.lm_dir):
        if names.count(names[place]) > 1:
            curves[place] = replace(curves[place], name=str(directory))
    with atomic_binary(arguments.picture) as stream:
        draw_training(curves, stream, kind)
    epochs = ", ".join(f"{curve.name} {max(curve.epochs, default=0):g}" for curve in curves)
    print(f"{arguments.picture}: epochs of {epochs}")
    return 0
