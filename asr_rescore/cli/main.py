"""``asr-rescore <command> …``: finds the command, runs it, and turns what went wrong into one line and an exit status.

Exit status: 0 done; 1 something was refused or is missing; 2 wrong usage; 130 interrupted; 141 nobody reads the output.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from asr_rescore import __version__
from asr_rescore.errors import RescoreError, UsageError

# Each module has HELP (one line), configure(parser) and run(arguments) -> exit status. Only the one asked for is
# imported.
COMMANDS = {
    "prepare_text": "asr_rescore.cli.prepare_text",
    "train_lm": "asr_rescore.cli.train_lm",
    "cache_teacher": "asr_rescore.cli.cache_teacher",
    "distill_lm": "asr_rescore.cli.distill_lm",
    "ensemble_lm": "asr_rescore.cli.ensemble_lm",
    "compute_ppl": "asr_rescore.cli.compute_ppl",
    "sample_text": "asr_rescore.cli.sample_text",
    "ppl_table": "asr_rescore.cli.ppl_table",
    "lattice_to_nbest": "asr_rescore.cli.lattice_to_nbest",
    "lattice_to_ctm": "asr_rescore.cli.lattice_to_ctm",
    "rescore_nbest": "asr_rescore.cli.rescore_nbest",
    "rescore_lattice": "asr_rescore.cli.rescore_lattice",
    "score_wer": "asr_rescore.cli.score_wer",
    "report": "asr_rescore.cli.report",
}
PROGRAM = "asr-rescore"
USAGE = f"usage: {PROGRAM} <command> [<argument> ...]\n       {PROGRAM} <command> --help | --help | --version"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is everything after the program's name (default: the process's own).

    Returns:
        the exit status. Where argparse ends the process itself (``--help``, wrong usage) SystemExit passes through.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = f"{PROGRAM} {arguments[0]}" if arguments and arguments[0] in COMMANDS else PROGRAM
    try:
        try:
            return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # here, where a closed pipe or a full disk still finds its handler
    except UsageError as error:
        return _fail(name, error, 2)
    except RescoreError as error:
        return _fail(name, error, 1)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, say) has all it wanted
        _drop_output()
        return 141
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        where = f": {error.filename}" if error.filename else ""
        return _fail(name, f"{error.strerror}{where}; make room and run the same command again", 1)


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case ["--version"]:
            print(f"{PROGRAM} {__version__}")
            return 0
        case ["-h" | "--help"]:
            print(_overview())
            return 0
        case [name, *rest] if name in COMMANDS:
            command = importlib.import_module(COMMANDS[name])
            return command.run(_parser(name, command).parse_args(rest))
    found = f"{arguments[0]!r}" if arguments else "nothing"
    raise UsageError(f"found {found}, expected a command: {', '.join(COMMANDS)}; see {PROGRAM} --help")


def _parser(name: str, command: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}", description=command.HELP, allow_abbrev=False)
    command.configure(parser)
    return parser


def _overview() -> str:
    lines = [f"  {name:<18}{importlib.import_module(module).HELP}" for name, module in COMMANDS.items()]
    return "\n".join([USAGE, "", "commands:", *lines])


def _drop_output() -> None:
    """Let what could not be written go, or Python's own flush at exit would fail on it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(name: str, reason: object, status: int) -> int:
    print(f"{name}: error: {' '.join(str(reason).splitlines())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
