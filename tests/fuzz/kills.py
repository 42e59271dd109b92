"""Kill a command at any moment: what is there is complete, and the same command again gives what it should."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import remains
import subjects
from child import Child, problem_of_text
from stand import Outcome, Script, Stand, Steps, Undisturbed, run, start

COMMANDS = {
    name: command for name, command in subjects.COMMANDS.items() if not command.startswith("python")
} | subjects.SCRIPTS
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STATUS = {signal.SIGKILL: (-9, 137), signal.SIGTERM: (-15, 143), signal.SIGINT: (-2, 130)}
FRESH = 0.15  # fraction of the cases with a process of their own from the start, which takes longer
TIMED = 0.3  # fraction of the cases in which the moment is a time and not a change of a file
START_TIME = 2.5  # seconds in which such a process loads what it needs


def run_case(stand: Stand, name: str, random: Random) -> Outcome:
    """Kill a command and run it again."""
    command = COMMANDS[name]
    wanted = stand.undisturbed(command)
    stand.clear(command)
    number = random.choice(SIGNALS)
    draw = random.random()
    victim: Child | Script
    if name in subjects.SCRIPTS or draw < FRESH:
        victim = Script(stand, command if name in subjects.SCRIPTS else fresh(command))
        limit = wanted.seconds + (0 if name in subjects.SCRIPTS else START_TIME)
        story = _kill_after(random.uniform(0, limit), victim, number) + ", a process of its own"
    elif draw < FRESH + TIMED:
        victim = run(command)
        story = _kill_after(random.uniform(0, wanted.seconds), victim, number)
    else:
        at = random.randint(1, max(1, wanted.steps))
        story = f"before change {at} of {wanted.steps}"
        victim = run(command, lambda: Steps().count(at, lambda: os.kill(os.getpid(), number)))
    status, printed = victim.end()
    problem = _problem(stand, status, printed, number, wanted)
    problem = problem or remains.incomplete(stand.place, wanted.before, wanted.after)
    if not problem:
        problem, again = run_again(stand, command, wanted)
        printed += f"--- again:\n{again}"
    return Outcome(f"{number.name} {story}", problem, f"status {status}\n{printed}")


def run_again(stand: Stand, command: str, wanted: Undisturbed, folder: Path | None = None) -> tuple[str, str]:
    """Run a command after it was disturbed. Returns the problem, if there is one, and what it printed."""
    folder = folder or stand.place
    status, printed = start(stand, command).end()
    problem = problem_of_text(printed)
    if status != wanted.status:
        problem = problem or f"exit status {status}"
    if left := remains.temporary_files(folder):
        problem = problem or f"left {remains.final_name(left[0])}"
    problem = problem or remains.differences(remains.contents(folder), wanted.after)
    return (f"again: {problem}" if problem else ""), printed


def fresh(command: str) -> str:
    """The command line of bin/ for a command."""
    program, *arguments = command.format("ark").split()
    return " ".join([sys.executable, str(subjects.ROOT / "bin" / f"{program}.py"), *arguments])


def _kill_after(seconds: float, victim: Child | Script, number: signal.Signals) -> str:
    time.sleep(seconds)
    victim.kill(number)
    return f"after {seconds:.3f} s"


def _problem(stand: Stand, status: int, printed: str, number: signal.Signals, wanted: Undisturbed) -> str:
    if status not in (wanted.status, *STATUS[number]):
        return f"{number.name}: exit status {status}"
    if number == signal.SIGKILL:
        return ""
    if left := remains.temporary_files(stand.place):
        return f"{number.name}: left {remains.final_name(left[0])}"
    if problem := problem_of_text(printed):
        return f"{number.name}: {problem}"
    return ""
