"""Opening and replacing files: gzip is detected by content, and a file is written completely or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from asr_rescore.errors import InputError
from asr_rescore.temporary import sweep, temporary_path

GZIP_MAGIC = b"\x1f\x8b"
# On lattices, level 6 takes three times as long as level 1 and saves a tenth of the size.
GZIP_LEVEL = 1
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_binary(path: str | os.PathLike[str]) -> io.BufferedReader | gzip.GzipFile:
    """Open a plain or gzipped file for reading bytes; the content decides which of the two it is, not the name.

    Raises:
        InputError: the file cannot be opened.
    """
    path = Path(path)
    try:
        stream = path.open("rb")
        head = stream.peek(2)[:2]  # peek also works on a named pipe, which cannot seek
    except OSError as error:
        raise InputError(
            path, found=error.strerror or str(error), expected="a readable file", remedy="check the path"
        ) from error
    return _GzipReader(stream) if head == GZIP_MAGIC else stream


class _GzipReader(gzip.GzipFile):
    """Also closes the underlying file; a GzipFile leaves a file that it was given open."""

    def __init__(self, stream: BinaryIO):
        self._raw = stream
        super().__init__(fileobj=stream, mode="rb")

    def close(self) -> None:
        super().close()
        self._raw.close()


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Read a plain or gzipped UTF-8 text file.

    Yields:
        Line number, from 1, and the line without its end.

    Raises:
        InputError: the file cannot be opened, its gzip stream is broken, or it is not UTF-8.
    """
    number = 0
    with open_binary(path) as stream:
        try:
            for number, raw in enumerate(stream, 1):
                yield number, raw.decode("utf-8").rstrip("\r\n")
        except (EOFError, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path}: line {number + 1}",
                found=f"a broken gzip stream ({error})",
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
        with _naming(path), path.open("wb") as device, _maybe_gzip(path, device) as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    unfinished = temporary_path(path)
    with _naming(path, unfinished):
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
def _naming(path: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Let errors about writing name ``path``: those of a full disk have no name, others that of the temporary file."""
    try:
        yield
    except OSError as error:
        full = error.filename is None and error.errno in OUT_OF_SPACE
        ours = unfinished is not None and error.filename in (str(unfinished), unfinished)
        if full or ours:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def is_device(path: Path) -> bool:
    """Whether ``path`` is a device, a pipe or a name of an open file: something that must never be replaced."""
    if str(path.parent) in ("/dev", "/dev/fd", "/proc/self/fd"):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
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
    with _naming(path, fresh):
        fresh.mkdir()
        try:
            yield fresh
            if not path.exists():
                fresh.replace(path)
                return
            aside = temporary_path(path, "old")
            aside.mkdir()
            path.replace(aside / path.name)
            try:
                fresh.replace(path)
            except BaseException:
                (aside / path.name).replace(path)
                raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
