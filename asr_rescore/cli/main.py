"""``asr-rescore <command> …``: finds the command, runs it, and turns errors into one line and an exit status.

Exit status: 0 done; 1 something was refused or is missing; 2 wrong usage; 130 interrupted (Ctrl-C); 141 nobody reads
the output; 143 terminated (SIGTERM).
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import NoReturn

from asr_rescore import __version__
from asr_rescore.errors import RescoreError, SaidElsewhere, Terminated, UsageError, printable
from asr_rescore.files import OUT_OF_SPACE, STDIN
from asr_rescore.interrupts import end_in_good_order
from asr_rescore.progress import show_progress
from asr_rescore.temporary import remove_unfinished

# Each module has HELP (one line), configure(parser) and run(arguments) -> exit status. It may have ELSEWHERE: options
# that are looked for in this command → what to use in their place. Only the module of the command that is run gets
# imported.
COMMANDS = {
    "prepare_text": "asr_rescore.cli.prepare_text",
    "train_lm": "asr_rescore.cli.train_lm",
    "cache_teacher": "asr_rescore.cli.cache_teacher",
    "distill_lm": "asr_rescore.cli.distill_lm",
    "ensemble_lm": "asr_rescore.cli.ensemble_lm",
    "compute_ppl": "asr_rescore.cli.compute_ppl",
    "sample_text": "asr_rescore.cli.sample_text",
    "plot_training": "asr_rescore.cli.plot_training",
    "ppl_table": "asr_rescore.cli.ppl_table",
    "study": "asr_rescore.cli.study",
    "lattice_to_nbest": "asr_rescore.cli.lattice_to_nbest",
    "lattice_to_ctm": "asr_rescore.cli.lattice_to_ctm",
    "rescore_nbest": "asr_rescore.cli.rescore_nbest",
    "rescore_lattice": "asr_rescore.cli.rescore_lattice",
    "export_sclite": "asr_rescore.cli.export_sclite",
    "score_wer": "asr_rescore.cli.score_wer",
    "report": "asr_rescore.cli.report",
    "compare": "asr_rescore.cli.compare",
    "show_progress": "asr_rescore.cli.show_progress",
}
NEGATIVE_LIST = re.compile(r"-[0-9.][0-9.,eE+-]*,[0-9.,eE+-]*")  # -0.5,0,0.5
PROGRAM = "asr-rescore"
USAGE = f"usage: {PROGRAM} <command> [<argument> ...]\n       {PROGRAM} <command> --help | --help | --version"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; ``argv`` is everything after the program's name (default: the process's own).

    Returns:
        the exit status. Where argparse ends the process itself (``--help``, wrong usage) SystemExit passes through.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments and arguments[0] in COMMANDS else None
    name = PROGRAM if command is None else f"{PROGRAM} {command}"
    _open_streams()
    end_in_good_order()
    try:
        try:
            with _console(command):
                return _dispatch(arguments)
        finally:
            sys.stdout.flush()  # here, where a closed pipe or a full disk still finds its handler
    except SaidElsewhere:
        return 1
    except RescoreError as error:
        status = 2 if isinstance(error, UsageError) else 1
        return _fail(name, _as_typed(str(error), command), status)
    except Terminated:
        remove_unfinished()
        return _end(f"{name}: terminated", 143)
    except KeyboardInterrupt:
        remove_unfinished()
        return _end(f"{name}: interrupted", 130)
    except BrokenPipeError:  # the reader (head, say) has all it wanted
        _drop_output()
        return 141
    except OSError as error:
        return _fail(name, _system_error(error), 1)


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case ["--version"]:
            print(f"{PROGRAM} {__version__}")
            return 0
        case ["-h" | "--help"]:
            print(_overview())
            return 0
        case [name, *rest] if name in COMMANDS:
            module = importlib.import_module(COMMANDS[name])
            status: int = module.run(_parser(name, module).parse_args(_with_negative_values(rest)))
            return status
    found = f"{arguments[0]!r}" if arguments else "nothing"
    raise UsageError(f"found {found}, expected a command: {', '.join(COMMANDS)}; see {PROGRAM} --help")


def _with_negative_values(arguments: Sequence[str]) -> list[str]:
    """Join an option with a list of numbers that begins with a minus, which argparse would take for another option."""
    joined: list[str] = []
    for argument in arguments:
        if NEGATIVE_LIST.fullmatch(argument) and joined and re.fullmatch(r"--[a-z][a-z-]*", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, without the usage.

    Attributes:
        elsewhere: option that this command does not have → what to use in its place.
    """

    elsewhere: Mapping[str, str] = {}

    def error(self, message: str) -> NoReturn:
        _, _, unknown = message.partition("unrecognized arguments: ")
        given = {argument.partition("=")[0] for argument in unknown.split()}
        message = "; ".join([message, *(remedy for option, remedy in self.elsewhere.items() if option in given)])
        # If torchrun started several processes, they all got the same arguments.
        others = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"
        self.exit(2, None if others else f"{self.prog}: error: {printable(message)}; see {self.prog} --help\n")


def _parser(name: str, command: ModuleType) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"{PROGRAM} {name}", description=command.HELP, allow_abbrev=False)
    parser.elsewhere = getattr(command, "ELSEWHERE", {})
    command.configure(parser)
    return parser


def _overview() -> str:
    lines = [f"  {name:<18}{importlib.import_module(module).HELP}" for name, module in COMMANDS.items()]
    return "\n".join([USAGE, "", "commands:", *lines])


class _Console(logging.Handler):
    """Shows the library's log as a command's own output: what is going on on stdout, warnings on stderr."""

    def __init__(self, command: str | None):
        super().__init__()
        self.command = command

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        message = _as_typed(printable(record.getMessage()), self.command)
        tqdm.write(message, file=stream)  # not through a progress bar
        stream.flush()


@contextmanager
def _console(command: str | None) -> Iterator[None]:
    """Show the library's log and progress for as long as a command runs."""
    log = logging.getLogger("asr_rescore")
    handler = _Console(command)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    show_progress()
    try:
        yield
    finally:
        show_progress(False)
        log.setLevel(level)
        log.removeHandler(handler)


def _as_typed(text: str, command: str | None) -> str:
    """Name things as the user did who typed the command.

    The library names its fields in backticks; here each becomes the flag of the command that sets it.
    """
    text = text.replace(f"{STDIN}:", "standard input:")
    if command is None or "`" not in text:
        return text
    parser = _parser(command, importlib.import_module(COMMANDS[command]))
    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]

    def flag_of(field: re.Match[str]) -> str:
        ending = field[1].replace("_", "-")
        if f"--{ending}" in flags:
            return f"--{ending}"
        prefixed = [flag for flag in flags if flag.endswith(f"-{ending}")]
        return prefixed[0] if len(prefixed) == 1 else field[0]

    return re.sub(r"`(\w+)`", flag_of, text)


def _open_streams() -> None:
    """Let print and logging work if the shell closed an output (``>&-``), and whatever words the text contains."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            # The next file that is opened must not get this number: what is printed would go into it.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(descriptor, "w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _system_error(error: OSError) -> str:
    """What the operating system refused, and the file. If that was an output stream, nothing more is written to it."""
    reason = error.strerror or str(error)
    path = error.filename2 or error.filename
    if path is None and error.errno in OUT_OF_SPACE:
        path = "standard output"  # all other files are named by whoever writes them
    where = f": {path}" if path else ""
    _drop_output()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{reason}{where}; make room and run the same command again"
    return f"{reason}{where}; check the path, its permissions and its disk"


def _drop_output() -> None:
    """Discard what could not be written; otherwise Python's own flush at exit would fail on it again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())


def _fail(name: str, reason: object, status: int) -> int:
    line = " ".join(str(reason).splitlines())
    return _end(f"{name}: error: {printable(line)}", status)


def _end(line: str, status: int) -> int:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it
        _drop_output()
    return status


if __name__ == "__main__":
    sys.exit(main())
