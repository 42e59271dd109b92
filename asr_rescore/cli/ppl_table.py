"""ppl_table: perplexities of many models as tables."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "print tables of the perplexities that compute_ppl --json left beside the models"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("tables", type=Path, help="YAML: title → rows of name, models (a pattern) and paper")
    parser.add_argument("exp_dir", type=Path, metavar="exp-dir", help="directory of the model directories")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    from asr_rescore.report.perplexity import read_tables, to_markdown

    print(to_markdown(read_tables(arguments.tables), arguments.exp_dir), end="")
    return 0
