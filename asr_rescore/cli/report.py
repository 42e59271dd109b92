"""report: one table and one page over several rescorings."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print a table over several rescored directories, and write it and an HTML page"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("out_dir", type=Path, nargs="+", metavar="out-dir", help="of rescore_nbest, with references")
    parser.add_argument("report_dir", type=Path, metavar="report-dir", help="gets report.txt and report.html")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore.files import atomic_text
    from asr_rescore.report import Comparison, SystemReport, to_html, to_text

    comparison = Comparison.of(SystemReport.load(path) for path in arguments.out_dir)
    text = to_text(comparison)
    for name, content in (("report.txt", text), ("report.html", to_html(comparison))):
        with atomic_text(arguments.report_dir / name) as stream:
            stream.write(content)
    print(text, end="")
    return 0
