"""Commands that are killed, have no room or run at the same time; ``make robustness MINUTES=10`` goes on for longer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT

RUN = ROOT / "tests/fuzz/robustness.py"
# One of each kind of output: a file, a directory, a model and its state, a cache, and a rescoring.
COMMANDS = (
    *("prepare_text", "lattice_to_ctm", "lattice_to_nbest", "train_lm", "cache_teacher", "ensemble_lm"),
    *("rescore_nbest", "rescore_nbest --tune", "rescore_lattice", "report"),
)


def attack(*arguments: str, before: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run the attacks, after the statements ``before`` in the same process."""
    script = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(RUN.parent)!r}); {before}"
    script += f"; sys.argv[0] = {str(RUN)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=3600)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kills", "full-disk", "load"])
def test_the_next_run_sets_it_right(kind):
    done = attack("--attack", kind, "--cases", "2", "--command", *COMMANDS)
    if "no tmpfs can be mounted" in done.stdout:
        print(done.stdout)  # shown with pytest -rP; the other ways to have no room were tried
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "command", "fault", "problem"),
    [
        (
            "kills",
            "prepare_text",
            "files.temporary_path = lambda path, kind='tmp': path.with_name(f'.x.{kind}')",
            "left",
        ),
        ("kills", "report", "temporary.temporary_path = lambda path, kind='tmp': path", "incomplete"),
        ("full-disk", "sample_text", "files.OUT_OF_SPACE = ()", "standard output"),
        ("load", "rescore_nbest", "locks.fcntl.flock = lambda *_: None", "load: "),
    ],
)
def test_the_attacks_see_a_fault(kind, command, fault, problem):
    """A library with a fault planted in it."""
    done = attack(
        "--attack", kind, "--cases", "12", "--command", command, before=f"from asr_rescore import files, locks; {fault}"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert problem in done.stdout
