"""Kill commands, let their disk be full, and run them at the same time; each time they must leave nothing wrong.

A case is a command that is disturbed, and then run again: this must give what a run gives that nothing disturbed. It is
repeated by its seed, attack, command and number, though a moment that is a time differs from run to run:

    python tests/fuzz/robustness.py --seed 7 --attack kills --command train_lm --case 3
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, not an installed one
os.environ.setdefault("OMP_NUM_THREADS", "1")

import full_disk
import kills
import load
from child import load_everything
from stand import Outcome, Stand

ATTACKS = {"kills": kills, "full-disk": full_disk, "load": load}
Case = tuple[str, str, int]  # attack, command, number


def main() -> int:
    """Run cases and print a table; 1 if one of them did not end well."""
    arguments = _parser().parse_args()
    load_everything()
    cases: Counter[tuple[str, str]] = Counter()
    clean: Counter[tuple[str, str]] = Counter()
    unclean: defaultdict[str, list[tuple[Case, Outcome]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="robustness.") as folder:
        stand = Stand(Path(folder))
        stand.mounts = full_disk.can_mount(Path(folder))
        if not stand.mounts and "full-disk" in arguments.attack:
            print(full_disk.REASON)
        for attack, command, number in _cases(arguments):
            outcome = ATTACKS[attack].run_case(stand, command, Random(f"{arguments.seed} {attack} {command} {number}"))
            cases[command, attack] += 1
            if outcome.problem:
                unclean[f"{attack}: {outcome.problem}"].append(((attack, command, number), outcome))
            else:
                clean[command, attack] += 1
            if arguments.case is not None:
                print(f"{outcome.story}\n{outcome.printed}")
        os.chdir("/")
    print(f"seed {arguments.seed}\n{_table(arguments.attack, cases, clean)}")
    for problem, outcomes in sorted(unclean.items(), key=lambda item: -len(item[1])):
        print(f"\n{len(outcomes)} × {problem}")
        for (attack, command, number), outcome in outcomes[:3]:
            words = ("--seed", str(arguments.seed), "--attack", attack, "--command", command, "--case", str(number))
            print(f"    python tests/fuzz/robustness.py {shlex.join(words)}\n        {outcome.story}")
    return 1 if unclean else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attack", choices=ATTACKS, nargs="+", default=list(ATTACKS), help="only these")
    commands = sorted({command for attack in ATTACKS.values() for command in attack.COMMANDS})
    parser.add_argument("--command", choices=commands, nargs="+", default=commands, metavar="NAME", help="only these")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--cases", type=int, default=2, help="number of cases of each attack and command (default: 2)")
    how.add_argument("--minutes", type=float, help="go on for this long instead")
    how.add_argument("--case", type=int, help="only the case with this number; prints what the command printed")
    return parser


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """One case of each attack and command, again and again, until there are enough of them or the time is up."""
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    number = arguments.case or 0
    last = number + 1 if arguments.case is not None else arguments.cases
    while end or number < last:
        # In an order of its own for each round: if the time is short, it is not always for the same commands.
        for command in Random(f"{arguments.seed} {number}").sample(arguments.command, len(arguments.command)):
            for attack in arguments.attack:
                if end and time.monotonic() > end:
                    return
                if command in ATTACKS[attack].COMMANDS:
                    yield attack, command, number
        number += 1


def _table(attacks: list[str], cases: Counter[tuple[str, str]], clean: Counter[tuple[str, str]]) -> str:
    """Cases and clean cases, by command and attack."""
    rows = [f"{'command':<36}" + "".join(f"{attack:>10}{'clean':>7}" for attack in attacks)]
    for command in sorted({command for command, _ in cases}):
        figures = (f"{cases[command, attack]:>10}{clean[command, attack]:>7}" for attack in attacks)
        rows.append(f"{command:<36}" + "".join(figures))
    totals = []
    for attack in attacks:
        totals.append(sum(number for (_, other), number in cases.items() if other == attack))
        totals.append(sum(number for (_, other), number in clean.items() if other == attack))
    rows.append(f"{'all':<36}" + "".join(f"{number:>{(10, 7)[index % 2]}}" for index, number in enumerate(totals)))
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
