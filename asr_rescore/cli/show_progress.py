"""show_progress: how far several jobs have come."""

from __future__ import annotations

import argparse
import os
import select
import sys
from pathlib import Path

HELP = "show how far jobs have come, until standard input ends; the scripts in recipes/steps call it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "directory",
        type=Path,
        help="holds one file for each job: the one that the environment variable ASR_RESCORE_PROGRESS names for it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the progress on stderr until standard input ends, or the program that started this one."""
    from asr_rescore.errors import InputError
    from asr_rescore.programs.show_progress import Watch, follow

    if not arguments.directory.is_dir():
        raise InputError(
            arguments.directory,
            found="no such directory",
            expected="a directory of progress files",
            remedy="correct it",
        )
    parent = os.getppid()

    def wait(seconds: float) -> bool:
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(readable and not os.read(sys.stdin.fileno(), 1)) or os.getppid() != parent

    follow(Watch(arguments.directory), sys.stderr, wait)
    return 0
