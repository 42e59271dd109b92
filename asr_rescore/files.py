"""Opening and replacing files: gzip is detected by content, and a file is written completely or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from asr_rescore.errors import InputError
from asr_rescore.temporary import sweep, temporary_path

STDIN = Path("/dev/stdin")
STDOUT = Path("/dev/stdout")
STDERR = Path("/dev/stderr")
GZIP_MAGIC = b"\x1f\x8b"
# On lattices, level 6 takes three times as long as level 1 and saves a tenth of the size.
GZIP_LEVEL = 1
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What is there instead of a readable file.
FOUND = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EISDIR: "a directory",
    errno.EACCES: "a file that may not be read",
    errno.ENAMETOOLONG: "a name that is too long",
    errno.ELOOP: "a link to itself",
}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors put it before the first character of a UTF-8 file

# Budgets of one read. A small gzipped file can expand to any size, so memory must not grow with what it expands to.
LONGEST_LINE = 1 << 24  # bytes of a line of text: two million words
LARGEST_ENTRY = 1 << 28  # bytes of one lattice: ten million arcs
# A gzipped entry must not be more than EXPANSION times as large as its compressed bytes. Lattices and grammars expand
# to 2 to 20 times the size, zeros to 1000 times. READ_AHEAD compressed bytes may have been read before the entry began.
EXPANSION = 100
READ_AHEAD = 1 << 17

# Kaldi separates fields by ASCII blanks only; str.split() would also split words at no-break and other wide spaces.
_FIELD = re.compile(r"[^ \t\n\r\f\v]+")


def in_utf8(text: str) -> str:
    """The text with ``\\udcff`` and the like in place of what a path has that is not UTF-8 and cannot be written."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def absolute(path: Path) -> str:
    """The path from the root, without links but for its last part, which keeps the name that was given."""
    return str(path.parent.resolve() / path.name)


def fields(line: str) -> list[str]:
    """The fields of a line, which are separated by ASCII blanks, as in Kaldi."""
    if line.isprintable():  # the only blank that counts as printable is the space, and this is several times faster
        return line.split()
    return _FIELD.findall(line)


def open_binary(path: str | os.PathLike[str]) -> io.BufferedReader | gzip.GzipFile:
    """Open a plain or gzipped file for reading bytes; the content decides which of the two it is, not the name.

    Raises:
        InputError: the file cannot be opened.
    """
    path = Path(path)
    try:
        stream = path.open("rb")
        head = stream.peek(2)[:2]  # peek also works on a named pipe, which cannot seek
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        raise InputError(
            path, found=_what_is_there(error), expected="a readable file", remedy="check the path"
        ) from error
    return GzipReader(stream) if head == GZIP_MAGIC else stream


def _what_is_there(error: OSError | ValueError) -> str:
    """Why a file could not be opened, as what was found in its place."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return FOUND.get(error.errno) or f"an error of the system ({error.strerror})"


class _Counted:
    """A stream whose bytes are counted as they are read."""

    def __init__(self, stream: BinaryIO | io.BufferedReader):
        self.stream = stream
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self.stream.read(size)
        self.count += len(data)
        return data

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, /) -> int:
        raise io.UnsupportedOperation("a gzipped stream is read from its start to its end")


class GzipReader(gzip.GzipFile):
    """Reads a gzipped stream. Unlike a GzipFile, it closes the underlying stream and knows how far it has read it."""

    def __init__(self, stream: BinaryIO | io.BufferedReader):
        self._counted = _Counted(stream)
        super().__init__(fileobj=self._counted, mode="rb")

    @property
    def compressed(self) -> int:
        """The number of compressed bytes that have been read so far."""
        return self._counted.count

    def close(self) -> None:
        """Close this stream and the underlying one."""
        super().close()
        self._counted.stream.close()


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Read a plain or gzipped UTF-8 text file. A byte order mark at its beginning is left out.

    Yields:
        Line number, from 1, and the line without its end.

    Raises:
        InputError: the file cannot be opened or read to its end, a line is longer than ``LONGEST_LINE`` bytes, or the
            file is not UTF-8.
    """
    number = 0
    with open_binary(path) as stream:
        try:
            while raw := stream.readline(LONGEST_LINE + 1):
                number += 1
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                if len(raw) > LONGEST_LINE:
                    raise InputError(
                        f"{path}: line {number}",
                        found=f"more than {LONGEST_LINE} bytes without a line end",
                        expected="lines of text",
                        remedy="check the path, or break the line",
                    )
                yield number, raw.decode("utf-8").rstrip("\r\n")
        except (EOFError, OSError, zlib.error) as error:
            kind = "gzip stream" if isinstance(stream, gzip.GzipFile) else "file"
            raise InputError(
                f"{path}: line {number + 1}",
                found=f"a broken {kind} ({error})",
                expected="a complete file",
                remedy="copy or create the file again",
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: line {number}",
                found=f"bytes that are not UTF-8 ({error.reason})",
                expected="UTF-8 text",
                remedy="convert it with iconv",
            ) from error


@contextmanager
def atomic_binary(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write bytes to ``path``, gzipped if the name ends in .gz.

    The file is replaced when the block is left. If the block raises an exception, the old file stays as it is. A device
    or a pipe, such as /dev/stdout, is written to directly.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    path = Path(path)
    if is_device(path):
        with naming(path), _open_device(path) as device, _maybe_gzip(path, device) as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    unfinished = temporary_path(path)
    with naming(path, unfinished):
        try:
            with unfinished.open("xb") as raw:
                with _maybe_gzip(path, raw) as stream:
                    yield stream
                raw.flush()
                os.fsync(raw.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


@contextmanager
def _maybe_gzip(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        yield raw
        return
    # Neither name nor time in the header: the same content always gives the same bytes.
    with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as stream:
        yield stream  # type: ignore[misc]  # has all of BinaryIO's methods, unknown to typeshed


@contextmanager
def naming(path: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Let errors about writing name ``path``: those of a full disk have no name, others that of the temporary file.

    Args:
        path: what is written.
        unfinished: the file or directory that will replace it.
    """
    try:
        yield
    except OSError as error:
        full = error.filename is None and error.errno in OUT_OF_SPACE
        ours = unfinished is not None and error.filename in (str(unfinished), unfinished)
        if full or ours:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _open_device(path: Path) -> BinaryIO:
    """Open a device for writing. To open what a shell appends to (``>>``) by its name would empty it."""
    descriptor = {STDOUT: 1, STDERR: 2}.get(path)
    return path.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb")


@contextmanager
def rereadable(path: Path) -> Iterator[Path]:
    """Give a file that can be read several times: ``path``, or a copy of what comes from a pipe or from a device.

    Errors about the copy name ``path``.
    """
    if not is_device(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="asr_rescore-") as folder:
        copy = Path(folder) / path.name
        with open_binary(path) as stream, copy.open("wb") as whole:
            shutil.copyfileobj(stream, whole)
        try:
            yield copy
        except InputError as error:
            raise InputError(
                error.where.replace(str(copy), str(path)),
                found=error.found,
                expected=error.expected,
                remedy=error.remedy,
            ) from error


def is_device(path: Path) -> bool:
    """Whether ``path`` is a device, a pipe or a name of an open file: something that must never be replaced."""
    if str(path.parent) in ("/dev", "/dev/fd", "/proc/self/fd"):
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a name with a NUL
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def atomic_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Write UTF-8 text to ``path``, completely or not at all, as :func:`atomic_binary` does."""
    with atomic_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=False)
        yield text
        text.flush()
        text.detach()


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a new directory, which replaces ``path`` when the block is left.

    If the block raises an exception, the new directory is removed and ``path`` stays as it is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    fresh = temporary_path(path)
    with naming(path, fresh):
        fresh.mkdir()
        try:
            yield fresh
            _replace_directory(path, fresh)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def _replace_directory(path: Path, fresh: Path) -> None:
    """Move ``fresh`` to ``path``, in place of what is there and of what other processes put there meanwhile."""
    while not _moved(fresh, path):
        aside = temporary_path(path, "old")
        aside.mkdir()
        try:
            with suppress(FileNotFoundError):  # another process was faster
                path.replace(aside / path.name)
            if _moved(fresh, path):
                return
        except BaseException:
            if not path.exists():
                with suppress(FileNotFoundError):
                    (aside / path.name).replace(path)
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _moved(directory: Path, path: Path) -> bool:
    """Move a directory, unless something is in the way."""
    try:
        directory.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
