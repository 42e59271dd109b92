"""Opening and replacing files: gzip seen by its first bytes, and writes that either happen whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from asr_rescore.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
# Level 6 costs three times level 1 on lattices and saves a tenth; the zero time stamp keeps reruns byte-identical.
GZIP_LEVEL = 1


def open_binary(path: str | os.PathLike[str]) -> io.BufferedReader | gzip.GzipFile:
    """Open a plain or gzipped file for reading bytes; which of the two is told by its content, not its name."""
    path = Path(path)
    try:
        stream = path.open("rb")
        head = stream.peek(2)[:2]  # not read and sought back: a named pipe cannot
    except OSError as error:
        raise InputError(
            path, found=error.strerror or str(error), expected="a readable file", remedy="check the path"
        ) from error
    return _GzipReader(stream) if head == GZIP_MAGIC else stream


class _GzipReader(gzip.GzipFile):
    """Closes the file below it as well, which a GzipFile that was handed one leaves open."""

    def __init__(self, stream: BinaryIO):
        self._below = stream
        super().__init__(fileobj=stream, mode="rb")

    def close(self) -> None:
        super().close()
        self._below.close()


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a plain or gzipped UTF-8 text file."""
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
                remedy="copy or make the file again",
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
    """Write bytes to ``path`` (gzipped where it ends in .gz): all of them on leaving, or the old file stays."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as stream:
                    yield stream  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def atomic_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Write UTF-8 text to ``path`` with the promise of :func:`atomic_binary`."""
    with atomic_binary(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="\n", write_through=False)
        yield text
        text.flush()
        text.detach()


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a new directory beside ``path``; on leaving it takes the place of ``path``, on failure it vanishes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        fresh.chmod(0o755)
        yield fresh
        if not path.exists():
            fresh.replace(path)
            return
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
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
