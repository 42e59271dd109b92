"""Lattice archives: whatever holds lattices in, one (key, Lattice) at a time out; and the way back."""

from __future__ import annotations

import os
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

OnError = Callable[[str, InputError], None]


def read_lattices(
    source: str | os.PathLike[str], *, allow_pipes: bool = False, on_error: OnError | None = None
) -> Iterator[tuple[str, Lattice]]:
    """Yield (utterance, lattice), holding one at a time.

    Binary or text, CompactLattice or Lattice, float or double, gzipped or not: each entry tells by itself.

    Args:
        source: an archive, an ``.scp``, a decode directory (its lat.JOB.gz in order), an rspecifier (``ark:…``,
            ``ark,t:…``, ``scp:…``), ``-`` or, with ``allow_pipes``, ``command |``.
        allow_pipes: run commands that ``source``, or a line of an .scp, names.
        on_error: told of each entry that cannot be had, with its key ("" where there is none), before reading goes
            on where it can: at the next entry if this one's end is known, else at the next file.

    Raises:
        InputError: with ``on_error`` None, the first such entry, after all before it were yielded.
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
                expected="one an utterance",
                remedy="remove one of them",
            )
            report(key, error)
        else:
            seen.add(key)
            yield key, entry


def _raise(key: str, error: InputError) -> None:
    raise error


_Entry = tuple[str, "Lattice | InputError"]


def _entries(source: str | os.PathLike[str], allow_pipes: bool) -> Iterator[_Entry]:
    try:
        if os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises for a command longer than a file name
            names, is_list = [str(path) for path in lattice_files(source)], False
        else:
            parsed = Source.parse(source)
            names, is_list = [parsed.name], parsed.is_list
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
            yield window.key, _object(window)
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
    """Consume the lattice behind a key. Kaldi tells the forms apart by one byte: a text lattice begins with a blank."""
    lead = window.peek(1)
    if lead == MAGIC[:1]:
        return read_binary(window)
    if lead and lead in BLANKS:
        return read_text(window)
    if not lead:
        raise window.cut_off()
    found = f"bytes {window.peek(8)!r}"
    if lead.isascii() and lead.decode().isprintable():
        error = window.error(found, "a line end, or a binary lattice", "check that it is an archive of lattices")
        skip_text(window)
        raise error
    raise window.error(found, "a lattice", "check that it is an archive of lattices", BrokenArchive)


def write_lattices(
    path: str | os.PathLike[str],
    entries: Iterable[tuple[str, Lattice]],
    *,
    text: bool = False,
    compact: bool = True,
    double: bool = False,
    scp: str | os.PathLike[str] | None = None,
) -> int:
    """Write an archive that Kaldi reads, gzipped where ``path`` ends in .gz; whole or not at all.

    Args:
        path: the archive.
        entries: (utterance, lattice), written as they come.
        text: the text form, with the six digits that Kaldi prints.
        compact: CompactLattice; else Lattice (state level), into which compact ones are expanded.
        double: costs as doubles (Kaldi's programs want floats).
        scp: also write ``key path:offset`` lines there.

    Returns:
        How many lattices were written.

    Raises:
        RescoreError: an utterance id that is empty or has blanks, or a cost that does not fit into a float.
    """
    path, offset, places = Path(path), 0, []
    if scp is not None and path.suffix == ".gz":
        raise UsageError(f"{path}: a gzipped archive has no offsets for an .scp; write it without .gz")
    with atomic_binary(path) as stream:
        for key, lattice in entries:
            head = f"{check_key(key)} ".encode()
            if text:
                body = ("\n" + "".join(encode_text(lattice, compact=compact))).encode()
            else:
                try:
                    body = encode_binary(lattice, compact=compact, double=double)
                except RescoreError as error:
                    raise RescoreError(f"{key}: {error}") from error
            places.append(f"{key} {path}:{offset + len(head)}\n")
            stream.write(head)
            stream.write(body)
            offset += len(head) + len(body)
    if scp is not None:
        with atomic_text(scp) as stream:
            stream.writelines(places)
    return len(places)
