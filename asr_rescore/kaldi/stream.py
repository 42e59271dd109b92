"""Bytes from wherever Kaldi names them: a file (plain or gzipped), a place in a file, standard input or a command."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from asr_rescore.errors import InputError
from asr_rescore.files import GZIP_MAGIC, open_binary

CHUNK = 1 << 16
# Bounds what a file that is no archive at all can make the reader hold.
LONGEST_KEY = 1 << 12
BLANKS = b" \t\n\r\f\v"


class BrokenArchive(InputError):
    """An entry so broken, or cut off, that the place where the next one begins is lost."""


class _Pipe(io.RawIOBase):
    """Output of a shell command; at its end, an exit status other than 0 is an error."""

    def __init__(self, command: str, where: str):
        self._where = where
        self._process = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._process.stdout.readinto(buffer)  # type: ignore[union-attr]
        if not count and self._process.wait():
            raise InputError(
                self._where,
                found=f"exit status {self._process.returncode}",
                expected="0",
                remedy="run the command by itself and see what it prints",
            )
        return count

    def close(self) -> None:
        if not self.closed:
            self._process.stdout.close()  # type: ignore[union-attr]
            if self._process.poll() is None:  # nobody waits for the rest
                self._process.terminate()
            self._process.wait()
        super().close()


class Window:
    """The part of a stream that is being read: grows to hold one entry, forgets what was consumed.

    A stream that breaks (a truncated gzip file, a failing command) is remembered in ``broken`` and reads as ended, so
    that every entry before the break is still delivered.

    Attributes:
        name: what the user called the stream.
        key: the entry being read, "" between entries.
        broken: why the stream ended before its time.
    """

    def __init__(self, stream: BinaryIO, name: str, offset: int = 0):
        self.name, self.key = name, ""
        self.broken: InputError | None = None
        self._stream = stream
        self._gzipped = isinstance(stream, gzip.GzipFile)
        self._data, self._at, self._base = b"", 0, offset
        self._entry = offset
        self._ended = False

    @property
    def offset(self) -> int:
        """Bytes (uncompressed) before the next one."""
        return self._base + self._at

    def ensure(self, count: int) -> int:
        """Hold ``count`` unread bytes, or all there are; returns how many are held."""
        held = len(self._data) - self._at
        if held >= count or self._ended:
            return held
        parts = [self._data[self._at :]]
        self._base, self._at = self.offset, 0
        while held < count and not self._ended:
            part = self._read(max(count - held, CHUNK))
            parts.append(part)
            held += len(part)
            self._ended = not part
        self._data = b"".join(parts)
        return held

    def _read(self, count: int) -> bytes:
        try:
            return self._stream.read1(count)  # type: ignore[attr-defined]
        except InputError as error:
            self.broken = error
        except (EOFError, OSError, zlib.error) as error:
            self.broken = self.error(f"a broken stream ({error})", "a complete file", "copy or make the file again")
        return b""

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes (fewer at the end), not consumed."""
        self.ensure(count)
        return self._data[self._at : self._at + count]

    def skip(self, count: int) -> None:
        """Consume bytes that are held."""
        self._at += count

    def take(self, count: int) -> bytes:
        """Consume ``count`` bytes.

        Raises:
            BrokenArchive: there are fewer.
        """
        if self.ensure(count) < count:
            raise self.cut_off()
        self._at += count
        return self._data[self._at - count : self._at]

    def line(self) -> bytes:
        """Consume a line, its end included; b"" at the end of the stream."""
        searched, held = 0, self.ensure(1)
        while True:
            end = self._data.find(b"\n", self._at + searched)
            if end >= 0:
                return self.take(end + 1 - self._at)
            searched = held
            held = self.ensure(2 * held + 1)
            if held == searched:
                return self.take(held)

    def next_key(self) -> str | None:
        """Consume the next entry's key and the blank behind it (not a line end); None at the end of the stream.

        Raises:
            BrokenArchive: what stands there is no key, or the stream broke before it.
        """
        self.key = ""
        while self.peek(1) and self.peek(1) in BLANKS:
            self.skip(1)
        self._entry = self.offset
        head = self.peek(LONGEST_KEY)
        if not head:
            if self.broken is not None:
                raise self.cut_off()
            return None
        raw = head.split(maxsplit=1)[0]
        if len(raw) == LONGEST_KEY:
            raise self.error("no blank that ends a key", "an archive of lattices", "check the path", BrokenArchive)
        try:
            self.key = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            found = f"a key that is not UTF-8 ({raw[:20]!r})"
            raise self.error(found, "an archive of lattices", "check the path", BrokenArchive) from error
        self.skip(len(raw))
        if self.peek(1) in (b" ", b"\t"):
            self.skip(1)
        self._entry = self.offset
        return self.key

    def error(self, found: str, expected: str, remedy: str, kind: type[InputError] = InputError) -> InputError:
        """An error about the entry being read, with file, key and the offset of its object."""
        key = f": key {self.key}" if self.key else ""
        unit = "byte (uncompressed)" if self._gzipped else "byte"
        return kind(f"{self.name}{key}: {unit} {self._entry}", found=found, expected=expected, remedy=remedy)

    def cut_off(self) -> InputError:
        """The error of an entry whose end is not there."""
        if self.broken is not None:
            return self.error(self.broken.found, self.broken.expected, self.broken.remedy, BrokenArchive)
        found = f"the end of the data at byte {self.offset + self.ensure(0)}"
        return self.error(found, "the rest of the entry", "copy or make the file again", BrokenArchive)


@contextmanager
def open_window(rxfilename: str, *, allow_pipes: bool = False) -> Iterator[Window]:
    """Open what Kaldi calls an rxfilename: ``file``, ``file:offset``, ``-`` (standard input) or ``command |``.

    Gzip is told by content. Commands run in the shell, and only with ``allow_pipes``: a list of files from somebody
    else could hold any.

    Raises:
        InputError: no such file, an offset beyond its end, or a command without permission to run it.
    """
    name = rxfilename.strip()
    if name.endswith("|"):
        if not allow_pipes:
            raise InputError(
                name, found="a command", expected="a file", remedy="pass --allow-pipes if you trust where it comes from"
            )
        with io.BufferedReader(_Pipe(name[:-1], name)) as stream:
            yield _window(stream, name)
    elif name == "-":
        yield _window(sys.stdin.buffer, "standard input")
    else:
        # Path.exists raises for names that are too long
        placed = None if os.path.exists(name) else re.fullmatch(r"(.+):(\d+)", name)  # noqa: PTH110
        path, offset = (placed[1], int(placed[2])) if placed else (name, 0)
        with open_binary(path) as stream:
            if offset:
                _seek(stream, path, offset)
            elif path.endswith(".gz") and not isinstance(stream, gzip.GzipFile) and not stream.peek(1):
                raise InputError(path, found="an empty file", expected="gzip", remedy="copy or make the file again")
            yield Window(stream, path, offset)


def _window(stream: BinaryIO, name: str) -> Window:
    gzipped = stream.peek(2)[:2] == GZIP_MAGIC  # type: ignore[attr-defined]
    return Window(gzip.GzipFile(fileobj=stream) if gzipped else stream, name)  # type: ignore[arg-type]


def _seek(stream: BinaryIO, path: str, offset: int) -> None:
    if isinstance(stream, gzip.GzipFile):
        raise InputError(
            f"{path}: byte {offset}",
            found="a gzipped file",
            expected="a plain one",
            remedy="gunzip it, or read it whole",
        )
    size = stream.seek(0, io.SEEK_END)
    if offset >= size:
        raise InputError(
            f"{path}: byte {offset}",
            found=f"a file of {size} bytes",
            expected="an entry there",
            remedy="make the .scp again, together with its archive",
        )
    stream.seek(offset)
