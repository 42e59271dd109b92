"""Let the disk be full at any moment: one line names the file, and with room the same command gives its result."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import remains
import subjects
from child import problem_of_text
from kills import run_again
from stand import Outcome, Stand, Undisturbed, run

PAGE = 4096  # bytes, the unit of a tmpfs
ROOM = "size=256m,nr_inodes=100000"
COMMANDS = {name: command for name, command in subjects.COMMANDS.items() if not command.startswith("python")}
PRINTING = ("compute_ppl", "ppl_table", "score_wer", "report", "compare")
REASON = "no tmpfs can be mounted here (that needs root); files have a largest size instead"


def can_mount(folder: Path) -> bool:
    """Whether a disk of any size can be had."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    if not _mount(f"-t tmpfs -o {ROOM} tmpfs {disk}"):
        return False
    return _mount(f"{disk}", program="umount")


def run_case(stand: Stand, name: str, random: Random) -> Outcome:
    """Run a command on a disk that is too small, and again with room."""
    stand.disk.mkdir(exist_ok=True)
    mounted = stand.mounts and _mount(f"-t tmpfs -o {ROOM} tmpfs {stand.disk}")
    try:
        return _run_case(stand, name, random, mounted)
    finally:
        if mounted:
            _mount(f"-l {stand.disk}", program="umount")


def _run_case(stand: Stand, name: str, random: Random, mounted: bool) -> Outcome:
    command = stand.on_disk(COMMANDS[name])
    wanted = stand.undisturbed(command, stand.disk)
    stand.clear(command, stand.disk)
    kinds: list[Callable[[], tuple[str, int, str]]] = []
    if wanted.after != wanted.before:
        kinds.append(lambda: _with_large_files_refused(stand, command, wanted, random))
        if mounted:
            kinds.append(lambda: _on_few_pages(stand, command, wanted, random))
            kinds.append(lambda: _on_few_inodes(stand, command, wanted, random))
    if command.split()[0] in PRINTING:
        kinds.append(lambda: ("standard output", *run(command, stdout="/dev/full").end()))
    if not kinds:
        return Outcome("nothing is written", "", "")
    story, status, printed = random.choice(kinds)()
    problem = _problem(stand, story, status, printed, wanted)
    if mounted:
        _mount(f"-o remount,{ROOM} {stand.disk}")
    if not problem:
        problem, again = run_again(stand, command, wanted, stand.disk)
        printed += f"--- again:\n{again}"
    return Outcome(story, problem, f"status {status}\n{printed}")


def _on_few_pages(stand: Stand, command: str, wanted: Undisturbed, random: Random) -> tuple[str, int, str]:
    used = sum(_pages(path.stat().st_size) for path in stand.disk.rglob("*") if path.is_file())
    needed = sum(map(_pages, wanted.sizes))
    free = random.choice((random.randint(0, 3), random.randint(0, needed)))
    _mount(f"-o remount,size={max(1, used + free) * PAGE} {stand.disk}")
    return f"{free} free pages; results have {needed}", *run(command).end()


def _on_few_inodes(stand: Stand, command: str, wanted: Undisturbed, random: Random) -> tuple[str, int, str]:
    used = 1 + sum(1 for _ in stand.disk.rglob("*"))
    free = random.randint(0, len(wanted.sizes) + 3)
    _mount(f"-o remount,nr_inodes={used + free} {stand.disk}")
    return f"room for {free} new files", *run(command).end()


def _with_large_files_refused(stand: Stand, command: str, wanted: Undisturbed, random: Random) -> tuple[str, int, str]:
    size = random.choice((random.randint(0, 300), random.randint(0, max(wanted.sizes))))
    limit = (size, resource.RLIM_INFINITY)
    return f"no file above {size} bytes", *run(command, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)).end()


def _pages(size: int) -> int:
    return -(-size // PAGE)


def _problem(stand: Stand, story: str, status: int, printed: str, wanted: Undisturbed) -> str:
    if problem := problem_of_text(printed):
        return problem
    if left := remains.temporary_files(stand.disk):
        return f"left {remains.final_name(left[0])}"
    if problem := remains.incomplete(stand.disk, wanted.before, wanted.after):
        return problem
    found = remains.contents(stand.disk)
    missing = [name for name in wanted.before if name not in found]
    if missing and remains.differences(found, wanted.after):
        return f"{missing[0]} is gone"
    errors = [line for line in printed.splitlines() if ": error: " in line]
    if errors:
        named = stand.disk.name in errors[0] or (story == "standard output" and story in errors[0])
        return "" if status in (1, 2) and named else f"status {status}: {errors[0]}"
    if status != wanted.status:
        return f"exit status {status}"
    return remains.differences(found, wanted.after)


def _mount(options: str, program: str = "mount") -> bool:
    return subprocess.run([program, *options.split()], capture_output=True).returncode == 0
