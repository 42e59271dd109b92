"""Locks that keep two processes from writing into one directory; the kernel releases them when a process ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asr_rescore.errors import RescoreError

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"  # of a directory in which everything is written by one process
HELD = (errno.EAGAIN, errno.EACCES)
LONGEST_NOTE = 200  # bytes of a lock file that are shown


@contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """A context in which no other process holds the lock ``path``.

    The file stays when the lock is released: to remove it would let two processes lock two files of the same name. On a
    file system without locks, a warning is logged and nothing is locked.

    Args:
        path: the lock file; it and its directory are created if they are missing.
        what: what would be written twice, for the error.
        wait: wait for a process that holds the lock, instead of raising an error.

    Raises:
        RescoreError: another process holds the lock, and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                note = os.read(descriptor, LONGEST_NOTE).decode("utf-8", errors="replace").strip()
                owner = f" ({note})" if note else ""
                written = f"{what} is being written by another process{owner}"
                if not wait:
                    raise RescoreError(f"{written}; wait for it, or name another directory") from error
                logger.info("%s; waiting for it", written)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                _sign(descriptor)
            else:
                logger.warning(
                    "%s: this file system has no locks (%s); do not run two processes on %s", path, error.strerror, what
                )
        else:
            _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Write into a lock file who holds it. On a full disk the note is missing, and the lock holds all the same."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
