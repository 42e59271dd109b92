"""Damaged files and odd options, a few of each kind; ``make fuzz MINUTES=10`` goes on for longer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT

RUN = ROOT / "tests/fuzz/run.py"
CASES = 5  # of each kind; about a minute of one processor in all


def fuzz(*arguments: str, before: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run the attack, after the statements ``before`` in the same process."""
    script = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(RUN.parent)!r}); {before}"
    script += f"; sys.argv[0] = {str(RUN)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=3600)


@pytest.mark.slow
def test_every_command_ends_well_whatever_it_reads():
    done = fuzz("--cases", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("print('\\x1b[2J'); return 0", "control characters"),
        ("open('hyp.txt', 'w').close(); return 0", "changed hyp.txt"),
        ("return 3", "exit status 3"),
    ],
)
def test_the_attack_sees_a_fault(fault, problem):
    """A command with a fault planted in it."""
    planted = f"import asr_rescore.cli.score_wer as command; exec({f'def run(arguments): {fault}'!r}, vars(command))"
    done = fuzz("--kind", "text", "--cases", "8", before=planted)
    assert done.returncode == 1, done.stdout + done.stderr
    assert problem in done.stdout
