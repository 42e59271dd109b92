"""Run the same command several times at once: each gives the right result, or says who else is writing it."""

from __future__ import annotations

import os
import signal
import time
from random import Random

import remains
import subjects
from child import Child, problem_of_text
from kills import run_again
from stand import Outcome, Script, Stand, Steps, Undisturbed, run, start

COMMANDS = {
    name: command
    for name, command in subjects.COMMANDS.items()
    if command.split()[0] not in ("python", "ppl_table") and name not in ("compute_ppl", "compute_ppl --dynamic")
} | subjects.SCRIPTS
JOBS = 8
SPLIT = ("rescore_nbest", "rescore_nbest --tune", "rescore_nbest --use-phi", "rescore_lattice")
REFUSED = "is being written by another process"


def run_case(stand: Stand, name: str, random: Random) -> Outcome:
    """Run a command several times at once, and then once more."""
    if name in SPLIT and random.random() < 0.5:
        return _jobs_at_once(stand, name, random)
    if name not in subjects.SCRIPTS and random.random() < 0.5:
        return _one_within_another(stand, name, random)
    return _runs_at_once(stand, name, random)


def _runs_at_once(stand: Stand, name: str, random: Random) -> Outcome:
    command = COMMANDS[name]
    wanted = stand.undisturbed(command)
    stand.clear(command)
    waits = [0.0] + [
        random.choice((0.0, random.uniform(0, 1.2 * wanted.seconds))) for _ in range(random.choice((1, 2)))
    ]
    killed = random.choice((None, None, random.randrange(len(waits))))
    runs: list[Child | Script] = []
    began = time.monotonic()
    for wait in sorted(waits):
        time.sleep(max(0.0, began + wait - time.monotonic()))
        runs.append(start(stand, command))
    if killed is not None:
        time.sleep(random.uniform(0, wanted.seconds))
        runs[killed].kill(signal.SIGKILL)
    ends = [one.end() for one in runs]
    story = f"{len(runs)} runs" + ("" if killed is None else ", one killed")
    others = [end for number, end in enumerate(ends) if number != killed]
    # One that was killed may have been the one that refused the others.
    none_done = killed is not None or name in subjects.SCRIPTS
    problem = _problem_of_ends(
        others, wanted.status, script=name in subjects.SCRIPTS, refusals=True, none_done=none_done
    )
    if not problem and killed is None:
        problem = remains.differences(remains.contents(stand.place), wanted.after)
    problem = problem or remains.incomplete(stand.place, wanted.before, wanted.after)
    return _finished(stand, command, wanted, story, problem, ends)


def _one_within_another(stand: Stand, name: str, random: Random) -> Outcome:
    """Stop a run at some moment, let another one run, and continue the first."""
    command = COMMANDS[name]
    wanted = stand.undisturbed(command)
    stand.clear(command)
    at = random.randint(1, max(1, wanted.steps))
    stopped = run(command, lambda: Steps().count(at, lambda: os.kill(os.getpid(), signal.SIGSTOP)))
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    inner = run(command).end()
    problem = remains.incomplete(stand.place, wanted.before, wanted.after)
    stopped.kill(signal.SIGCONT)
    ends = [inner, stopped.end()]
    problem = problem or _problem_of_ends(ends, wanted.status, script=False, refusals=True, none_done=False)
    problem = problem or remains.differences(remains.contents(stand.place), wanted.after)
    return _finished(
        stand, command, wanted, f"a run within another, before change {at} of {wanted.steps}", problem, ends
    )


def _jobs_at_once(stand: Stand, name: str, random: Random) -> Outcome:
    command = f"{COMMANDS[name]}".replace(" lang ", f" --nj {JOBS} lang ", 1)
    wanted = stand.undisturbed(command)
    stand.clear(command)
    twice = random.random() < 0.5
    jobs = list(range(1, JOBS + 1)) * (1 + twice)
    random.shuffle(jobs)
    runs = [run(command.replace(" lang ", f" --job {job} lang ", 1)) for job in jobs]
    ends = [one.end() for one in runs]
    story = f"{JOBS} jobs" + (", each twice" if twice else "")
    problem = _problem_of_ends(ends, 0, script=False, refusals=twice, none_done=False)
    return _finished(stand, command, wanted, story, problem, ends)


def _finished(
    stand: Stand, command: str, wanted: Undisturbed, story: str, problem: str, ends: list[tuple[int, str]]
) -> Outcome:
    printed = "".join(f"status {status}\n{text}" for status, text in ends)
    if not problem:
        problem, again = run_again(stand, command, wanted)
        printed += f"--- again:\n{again}"
    return Outcome(story, problem, printed)


def _problem_of_ends(ends: list[tuple[int, str]], good: int, *, script: bool, refusals: bool, none_done: bool) -> str:
    """Each run must end as a single one does, or be refused; not all may be refused, unless ``none_done``."""
    done = 0
    for status, printed in ends:
        if problem := problem_of_text(printed):
            return problem
        if status == good:
            done += 1
        elif not (refusals and status == 1 and (REFUSED in printed or script)):  # a script names its log
            return f"status {status}: {printed.splitlines()[-1:]}"
    return "" if done or none_done else "all refused each other"
