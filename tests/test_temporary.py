"""What a killed process left unfinished is removed; what a living one writes is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from asr_rescore import temporary
from asr_rescore.files import atomic_directory, atomic_text
from asr_rescore.temporary import FOREIGN_AGE, Owner, remove_unfinished, sweep, temporary_path

DEAD = replace(Owner.this(), pid=2**22 - 1, start=1)


@pytest.fixture(autouse=True)
def unswept(monkeypatch):
    monkeypatch.setattr(temporary, "_swept", set())


def left_by(owner: Owner, path: Path, monkeypatch, kind: str = "tmp") -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(Owner, "this", lambda: owner)
        return temporary_path(path, kind)


@pytest.mark.parametrize("write", ["atomic_text(path)", "atomic_directory(path)"])
def test_a_killed_writer_leaves_nothing_for_long(tmp_path, write):
    path = tmp_path / "state"
    script = (
        "import os, pathlib, signal\n"
        "from asr_rescore.files import atomic_directory, atomic_text\n"
        f"path = pathlib.Path({str(path)!r})\n"
        f"with {write}: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script])
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_text(path):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_a_living_writer_is_left_alone(tmp_path):
    script = (
        "import pathlib, sys\n"
        "from asr_rescore.files import atomic_text\n"
        f"with atomic_text(pathlib.Path({str(tmp_path / 'state')!r})) as stream:\n"
        "    print('writing', flush=True)\n"
        "    stream.write(sys.stdin.readline())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        sweep(tmp_path)
        process.communicate(b"whole\n")
    assert process.returncode == 0
    assert (tmp_path / "state").read_text() == "whole\n"


@pytest.mark.parametrize(
    ("owner", "age", "stays"),
    [
        (Owner.this(), 10 * FOREIGN_AGE, True),
        (DEAD, 0, False),
        (replace(Owner.this(), start=Owner.this().start - 1), 0, False),  # an earlier process with the same id
        (replace(DEAD, host="elsewhere"), FOREIGN_AGE / 2, True),
        (replace(DEAD, host="elsewhere"), 2 * FOREIGN_AGE, False),
    ],
    ids=["this process", "dead", "same id", "another host", "another host long ago"],
)
def test_the_owner_decides(tmp_path, monkeypatch, owner, age, stays):
    left = left_by(owner, tmp_path / ("lat.1.gz" * 30), monkeypatch)
    left.touch()
    now = left.stat().st_mtime
    monkeypatch.setattr(temporary.time, "time", lambda: now + age)
    sweep(tmp_path)
    assert left.exists() == stays


@pytest.mark.parametrize("moment", ["mkdir", "rmtree"])
def test_an_interrupt_where_no_block_catches_it_leaves_nothing(tmp_path, monkeypatch, moment):
    """It comes when the directory has just been made, or while what it replaces is removed."""
    path = tmp_path / "archives.1"
    with atomic_directory(path):
        pass
    (path / "old").touch()

    make = Path.mkdir

    def mkdir(self: Path, **options: bool) -> None:
        make(self, **options)
        if not options:  # not that of the parent directory
            raise KeyboardInterrupt

    def rmtree(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        if moment == "mkdir":
            patch.setattr(Path, "mkdir", mkdir)
        else:
            patch.setattr(temporary.shutil, "rmtree", rmtree)
        with atomic_directory(path) as fresh:
            (fresh / "new").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished()
    assert list(tmp_path.iterdir()) == [path]
    assert [found.name for found in path.iterdir()] == ["old" if moment == "mkdir" else "new"]


def test_names_of_others_are_left_alone(tmp_path):
    for name in (".state.abc123", "a.tmp", ".x.host.1.1.tmp", "..nfs000", ".lat.1.gz.swp"):
        (tmp_path / name).touch()
    before = sorted(tmp_path.iterdir())
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_between_old_and_new_comes_back(tmp_path, monkeypatch):
    aside = left_by(DEAD, tmp_path / "archives.1", monkeypatch, "old")
    (aside / "archives.1").mkdir(parents=True)
    (aside / "archives.1" / "words").write_text("old")
    sweep(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "archives.1",
        "archives.1/words",
    ]


def test_a_directory_is_swept_once(tmp_path, monkeypatch):
    sweep(tmp_path)
    left = left_by(DEAD, tmp_path / "x", monkeypatch)
    left.touch()
    sweep(tmp_path)
    assert left.exists()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_holds(tmp_path, umask):
    previous = os.umask(umask)
    try:
        with atomic_directory(tmp_path / "folder") as fresh:
            (fresh / "file").touch()
        with atomic_text(tmp_path / "text.gz"):
            pass
    finally:
        os.umask(previous)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "text.gz").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_text(fifo) as stream:
        stream.write("through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    with atomic_text("/dev/null") as stream:
        stream.write("x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), atomic_text("/dev/full") as stream:
        stream.write("x")
