"""Archives of vectors: the transition ids of an ``ali`` file, word ids, weights."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from kaldiio.matio import read_int32vector, read_matrix_or_vector, write_array

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_binary
from asr_rescore.kaldi.specifier import Source
from asr_rescore.kaldi.stream import BrokenArchive, Window, open_window
from asr_rescore.kaldi.table import check_key

_BINARY = b"\0B"
_SIZE = struct.Struct("<ci")  # Kaldi writes the bytes of an integer before it
_INT_ITEM = 5
_FLOAT_ITEM = {b"FV ": 4, b"DV ": 8}
_REMEDY = "write the archive again"


def read_vectors(source: str | os.PathLike[str], *, allow_pipes: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (key, vector) of an archive, binary or text (``key 1 2 3`` or ``key [ 1.5 2 ]``).

    Integers come as int32, others as float32 or float64. The source is an archive's path or an ``ark:`` rspecifier.

    Raises:
        InputError: an entry that is no vector, or is cut off, after all before it were yielded.
    """
    parsed = Source.parse(source)
    if parsed.is_list:
        raise InputError(parsed.name, found="an .scp", expected="an archive", remedy="give the archive it points into")
    with open_window(parsed.name, allow_pipes=allow_pipes) as window:
        while (key := window.next_key()) is not None:
            yield key, _binary(window) if window.peek(2) == _BINARY else _text(window)


def _binary(window: Window) -> np.ndarray:
    kind = window.peek(5)[2:]
    head = 2 if kind[:1] == b"\4" else 5
    item = _INT_ITEM if head == 2 else _FLOAT_ITEM.get(kind)
    if item is None:
        raise window.error(f"type {kind!r}", "a vector of int32, float or double", _REMEDY, BrokenArchive)
    marked = window.take(head + _SIZE.size)
    width, size = _SIZE.unpack(marked[head:])
    if width != b"\4" or size < 0:
        raise window.error(f"a vector of {size} numbers", "a plausible size", _REMEDY, BrokenArchive)
    entry = io.BytesIO(marked + window.take(item * size))
    try:
        return read_int32vector(entry) if head == 2 else read_matrix_or_vector(entry)
    except AssertionError as error:
        raise window.error("numbers of another width", "int32", _REMEDY, BrokenArchive) from error


def _text(window: Window) -> np.ndarray:
    line = window.line()
    if not line.endswith(b"\n") and window.broken is not None:
        raise window.cut_off()
    numbers = line.strip().removeprefix(b"[").removesuffix(b"]").split()
    try:
        if all(number.lstrip(b"-").isdigit() for number in numbers) and b"[" not in line:
            return np.array([int(number) for number in numbers], np.int32)
        return np.array([float(number) for number in numbers], np.float64)
    except (ValueError, OverflowError) as error:
        raise window.error(f"{line[:40]!r} ({error})", "numbers", _REMEDY) from error


def write_vectors(
    path: str | os.PathLike[str], entries: Iterable[tuple[str, Sequence[int] | np.ndarray]], *, text: bool = False
) -> None:
    """Write int32 vectors, gzipped where ``path`` ends in .gz; whole or not at all."""
    with atomic_binary(path) as stream:
        for key, values in entries:
            stream.write(f"{check_key(key)} ".encode())
            if text:
                stream.write("".join(f"{value} " for value in values).encode() + b"\n")
            else:
                entry = io.BytesIO()
                write_array(entry, np.asarray(values, np.int32))
                stream.write(entry.getvalue())
