"""Kaldi's line tables, ``key field field …``: text, utt2spk, spk2utt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_text, read_lines

# Kaldi separates fields by ASCII blanks; str.split() would also split words at the no-break and other wide spaces.
_FIELD = re.compile(r"[^ \t\n\r\f\v]+")


def fields(line: str) -> list[str]:
    """What stands between blanks and TABs."""
    return _FIELD.findall(line)


def check_key(key: str) -> str:
    """The key itself, if it can stand at the head of an entry.

    Raises:
        RescoreError: it is empty or holds a blank.
    """
    if not _FIELD.fullmatch(key):
        raise RescoreError(f"{key!r} cannot be an utterance id: expected no blanks, and not nothing")
    return key


def read_table(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Key → fields, in the file's order; a line with the key alone gives an empty list.

    Raises:
        InputError: no such file, a line that does not begin with a key, or a key that stands there twice.
    """
    table: dict[str, list[str]] = {}
    for number, line in read_lines(path):
        parts = fields(line)
        if not parts or line[0] in " \t":
            raise InputError(
                f"{path}: line {number}",
                found=repr(line[:40]),
                expected="a key at its beginning",
                remedy="each line is an utterance id, a blank, and the rest; remove empty lines",
            )
        if parts[0] in table:
            raise InputError(
                f"{path}: line {number}",
                found=f"key {parts[0]} again",
                expected="each key once",
                remedy="remove one of the lines",
            )
        table[parts[0]] = parts[1:]
    return table


def write_table(
    path: str | os.PathLike[str], table: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]]
) -> None:
    """Write ``key field field …`` lines, whole or not at all.

    Raises:
        RescoreError: a key or field that is empty or holds a blank.
    """
    with atomic_text(path) as stream:
        for key, values in table.items() if isinstance(table, Mapping) else table:
            for value in values:
                if not _FIELD.fullmatch(value):
                    raise RescoreError(f"{path}: key {key}: {value!r} cannot be a field: it is empty or holds a blank")
            stream.write(" ".join([check_key(key), *values]) + "\n")
