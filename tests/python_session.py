"""A Python interpreter that runs pieces of code one after the other, as a notebook does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

WORKER = r"""
import contextlib, doctest, io, json, os, sys, traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # keeps what subprocesses print apart from the answers
names = {"__name__": "__main__"}

def run(code):
    if not code.startswith(">>> "):
        exec(compile(code, "<block>", "exec"), names)
        return True
    test = doctest.DocTestParser().get_doctest(code, {}, "block", None, 0)
    test.globs = names
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    return runner.run(test, out=sys.stdout.write, clear_globs=False).failed == 0

for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        try:
            ok = run(json.loads(line))
        except BaseException:
            ok = False
            traceback.print_exc()
    print(json.dumps([ok, printed.getvalue()]), file=answers, flush=True)
"""


class PythonSession:
    """An interpreter whose names stay from one piece of code to the next. Use it as a context manager.

    Args:
        folder: the working directory.
        environment: its PATH says which ``python`` runs.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            ["python", "-c", WORKER],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> PythonSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, code: str) -> str:
        """Run code and return what it prints. If it starts with ``>>> ``, it must print what it shows, as in doctest.

        Raises:
            AssertionError: the code fails, or prints something else than it shows.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{code}\nended the interpreter"
        ok, printed = json.loads(answer)
        assert ok, f"{code}\nfails:\n{printed}"
        return str(printed)
