"""Where commands are disturbed: a copy of the examples, and what each command leaves when nothing disturbs it."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import remains
import subjects
from child import Child, run_command

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")  # audit events
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing disturbed.

    Attributes:
        status: its exit status.
        seconds: how long it took.
        steps: how often it opened a file for writing, or renamed, removed or made one.
        before, after: its results.
        sizes: of all its files, in bytes.
    """

    status: int
    seconds: float
    steps: int
    before: remains.Contents
    after: remains.Contents
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """How a case ended; ``problem`` is empty if it ended well."""

    story: str
    problem: str
    printed: str


class Stand:
    """Runs commands in a directory of examples.

    Args:
        folder: a new directory.
    """

    def __init__(self, folder: Path):
        self.examples = folder / "examples"
        self.place = folder / "case"
        self.disk = self.place / "out.disk"  # where outputs go if the disk has a certain size
        self.programs = folder / "programs"
        self.examples.mkdir()
        os.chdir(self.examples)
        status, printed = Child(lambda: subjects.make_examples() or 0).end()
        if status != 0:
            raise RuntimeError(printed)
        shutil.copytree(self.examples, self.place, ignore=shutil.ignore_patterns("out*"))
        os.chdir(self.place)
        self.programs.mkdir()
        program = self.programs / "asr-rescore"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m asr_rescore.cli.main "$@"\n')
        program.chmod(0o755)
        self.mounts = False  # whether the disk can have a certain size
        self._known: dict[str, Undisturbed] = {}

    def clear(self, command: str, folder: Path | None = None) -> None:
        """Give a command the outputs of earlier commands that it continues or replaces, and no others.

        Args:
            command: the command.
            folder: where its outputs are, as in :meth:`undisturbed`.
        """
        folder = folder or self.place
        for path in folder.glob("out*"):
            if path != self.disk:
                _remove(path)
        for name in set(re.findall(r" (?:out\.disk/)?(out\.[a-z]+)", command)) - set(subjects.NEW):
            source = self.examples / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
        earlier = earlier_command(command)
        if earlier is not None:
            status, printed = start(self, earlier).end()
            if status not in (0, 1):
                raise RuntimeError(f"{earlier}: {printed}")

    def on_disk(self, command: str) -> str:
        """The command with its outputs in the folder ``disk``."""
        return re.sub(r" (?=out(?:[. ]|$))", f" {self.disk.name}/", command)

    def undisturbed(self, command: str, folder: Path | None = None) -> Undisturbed:
        """What the command leaves when nothing disturbs it.

        Args:
            command: the command.
            folder: the folder of its outputs, if that is not ``place``.
        """
        if command not in self._known:
            self.clear(command, folder)
            before = remains.contents(folder or self.place)
            steps = Steps()
            began = time.monotonic()
            status, printed = start(self, command, steps.count).end()
            seconds = time.monotonic() - began
            if status not in (0, 1):
                raise RuntimeError(f"{command}: {printed}")
            after = remains.contents(folder or self.place)
            sizes = tuple(path.stat().st_size for path in (folder or self.place).rglob("*") if path.is_file())
            self._known[command] = Undisturbed(status, seconds, steps.number, before, after, sizes)
        return self._known[command]

    def environment(self) -> dict[str, str]:
        """The environment of scripts."""
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(subjects.ROOT)}


class Script:
    """A process that is not forked from this one: a script, or a command from its very start."""

    def __init__(self, stand: Stand, command: str):
        self.process = subprocess.Popen(
            command.split(),
            env=stand.environment(),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def kill(self, number: int) -> None:
        """Send a signal to it and all that it started, as Ctrl-C does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """As :meth:`Child.end`."""
        printed, _ = self.process.communicate()
        return self.process.returncode, printed.decode("utf-8", errors="replace")


def run(command: str, prepare: Callable[[], None] | None = None, stdout: str | None = None) -> Child:
    """Start a command of the package in a forked process."""
    return Child(lambda: run_command(command.format("ark").split()), prepare, stdout)


def start(stand: Stand, command: str, prepare: Callable[[], None] | None = None) -> Child | Script:
    """Start a command or a script."""
    return Script(stand, command) if command.startswith("/") else run(command, prepare)


def earlier_command(command: str) -> str | None:
    """A command whose results ``command`` replaces; None if it has to be the first in its directory."""
    earlier = command
    for now, before in subjects.EARLIER.items():
        earlier = earlier.replace(now, before)
    return None if earlier == command else earlier


class Steps:
    """Counts the changes of files that a child makes."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)  # shared with the child

    @property
    def number(self) -> int:
        """How many there were."""
        return int(struct.unpack("q", self._memory[:8])[0])

    def count(self, at: int = 0, action: Callable[[], None] = lambda: None) -> None:
        """From now on count the changes that this process makes; just before number ``at``, do something."""

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open":
                flags = arguments[2]
                if not isinstance(flags, int) or not flags & WRITES or str(arguments[0]).startswith("/dev/"):
                    return
            elif event not in CHANGES:
                return
            number = self.number + 1
            self._memory[:8] = struct.pack("q", number)
            if number == at:
                action()

        sys.addaudithook(hook)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
