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

HELD = (errno.EAGAIN, errno.EACCES)
LONGEST_NOTE = 200  # bytes of a lock file that are shown


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """A context in which no other process holds the lock ``path``.

    The file stays when the lock is released: to remove it would let two processes lock two files of the same name. On a
    file system without locks, a warning is logged and nothing is locked.

    Args:
        path: the lock file; it and its directory are created if they are missing.
        what: what would be written twice, for the error.

    Raises:
        RescoreError: another process holds the lock.
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
                raise RescoreError(
                    f"{what} is being written by another process{owner}; wait for it, or name another directory"
                ) from error
            logger.warning(
                "%s: this file system has no locks (%s); do not run two processes on %s", path, error.strerror, what
            )
        else:
            with suppress(OSError):  # on a full disk the note is missing, and the lock holds all the same
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)
