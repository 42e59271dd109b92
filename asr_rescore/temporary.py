"""Names of unfinished files and directories. Each name carries its owner, so that what a killed owner left can go."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

# An owner on another host cannot be asked whether it still runs. No file takes this long to write.
FOREIGN_AGE = 24 * 3600.0  # seconds
# A temporary name is longer than the name that it stands for; most file systems allow 255 bytes.
LONGEST_PART = 40  # characters of the final name, of at most four bytes each

_PATTERN = re.compile(r"\.(?P<name>.*)\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.(?P<start>\d+)\.[0-9a-f]{8}\.(?P<kind>tmp|old)")
_swept: set[tuple[int, str]] = set()  # (process id, directory); a forked process sweeps again


@dataclass(frozen=True)
class Owner:
    """A process. Its start time tells it from a later process with the same id."""

    host: str
    pid: int
    start: int

    @classmethod
    def this(cls) -> Owner:
        """This process."""
        return cls(_host(), os.getpid(), _start_time(os.getpid()) or 0)

    @property
    def here(self) -> bool:
        """Whether the process is, or was, on this host and in this container."""
        return self.host == _host()

    @property
    def alive(self) -> bool:
        """Whether the process still runs; only known for processes that are ``here``."""
        if self.start:
            return _start_time(self.pid) == self.start
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # it belongs to somebody else
            return True
        return True


def temporary_path(path: Path, kind: str = "tmp") -> Path:
    """A new name next to ``path``, with its owner; ``kind`` is tmp, or old for a directory that is being replaced."""
    owner = Owner.this()
    part = path.name[:LONGEST_PART]
    return path.with_name(f".{part}.{owner.host}.{owner.pid}.{owner.start}.{uuid4().hex[:8]}.{kind}")


def sweep(directory: Path) -> None:
    """Remove what killed processes left unfinished in ``directory``, once for each process and directory.

    Files of a live process stay, and so do those of another host that are younger than a day. A directory that was
    moved aside but not yet replaced when its owner was killed is moved back.
    """
    place = (os.getpid(), str(directory.absolute()))
    if place in _swept:
        return
    _swept.add(place)
    _remove_from(directory, _orphaned)


def remove_unfinished() -> None:
    """Remove what this process has left unfinished, before it ends.

    Whoever writes a file removes it when an exception comes. Ctrl-C and SIGTERM, however, raise theirs anywhere: also
    just before that is arranged for, or within it.
    """
    this = Owner.this()
    for pid, directory in _swept:
        if pid == this.pid:
            _remove_from(Path(directory), lambda owner, left: owner == this)


def _orphaned(owner: Owner, left: os.stat_result) -> bool:
    return not owner.alive if owner.here else time.time() - left.st_mtime > FOREIGN_AGE


def _remove_from(directory: Path, unwanted: Callable[[Owner, os.stat_result], bool]) -> None:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names only; a directory may have a million files
    except OSError:
        return  # whoever writes there will say what is wrong
    for name in names:
        match = _PATTERN.fullmatch(name)
        if match is None:
            continue
        left = directory / name
        owner = Owner(match["host"], int(match["pid"]), int(match["start"]))
        try:
            status = left.lstat()
            if not unwanted(owner, status):
                continue
            if not stat.S_ISDIR(status.st_mode):
                left.unlink()
                continue
            if match["kind"] == "old":
                _move_back(left)
            shutil.rmtree(left)
        except OSError:
            continue  # another process was faster, or may not be disturbed


def _move_back(aside: Path) -> None:
    for kept in aside.iterdir():
        place = aside.with_name(kept.name)
        if not place.exists():
            kept.replace(place)


def _host() -> str:
    """The name of this host, and of the container if process ids are only valid in it."""
    name = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64] or "host"
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - not a path: pid:[4026531836]
    except OSError:
        return name
    return f"{name}-{re.sub(r'[^0-9]', '', space)}"


def _start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if there is no such process, or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # the name of the program, in parentheses, may contain blanks
    state = fields[0]
    return None if state in (b"Z", b"X") else int(fields[19])
