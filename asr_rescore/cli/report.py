"""report: a table and an HTML page that compare several rescorings."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print a table that compares several rescored directories, and write it and an HTML page"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "out_dir", type=Path, nargs="+", metavar="out-dir", help="output directory of a rescoring with references"
    )
    parser.add_argument("report_dir", type=Path, metavar="report-dir", help="directory for report.txt and report.html")


def run(arguments: argparse.Namespace) -> int:
    """Write report.txt and report.html, and print the former."""
    from asr_rescore.files import atomic_text
    from asr_rescore.report import Comparison, SystemReport, to_html, to_text

    comparison = Comparison.of(SystemReport.load(path) for path in arguments.out_dir)
    text = to_text(comparison)
    with atomic_text(arguments.report_dir / "report.txt") as stream:
        stream.write(text)
    with atomic_text(arguments.report_dir / "report.html") as stream:
        stream.write(to_html(comparison))
    print(text, end="")
    return 0
