"""Damage files, let the commands read them, and see that each ends well: done, or with one line that says why not.

Each case is a command in a process of its own, forked from one that has loaded everything. It may use so much memory
and processor time, may change nothing but its output, and may leave no unfinished file. A case is repeated by its seed,
kind and number:

    python tests/fuzz/run.py --seed 7 --kind words.txt --case 123
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, not an installed one
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mutators
import subjects
from child import Child, load_everything, problem_of_signal, problem_of_text, run_command

MEMORY = 1 << 30  # bytes of addresses that a command may use in addition to those of the loaded program
PROCESSOR_TIME = 30  # seconds; the examples take less than one
FILE_SIZE = 1 << 28  # bytes
OPTIONS = "options"  # the kind whose subject is the command line
# What these settings ask for can take for ever.
MAY_RUN_ON = (OPTIONS, "config.yaml")
NUMBERS = [*mutators.NUMBERS, "", "x", "-0.5", "0.5", "1e40", "1,2,nan", "9" * 5000]
OUT_OF_TIME = f"took more than {PROCESSOR_TIME} s of processor time"


@dataclass(frozen=True)
class Case:
    """One damaged file, or one odd option, and one command."""

    seed: int
    kind: str
    number: int

    def repeat(self) -> str:
        """The command that repeats this case."""
        return f"python tests/fuzz/run.py --seed {self.seed} --kind {shlex.quote(self.kind)} --case {self.number}"


@dataclass(frozen=True)
class Outcome:
    """How a case ended; ``problem`` is empty if it ended well."""

    case: Case
    story: str  # what was damaged, and the command
    status: int
    printed: str
    problem: str


def run_case(case: Case, examples: Path, place: Path) -> Outcome:
    """Damage a copy of the examples in ``place``, and run a command there."""
    random = Random(f"{case.seed} {case.kind} {case.number}")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(examples, place)
    os.chdir(place)
    story, arguments = _prepare(case.kind, random)
    before = _contents()
    status, printed = Child(lambda: run_command(arguments), _limit).end()
    problem = _problem_of_status(status, case.kind) or _problem_of_end(status, printed)
    after = _contents()
    changed = [name for name, content in before.items() if after.get(name) != content]
    if changed and not problem:
        problem = f"changed {changed[0]}"
    left = [path.name for path in place.rglob(".*") if path.suffix in (".tmp", ".old")]
    if left and not problem:
        problem = f"left {left[0]}"
    return Outcome(case, f"{story}: {' '.join(arguments)[:300]}", status, printed, problem)


def _prepare(kind_name: str, random: Random) -> tuple[str, list[str]]:
    """Damage a file of a kind. Returns what was done, and the command to run."""
    if kind_name == OPTIONS:
        return "an odd option", _odd_command(random)
    kind = subjects.KINDS[kind_name]
    command = subjects.COMMANDS[random.choice(kind.commands)]
    path = random.choice(sorted(path for pattern in kind.files for path in Path().glob(pattern)))
    if random.random() < 0.1:
        name = random.choice(sorted(mutators.REPLACEMENTS))
        mutators.REPLACEMENTS[name](path, random)
    else:
        data = path.read_bytes()
        if kind_name == "lat.JOB.gz, text":
            data = Path("lattices.text").read_bytes()
        name, data = mutators.mutate(data, kind.form, random)
        path.write_bytes(data)
    return f"{name} in {path}", command.format(path.name.rpartition(".")[2]).split()


def _odd_command(random: Random) -> list[str]:
    """A good command with one odd value of one of its options."""
    from asr_rescore.cli import main

    commands = [command for command in subjects.COMMANDS.values() if not command.startswith("python")]
    arguments = random.choice(commands).format("ark").split()
    parser = main._parser(arguments[0], main.importlib.import_module(main.COMMANDS[arguments[0]]))
    options = [flag for flag, action in parser._option_string_actions.items() if action.nargs is None]
    if not options:
        return arguments
    return [arguments[0], random.choice(options) + "=" + random.choice(NUMBERS), *arguments[1:]]


def _limit() -> None:
    """Limit what this process may use from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_TIME, PROCESSOR_TIME + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _contents() -> dict[str, bytes]:
    """All that a command must not change: name → content, or the target of a link."""
    found = {}
    for path in Path().rglob("*"):
        # The ids of a text are next to it, and are made again if the text changes.
        if path.parts[0].startswith("out") or any(part.endswith(".ids") for part in path.parts):
            continue
        if path.is_symlink():
            found[str(path)] = str(path.readlink()).encode()
        elif path.is_file():
            found[str(path)] = path.read_bytes()
        else:
            found[str(path)] = b"directory"
    return found


def _problem_of_status(status: int, kind: str) -> str:
    if status == -signal.SIGXCPU:
        return "" if kind in MAY_RUN_ON else OUT_OF_TIME
    return problem_of_signal(status)


def _problem_of_end(status: int, printed: str) -> str:
    if problem := problem_of_text(printed):
        return problem
    if status not in (0, 1, 2) and status >= 0:
        return f"exit status {status}"
    if status in (1, 2) and not printed.splitlines():
        return "no word about why it failed"
    return ""


def _cases(arguments: argparse.Namespace, kinds: list[str]) -> Iterator[Case]:
    """One case of each kind, again and again, until there are enough of them or the time is up."""
    if arguments.case is not None:
        yield from (Case(arguments.seed, kind, arguments.case) for kind in kinds)
        return
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    number = 0
    while time.monotonic() < end if end else number < arguments.cases:
        yield from (Case(arguments.seed, kind, number) for kind in kinds)
        number += 1


def _table(cases: Counter[str], clean: Counter[str]) -> str:
    rows = [("kind", "cases", "clean"), *((kind, str(cases[kind]), str(clean[kind])) for kind in cases)]
    rows.append(("all", str(cases.total()), str(clean.total())))
    return "\n".join(f"{kind:<28}{number:>8}{good:>8}" for kind, number, good in rows)


def main() -> int:
    """Run cases and print a table; 1 if one of them did not end well."""
    kinds = [*subjects.KINDS, OPTIONS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=kinds, action="append", help="only this kind; may be repeated")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--cases", type=int, default=10, help="number of cases of each kind (default: 10)")
    how.add_argument("--minutes", type=float, help="go on for this long instead")
    how.add_argument("--case", type=int, help="only the case with this number; prints what the command printed")
    arguments = parser.parse_args()
    load_everything()
    cases: Counter[str] = Counter()
    clean: Counter[str] = Counter()
    unclean: defaultdict[str, list[Outcome]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        examples = Path(folder, "examples")
        examples.mkdir()
        os.chdir(examples)
        status, printed = Child(lambda: subjects.make_examples() or 0).end()
        if status != 0:
            print(printed)
            return 2
        for case in _cases(arguments, arguments.kind or kinds):
            outcome = run_case(case, examples, Path(folder, "case"))
            cases[case.kind] += 1
            if outcome.problem:
                unclean[outcome.problem].append(outcome)
            else:
                clean[case.kind] += 1
            if arguments.case is not None:
                print(f"{outcome.story}\nstatus {outcome.status}\n{outcome.printed}")
        os.chdir("/")
    print(f"seed {arguments.seed}\n{_table(cases, clean)}")
    for problem, outcomes in sorted(unclean.items(), key=lambda item: -len(item[1])):
        print(f"\n{len(outcomes)} × {problem}")
        for outcome in outcomes[:3]:
            print(f"    {outcome.case.repeat()}\n        {outcome.story}")
    return 1 if unclean else 0


if __name__ == "__main__":
    sys.exit(main())
