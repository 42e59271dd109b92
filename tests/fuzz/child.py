"""Commands in processes of their own, forked from one that has loaded everything, and how they should end."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable

LONGEST_LINE = 2000  # characters of a message
MAIN = "asr_rescore/cli/main.py"


class Child:
    """A function in a forked process.

    Args:
        run: returns the exit status.
        prepare: called first, when the output already goes where it should.
        stdout: where standard output goes, unless it is to be returned with what goes to standard error.
    """

    def __init__(self, run: Callable[[], int], prepare: Callable[[], None] | None = None, stdout: str | None = None):
        sys.stdout.flush()
        reads, writes = os.pipe()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))  # until somebody is there to catch it
        self.pid = os.fork()
        if self.pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.close(writes)
            self._printed = reads
            return
        status = 70  # an exception that nobody caught
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(writes, 2)
            os.dup2(writes if stdout is None else os.open(stdout, os.O_WRONLY), 1)
            sys.stdout = os.fdopen(1, "w", closefd=False)  # the old one may take it for a file that can seek
            sys.stderr = os.fdopen(2, "w", 1, closefd=False)
            if prepare is not None:
                prepare()
            status = run()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 70
        except KeyboardInterrupt as interrupt:
            if _has_begun(interrupt):
                traceback.print_exc()
            else:
                status = 130
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(status if isinstance(status, int) else 70)  # a child must never go on as its parent

    def kill(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        os.kill(self.pid, number)  # it is there until end()

    def end(self) -> tuple[int, str]:
        """Wait for the end. Returns the status, negative for a signal, and what the process has printed."""
        with os.fdopen(self._printed, "rb") as stream:
            printed = stream.read()
        _, how = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(how), printed.decode("utf-8", errors="replace")


def _has_begun(interrupt: KeyboardInterrupt) -> bool:
    """Whether it came in the command, which should have caught it, and not before."""
    return any(frame.filename.endswith(MAIN) for frame in traceback.extract_tb(interrupt.__traceback__))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            traceback.print_exc()


def load_everything() -> None:
    """Import what commands import, so that no child has to."""
    import torch  # noqa: F401

    import asr_rescore.lm.dynamic
    import asr_rescore.lm.neural_scorer
    import asr_rescore.programs.lattice_to_ctm
    import asr_rescore.rescoring.run
    import asr_rescore.training.teacher_cache  # noqa: F401

    gc.freeze()  # so that children share the pages of what is loaded


def run_command(arguments: list[str]) -> int:
    """Run a command of the package, or a reader that only Python callers use."""
    from asr_rescore import kaldi
    from asr_rescore.cli.main import main
    from asr_rescore.errors import RescoreError

    if arguments[0] != "python":
        return main(arguments)
    readers: dict[str, Callable[[str], object]] = {
        "read_ctm": kaldi.read_ctm,
        "read_nbest_dir": lambda name: list(kaldi.read_nbest_dir(name, 1)),
    }
    try:
        readers[arguments[1]](arguments[2])
    except RescoreError as error:
        print(f"{arguments[1]}: error: {error}", file=sys.stderr)
        return 1
    return 0


def problem_of_text(printed: str) -> str:
    """What a command should not have printed, however it ended."""
    lines = printed.splitlines()
    if "Traceback (most recent call last)" in printed:
        places = re.findall(r'asr_rescore/([\w/]+\.py)", line (\d+)', printed)
        where = f" at {places[-1][0]}:{places[-1][1]}" if places else ""
        return f"{lines[-1][:150]}{where}"
    if sum(": error: " in line for line in lines) > 1:
        return "several errors"
    if warning := re.search(r"\.py:\d+: \w*Warning: .*", printed):
        return f"Python's own {warning[0][:150]}"
    if re.search(r"allocate memory|MemoryError|Cannot allocate", printed):
        return "too much memory"
    if re.search(r"[^\x20-\x7e\t\n\r\x80-\U0010ffff]|[\x80-\x9f]", printed):
        return "control characters"
    if any(len(line) > LONGEST_LINE for line in lines):
        return "a very long line"
    return ""


def problem_of_signal(status: int) -> str:
    """What to say of a process that a signal ended."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else ""
