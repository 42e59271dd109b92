"""ppl_table: tables of the perplexities of many models."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print tables of the perplexities that compute_ppl --json wrote into the model directories"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "tables", type=Path, help="YAML file: title → rows with name, models (a pattern of directories) and paper"
    )
    parser.add_argument("exp_dir", type=Path, metavar="exp-dir", help="directory that contains the model directories")


def run(arguments: argparse.Namespace) -> int:
    """Print the tables in Markdown."""
    from asr_rescore.report.perplexity import read_tables, to_markdown

    print(to_markdown(read_tables(arguments.tables), arguments.exp_dir), end="")
    return 0
