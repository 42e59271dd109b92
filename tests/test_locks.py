"""Two processes do not write into one directory."""

from __future__ import annotations

import errno
import fcntl
import logging
import subprocess
import sys

import pytest

from asr_rescore.errors import RescoreError
from asr_rescore.locks import locked

HOLD = """
import pathlib, sys
from asr_rescore.locks import locked
with locked(pathlib.Path(sys.argv[1]), "exp/lm"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_is_told_and_a_kill_releases(tmp_path):
    lock = tmp_path / "new" / ".lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        message = rf"exp/lm is being written by another process \(process {process.pid} on .*\); wait for it, or name"
        with pytest.raises(RescoreError, match=message), locked(lock, "exp/lm"):
            pass
        process.kill()
        process.communicate()
    with locked(lock, "exp/lm"):
        pass


def test_an_error_releases(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path / ".lock", "it"):
        raise RuntimeError
    with locked(tmp_path / ".lock", "it"):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    done = []
    with locked(tmp_path / ".lock", "exp/lm"):
        done.append(True)
    assert done and "this file system has no locks (No locks available); do not run two processes" in caplog.text


def test_a_process_can_wait_for_another(tmp_path, caplog):
    lock = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        waiting = logging.getLogger("asr_rescore.locks")
        # The other process is let go when this one says that it waits.
        handler = logging.Handler()
        handler.emit = lambda record: process.stdin.close()
        waiting.addHandler(handler)
        try:
            with caplog.at_level(logging.INFO, logger=waiting.name), locked(lock, "exp/ids", wait=True):
                assert process.wait() == 0
        finally:
            waiting.removeHandler(handler)
    assert f"exp/ids is being written by another process (process {process.pid}" in caplog.text


def test_a_full_disk_is_no_obstacle(tmp_path, monkeypatch):
    """The note about the owner is missing then; the first result that does not fit is an error that names its file."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lock = tmp_path / ".lock"
    monkeypatch.setattr("asr_rescore.locks.os.pwrite", full)
    with locked(lock, "exp/lm"), pytest.raises(RescoreError, match="by another process; wait"), locked(lock, "exp/lm"):
        pass
