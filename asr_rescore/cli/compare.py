"""compare: two rescorings, utterance by utterance and word by word."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print where two rescored directories differ, word by word, and whether one is better by more than chance"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("first", type=Path, metavar="out-dir", help="output directory of a rescoring: A")
    parser.add_argument("second", type=Path, metavar="other-out-dir", help="that of another rescoring: B")


def run(arguments: argparse.Namespace) -> int:
    """Print the utterances that differ, totals and tests. Errors are in brackets, and in colour on a terminal."""
    import os
    import shutil
    import sys

    from asr_rescore.report.differences import Differences

    differences = Differences.read(arguments.first, arguments.second)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in differences.lines(shutil.get_terminal_size((120, 24)).columns, colours):
        print(line)
    return 0
