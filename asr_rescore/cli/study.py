"""study: objectives compared by students with the same seeds."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print how students with the same seed differ between objectives, in perplexity or WER, with intervals"
INPUTS = ("*/*/ppl_*.json", "*/*/*/report.json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", type=Path, help="write the differences of each seed and all figures to this file")
    parser.add_argument("--plot", type=Path, help="write a plot of the differences to this file, *.svg, *.png or *.pdf")
    parser.add_argument("study", type=Path, help="YAML file: regimes, arms, baseline and further pairs of arms")
    parser.add_argument("exp_dir", type=Path, metavar="exp-dir", help="directory that contains those of the regimes")


def run(arguments: argparse.Namespace) -> int:
    """Print a table for each regime in Markdown."""
    import json
    import sys

    from asr_rescore.errors import InputError, printable
    from asr_rescore.files import atomic_binary, atomic_text
    from asr_rescore.outputs import check_outputs
    from asr_rescore.report.plots.figure import picture_format
    from asr_rescore.report.plots.study import draw_study
    from asr_rescore.report.study import (
        StudyConfig,
        read_results,
        to_json,
        to_markdown,
        unchanged_students,
        unknown_students,
        useless_students,
    )

    kind = picture_format(arguments.plot) if arguments.plot else ""
    outputs = [path for path in (arguments.json, arguments.plot) if path]
    results_there = (path for pattern in INPUTS for path in arguments.exp_dir.glob(pattern))
    check_outputs(outputs, [arguments.study, *results_there])
    if not arguments.exp_dir.is_dir():
        remedy = "give the directory that contains those of the regimes"
        raise InputError(arguments.exp_dir, found="no directory", expected="the results of a study", remedy=remedy)
    config = StudyConfig.read(arguments.study)
    results = read_results(config, arguments.exp_dir)
    if arguments.json:
        with atomic_text(arguments.json) as stream:
            json.dump(to_json(results), stream, indent=2)
    if arguments.plot:
        with atomic_binary(arguments.plot) as picture:
            draw_study(results, picture, kind)
    print(to_markdown(results), end="")
    if not results:
        expected = f"<regime>/student_<arm>_<seed> with results of {config.baseline} and of other arms"
        print(printable(f"{arguments.exp_dir}: no two students to compare, expected {expected}"), file=sys.stderr)
    for path in useless_students(config, arguments.exp_dir):
        print(printable(f"{path}: the perplexity is infinite or missing; this student is left out"), file=sys.stderr)
    if unknown := unknown_students(config, arguments.exp_dir):
        count = "1 student has" if len(unknown) == 1 else f"{len(unknown)} students have"
        line = f"{count} no provenance.json, for example {unknown[0]}: whether its pairs are alike was not checked"
        print(printable(line), file=sys.stderr)
    if unchanged := unchanged_students(config, arguments.exp_dir):
        count = "1 student is" if len(unchanged) == 1 else f"{len(unchanged)} students are"
        line = f"{count} still the model of the start, because no epoch was better, for example {unchanged[0]}: "
        print(printable(f"{line}they say little about their objectives"), file=sys.stderr)
    return 0
