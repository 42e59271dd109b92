"""Kaldi's line tables, ``key field field …``: text, utt2spk, spk2utt."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_text, fields, read_lines


def check_key(key: str, what: str = "utterance id") -> str:
    """Return ``key`` if it can be a field of a line.

    Args:
        key: the text to check.
        what: names it in the error message.

    Raises:
        RescoreError: it is empty or contains a blank.
    """
    if fields(key) != [key]:
        raise RescoreError(f"{key!r} is not a valid {what}: it is empty or contains a blank")
    return key


def read_table(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read key → fields, in the file's order. A line with only a key gives an empty list.

    Raises:
        InputError: the file does not exist, a line does not begin with a key, or a key occurs twice.
    """
    table: dict[str, list[str]] = {}
    for number, line in read_lines(path):
        parts = fields(line)
        if not parts or line[0] in " \t":
            raise InputError(
                f"{path}: line {number}",
                found=repr(line[:40]),
                expected="a key at the beginning of the line",
                remedy="each line is an utterance id, a blank, and the rest; remove empty lines",
            )
        if parts[0] in table:
            raise InputError(
                f"{path}: line {number}",
                found=f"key {parts[0]} again",
                expected="each key once",
                remedy="remove one of the lines",
            )
        # Utterances occur in many tables, and words and speakers many times in a table: each is held once.
        key, *values = map(sys.intern, parts)
        table[key] = values
    return table


def write_table(
    path: str | os.PathLike[str], table: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]]
) -> None:
    """Write ``key field field …`` lines. The file appears only when it is complete.

    Raises:
        RescoreError: a key or field is empty or contains a blank.
    """
    with atomic_text(path) as stream:
        for key, values in table.items() if isinstance(table, Mapping) else table:
            line = " ".join([key, *values])
            if fields(line) != [key, *values]:  # faster than to check each of them
                for value in values:
                    check_key(value, f"field of key {key}")
                check_key(key, "key")
            stream.write(line + "\n")
