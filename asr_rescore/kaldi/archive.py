"""Lattice archives: read (key, Lattice) pairs one at a time from any source that Kaldi can name, and write them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.files import atomic_binary, atomic_text
from asr_rescore.kaldi.directories import lattice_files
from asr_rescore.kaldi.fst import MAGIC
from asr_rescore.kaldi.lattice_binary import encode_binary, read_binary
from asr_rescore.kaldi.lattice_text import encode_text, read_text, skip_text
from asr_rescore.kaldi.specifier import Source, read_scp
from asr_rescore.kaldi.stream import BLANKS, BrokenArchive, Window, open_window
from asr_rescore.kaldi.table import check_key
from asr_rescore.lattice import Lattice

OnError = Callable[[str, InputError], None]  # called with the key, and with what is wrong with the entry
OnWriteError = Callable[[str, RescoreError], None]


def read_lattices(
    source: str | os.PathLike[str], *, allow_pipes: bool = False, on_error: OnError | None = None
) -> Iterator[tuple[str, Lattice]]:
    """Yield (utterance, lattice) pairs. Only one lattice is in memory at a time.

    Each entry may be binary or text, a CompactLattice or a Lattice, with floats or doubles; the form is recognised
    from the data. Files may be gzipped.

    Args:
        source: an archive, an ``.scp``, a decode directory (its lat.JOB.gz in order), an rspecifier (``ark:…``,
            ``ark,t:…``, ``scp:…``), ``-`` or, with ``allow_pipes``, ``command |``. A Path is always a file or a
            directory of exactly this name.
        allow_pipes: run the commands that are named by ``source`` or by lines of an .scp.
        on_error: called with the key ("" if unknown) and the error of each entry that cannot be read. Reading then
            continues with the next entry if its start is known, else with the next file.

    Raises:
        InputError: an entry cannot be read and ``on_error`` is None. All entries before it have been yielded.
    """
    report = _raise if on_error is None else on_error
    seen: set[str] = set()
    for key, entry in _entries(source, allow_pipes):
        if isinstance(entry, InputError):
            report(key, entry)
        elif key in seen:
            error = InputError(
                f"{source}: key {key}",
                found="a second lattice",
                expected="one per utterance",
                remedy="remove one of them",
            )
            report(key, error)
        else:
            key = sys.intern(key)  # the tables of the data directory hold it too
            seen.add(key)
            yield key, entry


def _raise(key: str, error: InputError) -> None:
    raise error


_Entry = tuple[str, "Lattice | InputError"]


def _entries(source: str | os.PathLike[str], allow_pipes: bool) -> Iterator[_Entry]:
    try:
        if os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises for a command longer than a file name
            names: list[str | Path] = [*lattice_files(source)]
            is_list = False
        else:
            parsed = Source.parse(source)
            names = [parsed.rxfilename]
            is_list = parsed.is_list
    except InputError as error:
        yield "", error
        return
    for name in names:
        try:
            with open_window(name, allow_pipes=allow_pipes) as window:
                yield from _listed(window, allow_pipes) if is_list else _archived(window)
        except InputError as error:
            yield "", error


def _archived(window: Window) -> Iterator[_Entry]:
    while True:
        try:
            if window.next_key() is None:
                return
            entry = _object(window)
            yield window.key, window.key_error or entry
        except BrokenArchive as error:
            yield window.key, error
            return
        except InputError as error:
            yield window.key, error


def _listed(scp: Window, allow_pipes: bool) -> Iterator[_Entry]:
    for key, place in read_scp(scp):
        if isinstance(place, InputError):
            yield key, place
            continue
        try:
            with open_window(place, allow_pipes=allow_pipes) as window:
                window.key = key
                entry = _object(window)
        except InputError as error:
            yield key, error
        else:
            yield key, entry


def _object(window: Window) -> Lattice:
    """Consume the lattice after a key. As in Kaldi, its first byte tells the form: text begins with a blank."""
    lead = window.peek(1)
    if lead == MAGIC[:1]:
        return read_binary(window)
    if lead and lead in BLANKS:
        return read_text(window)
    if not lead:
        raise window.cut_off()
    found = f"bytes {window.peek(8)!r}"
    remedy = "check that it is an archive of lattices"
    if lead.isascii() and lead.decode().isprintable():
        error = window.error(found, "a line end, or a binary lattice", remedy)
        skip_text(window)
        raise error
    raise window.error(found, "a lattice", remedy, BrokenArchive)


def write_lattices(
    path: str | os.PathLike[str],
    entries: Iterable[tuple[str, Lattice]],
    *,
    text: bool = False,
    compact: bool = True,
    double: bool = False,
    scp: str | os.PathLike[str] | None = None,
    on_error: OnWriteError | None = None,
) -> int:
    """Write an archive that Kaldi can read. The file appears only when it is complete.

    Args:
        path: the archive; gzipped if the name ends in .gz.
        entries: (utterance, lattice) pairs, written in this order.
        text: write text, with the six digits that Kaldi prints.
        compact: write CompactLattices; if False, Lattices (state level), into which compact ones are expanded.
        double: write costs as doubles (Kaldi's programs expect floats).
        scp: also write ``key path:offset`` lines to this file.
        on_error: called with the key and the error of each lattice that cannot be written; the others are written.

    Returns:
        The number of lattices written.

    Raises:
        RescoreError: an utterance id is empty or contains a blank, or a cost does not fit into a float, and
            ``on_error`` is None. No file is written then.
        UsageError: ``scp`` is given for a gzipped archive.
    """
    path = Path(path)
    if scp is not None and path.suffix == ".gz":
        raise UsageError(f"{path}: a gzipped archive has no offsets for an .scp; write it without .gz")
    offset = 0
    written = 0
    places = []
    with atomic_binary(path) as stream:
        for key, lattice in entries:
            try:
                head = f"{check_key(key)} ".encode()
                body = _encoded(key, lattice, text, compact, double)
            except RescoreError as error:
                if on_error is None:
                    raise
                on_error(key, error)
                continue
            if scp is not None:
                places.append(f"{key} {path}:{offset + len(head)}\n")
            written += 1
            stream.write(head)
            stream.write(body)
            offset += len(head) + len(body)
    if scp is not None:
        with atomic_text(scp) as stream:
            stream.writelines(places)
    return written


def _encoded(key: str, lattice: Lattice, text: bool, compact: bool, double: bool) -> bytes:
    """What follows the key and its blank."""
    if text:
        return ("\n" + "".join(encode_text(lattice, compact=compact))).encode()
    try:
        return encode_binary(lattice, compact=compact, double=double)
    except RescoreError as error:
        raise RescoreError(f"{key}: {error}") from error
