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
    parser.add_argument(
        "--published",
        type=Path,
        action="append",
        default=[],
        metavar="YAML",
        help="more rows: published word error rates, or decode directories that Kaldi has rescored",
    )
    parser.add_argument("report_dir", type=Path, metavar="report-dir", help="directory for report.txt and report.html")


def run(arguments: argparse.Namespace) -> int:
    """Write report.txt and report.html, and print the former.

    Raises:
        UsageError: the report-dir is a result to be compared; probably the report-dir was forgotten.
    """
    from asr_rescore.errors import UsageError
    from asr_rescore.files import atomic_text
    from asr_rescore.outputs import check_outputs
    from asr_rescore.report import REPORT_FILE, Comparison, SystemReport, read_published, to_html, to_text

    table = arguments.report_dir / "report.txt"
    page = arguments.report_dir / "report.html"
    check_outputs([table, page], [*arguments.published, *(path / REPORT_FILE for path in arguments.out_dir)])
    if (arguments.report_dir / REPORT_FILE).exists():
        raise UsageError(
            f"{arguments.report_dir} holds the result of a rescoring; name another directory for the report, after all "
            "out-dirs"
        )
    published = [row for path in arguments.published for row in read_published(path)]
    comparison = Comparison.of((SystemReport.load(path) for path in arguments.out_dir), published)
    text = to_text(comparison)
    with atomic_text(table) as stream:
        stream.write(text)
    with atomic_text(page) as stream:
        stream.write(to_html(comparison))
    print(text, end="")
    return 0
