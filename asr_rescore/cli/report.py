"""report: which of several rescorings is best, as a page for people and as files for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "say which of several rescored directories is best, and write a page and tables"
FILES = ("report.html", "report.txt", "report.md", "report.json", "report.csv", "report.tex")


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
    parser.add_argument(
        "--lm-dir",
        type=Path,
        action="append",
        default=[],
        metavar="LM",
        help="directory of a language model: its training (log.jsonl) is plotted, words that it does not know are "
        "marked, and systems that differ only in its seed are compared; those that out-dirs lie in are found without "
        "this",
    )
    parser.add_argument(
        "--details", action="store_true", help="print all of report.txt: weights, warnings, comparisons and failures"
    )
    parser.add_argument(
        "report_dir", type=Path, metavar="report-dir", help="directory for report.html, .txt, .md, .json, .csv and .tex"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write all files, and print the verdict, the table and the page's path.

    Raises:
        UsageError: the report-dir is a result to be compared; probably the report-dir was forgotten.
    """
    from asr_rescore.errors import printable
    from asr_rescore.files import atomic_text, in_utf8
    from asr_rescore.outputs import check_outputs
    from asr_rescore.progress import work_on
    from asr_rescore.report import REPORT_FILE, Experiment, read_published, to_html, to_text
    from asr_rescore.report.exports import to_csv, to_json, to_latex, to_markdown
    from asr_rescore.report.summary import answer, to_summary
    from asr_rescore.report.training_curve import LOG_FILE

    out = [arguments.report_dir / name for name in FILES]
    reports = [path / REPORT_FILE for path in arguments.out_dir]
    check_outputs(out, [*arguments.published, *reports, *(path / LOG_FILE for path in arguments.lm_dir)])
    _refuse_rescoring(arguments.report_dir / REPORT_FILE)
    published = [row for path in arguments.published for row in read_published(path)]
    work_on(arguments.report_dir)
    experiment = Experiment.read(arguments.out_dir, published, arguments.lm_dir)
    text = to_text(experiment.comparison, experiment.text_notes())
    contents = (
        to_html(experiment),
        text,
        *(write(experiment) for write in (to_markdown, to_json, to_csv, to_latex)),
    )
    for path, content in zip(out, contents, strict=True):
        with atomic_text(path) as stream:
            stream.write(in_utf8(content))
    print(printable(f"{answer(experiment)}\n{text}" if arguments.details else to_summary(experiment)), end="")
    print(f"\n{out[0]}")
    return 0


def _refuse_rescoring(path: Path) -> None:
    """Refuse a report-dir whose report.json is that of a rescoring, and not of an earlier comparison."""
    from asr_rescore.errors import RescoreError, UsageError
    from asr_rescore.records import read_json
    from asr_rescore.report.exports import KIND

    if not path.exists():
        return
    try:
        if read_json(path, KIND, "").values.get("kind") == KIND:
            return
    except RescoreError:
        pass  # whatever it is, it is not ours
    raise UsageError(
        f"{path.parent} holds the result of a rescoring; name another directory for the report, after all out-dirs"
    )
