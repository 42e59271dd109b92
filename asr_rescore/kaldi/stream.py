"""Bytes from whatever Kaldi can name: a file (plain or gzipped), an offset in a file, standard input or a command."""

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
from pathlib import Path
from typing import TYPE_CHECKING

from asr_rescore.errors import InputError
from asr_rescore.files import (
    BYTE_ORDER_MARK,
    EXPANSION,
    GZIP_MAGIC,
    LARGEST_ENTRY,
    LONGEST_LINE,
    READ_AHEAD,
    GzipReader,
    open_binary,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 16
LARGEST_READ = 1 << 22
# Limits how much of a file that is not an archive is read in search of a key.
LONGEST_KEY = 1 << 12
BLANKS = b" \t\n\r\f\v"
_BLANKS_OF_NAMES = BLANKS.decode()  # around a name; wide spaces belong to it


class BrokenArchive(InputError):
    """An entry is damaged or cut off in such a way that the start of the next entry is unknown."""


class _Pipe(io.RawIOBase):
    """The output of a shell command. At its end, a non-zero exit status is an error."""

    def __init__(self, command: str, where: str):
        self._where = where
        self._process = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdout is not None  # because of PIPE
        self._output = self._process.stdout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        data = self._output.read(len(view))
        view[: len(data)] = data
        if not data and self._process.wait():
            raise InputError(
                self._where,
                found=f"exit status {self._process.returncode}",
                expected="0",
                remedy="run the command by itself and see what it prints",
            )
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._output.close()
            if self._process.poll() is None:  # the reader stopped before the end
                self._process.terminate()
            self._process.wait()
        super().close()


class Window:
    """The part of a stream that is being read. It grows to hold one entry and drops what has been consumed.

    If the stream breaks (a truncated gzip file, a failing command), the error is kept in ``broken`` and the stream
    reads as ended, so that all entries before the break are still delivered.

    An entry that is larger than ``largest``, or a gzipped one that expands as no lattice does, raises BrokenArchive
    before it fills the memory.

    Args:
        stream: where the bytes come from.
        name: names the stream in error messages.
        offset: position of the stream's first byte in its file.
        largest: the largest number of bytes of one entry; None: no limit except that of gzipped entries.

    Attributes:
        name: as given.
        key: the key of the entry being read, "" between entries.
        key_error: what is wrong with the key, if something is.
        broken: why the stream ended early, if it did.
    """

    def __init__(
        self,
        stream: io.BufferedReader | gzip.GzipFile,
        name: str,
        offset: int = 0,
        largest: int | None = LARGEST_ENTRY,
    ):
        self.name = name
        self.key = ""
        self.key_error: InputError | None = None
        self.broken: InputError | None = None
        self._stream = stream
        self._gzipped = isinstance(stream, gzip.GzipFile)
        self._data = b""
        self._at = 0  # the next byte, in _data
        self._base = offset  # where _data begins, in the stream
        self._entry = offset  # where the current entry's object begins, in the stream
        self._ended = False
        self._largest = largest
        self._compressed = 0  # bytes of the gzipped file that had been read when the current entry began

    @property
    def offset(self) -> int:
        """Position of the next byte in the (uncompressed) stream."""
        return self._base + self._at

    def ensure(self, count: int) -> int:
        """Buffer at least ``count`` unread bytes, or all that are left; returns how many are buffered."""
        held = len(self._data) - self._at
        if held >= count or self._ended:
            return held
        parts = [self._data[self._at :]]
        self._base = self.offset
        self._at = 0
        while held < count and not self._ended:
            part = self._read(max(min(count - held, LARGEST_READ), CHUNK))
            parts.append(part)
            held += len(part)
            self._ended = not part
            self._check_size(self.offset + held - self._entry)
        self._data = b"".join(parts)
        return held

    def begin_entry(self) -> None:
        """Start to count the bytes of an entry from here."""
        self._entry = self.offset
        if isinstance(self._stream, GzipReader):
            self._compressed = self._stream.compressed

    def _check_size(self, size: int) -> None:
        """Refuse an entry of ``size`` bytes, and perhaps more, if it is too large."""
        if self._largest is not None and size > self._largest + CHUNK:
            found = f"more than {self._largest} bytes"
            raise self.error(found, "an entry of plausible size", "check the file", BrokenArchive)
        if isinstance(self._stream, GzipReader):
            compressed = self._stream.compressed - self._compressed + READ_AHEAD
            if size > EXPANSION * compressed:
                found = f"more than {EXPANSION} times the compressed bytes"
                raise self.error(found, "an entry of plausible size", "check the file", BrokenArchive)

    def _read(self, count: int) -> bytes:
        try:
            return self._stream.read1(count)
        except InputError as error:
            self.broken = error
        except (EOFError, OSError, zlib.error) as error:
            self.broken = self.error(f"a broken stream ({error})", "a complete file", "copy or make the file again")
        return b""

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes (fewer at the end), without consuming them."""
        self.ensure(count)
        return self._data[self._at : self._at + count]

    def skip(self, count: int) -> None:
        """Consume ``count`` bytes that are already buffered."""
        self._at += count

    def take(self, count: int) -> bytes:
        """Consume and return ``count`` bytes.

        Raises:
            BrokenArchive: fewer bytes are left.
        """
        if self.ensure(count) < count:
            raise self.cut_off()
        self._at += count
        return self._data[self._at - count : self._at]

    def line(self) -> bytes:
        """Consume and return a line with its line end; b"" at the end of the stream."""
        searched = 0
        held = self.ensure(1)
        while True:
            end = self._data.find(b"\n", self._at + searched)
            if end >= 0:
                return self.take(end + 1 - self._at)
            searched = held
            if held > LONGEST_LINE:
                found = f"more than {LONGEST_LINE} bytes without a line end"
                raise self.error(found, "lines of text", "check the file", BrokenArchive)
            held = self.ensure(2 * held + 1)
            if held == searched:
                return self.take(held)

    def next_key(self) -> str | None:
        """Consume the next entry's key and one blank after it (but not a line end); None at the end of the stream.

        In a key that is not UTF-8, the wrong bytes are shown as ``\\xff``, and ``key_error`` says so.

        Raises:
            BrokenArchive: the next bytes are not a key, or the stream broke before it.
        """
        self.key = ""
        self.key_error = None
        self.begin_entry()
        while self.ensure(1):
            rest = self._data[self._at :]
            blanks = len(rest) - len(rest.lstrip(BLANKS))
            self.skip(blanks)
            if blanks < len(rest):
                break
        self.begin_entry()
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
        except UnicodeDecodeError:
            self.key = raw.decode("utf-8", errors="backslashreplace")
        self.skip(len(raw))
        if self.peek(1) in (b" ", b"\t"):
            self.skip(1)
        self.begin_entry()
        if self.key.encode() != raw:
            self.key_error = self.error("a key that is not UTF-8", "UTF-8", "convert the utterance ids with iconv")
        return self.key

    def error(self, found: str, expected: str, remedy: str, kind: type[InputError] = InputError) -> InputError:
        """An error about the current entry. It names the stream, the key and the offset of the entry's object."""
        key = f": key {self.key}" if self.key else ""
        unit = "byte (uncompressed)" if self._gzipped else "byte"
        return kind(f"{self.name}{key}: {unit} {self._entry}", found=found, expected=expected, remedy=remedy)

    def cut_off(self) -> InputError:
        """The error for an entry whose end is missing."""
        if self.broken is not None:
            return self.error(self.broken.found, self.broken.expected, self.broken.remedy, BrokenArchive)
        found = f"the end of the data at byte {self.offset + self.ensure(0)}"
        return self.error(found, "the rest of the entry", "copy or make the file again", BrokenArchive)


@contextmanager
def open_window(
    rxfilename: str | Path, *, allow_pipes: bool = False, largest: int | None = LARGEST_ENTRY
) -> Iterator[Window]:
    """Open what Kaldi calls an rxfilename: ``file``, ``file:offset``, ``-`` (standard input) or ``command |``.

    Gzip is recognised by content. Commands run in the shell, and only with ``allow_pipes``, because a list of files
    from somebody else could contain any command.

    Args:
        rxfilename: a name of one of these kinds, or a Path, which is always a file of exactly this name.
        allow_pipes: whether commands may run.
        largest: see :class:`Window`.

    Raises:
        InputError: the file does not exist, the offset is beyond its end, or a command is not allowed.
    """
    name = str(rxfilename) if isinstance(rxfilename, Path) else rxfilename.strip(_BLANKS_OF_NAMES)
    if isinstance(rxfilename, Path):
        with open_binary(rxfilename) as stream:
            yield _window(stream, name, largest)
    elif name.endswith("|"):
        if not allow_pipes:
            raise InputError(
                name, found="a command", expected="a file", remedy="set `allow_pipes` if you trust where it comes from"
            )
        pipe: io.BufferedReader = io.BufferedReader(_Pipe(name[:-1], name))
        with pipe:
            yield _window(_unzipped(pipe), name, largest)
    elif name == "-":
        standard_input = sys.stdin.buffer
        assert isinstance(standard_input, io.BufferedReader)  # declared as any BinaryIO
        yield _window(_unzipped(standard_input), "standard input", largest)
    else:
        path = name
        offset = 0
        placed = re.fullmatch(r"(.+):([0-9]{1,18})", name)
        if placed and not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that are too long
            path = placed[1]
            offset = int(placed[2])
        with open_binary(path) as stream:
            if offset:
                _seek(stream, path, offset)
                yield Window(stream, path, offset, largest)
            else:
                yield _window(stream, path, largest)


def _unzipped(stream: io.BufferedReader) -> io.BufferedReader | gzip.GzipFile:
    return GzipReader(stream) if stream.peek(2)[:2] == GZIP_MAGIC else stream


def _window(stream: io.BufferedReader | gzip.GzipFile, name: str, largest: int | None) -> Window:
    """The window of a stream from its beginning, after a byte order mark if there is one."""
    if name.endswith(".gz") and not isinstance(stream, gzip.GzipFile) and not stream.peek(1):
        raise InputError(name, found="an empty file", expected="gzip", remedy="copy or make the file again")
    window = Window(stream, name, largest=largest)
    if window.peek(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK:
        window.skip(len(BYTE_ORDER_MARK))
    return window


def _seek(stream: io.BufferedReader | gzip.GzipFile, path: str, offset: int) -> None:
    if isinstance(stream, gzip.GzipFile):
        raise InputError(
            f"{path}: byte {offset}",
            found="a gzipped file",
            expected="an uncompressed one",
            remedy="gunzip it, or read it as a whole",
        )
    size = stream.seek(0, io.SEEK_END)
    if offset >= size:
        raise InputError(
            f"{path}: byte {offset}",
            found=f"a file of {size} bytes",
            expected="an entry at this offset",
            remedy="make the .scp again, together with its archive",
        )
    stream.seek(offset)
