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
    done = attack("--attack", kind, "--cases", "1", "--command", *COMMANDS)
    if "no tmpfs can be mounted" in done.stdout:
        print(done.stdout)  # shown with pytest -rP; the other ways to have no room were tried
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "command", "cases", "fault", "problem"),
    [
        ("kills", "lattice_to_nbest", 20, "files.sweep = lambda *_: None", "again: left num_jobs unfinished"),
        ("full-disk", "sample_text", 5, "files.OUT_OF_SPACE = ()", "error: "),
        ("load", "train_lm", 3, "locks.fcntl.flock = lambda *_: None", "log.jsonl differs"),
    ],
    ids=["unfinished files stay", "no name in an error", "no locks"],
)
def test_the_attacks_see_a_fault(kind, command, cases, fault, problem):
    """A library with a fault planted in it."""
    planted = f"from asr_rescore import files, locks; {fault}"
    done = attack("--attack", kind, "--cases", str(cases), "--command", command, before=planted)
    assert done.returncode == 1, done.stdout + done.stderr
    assert problem in done.stdout
