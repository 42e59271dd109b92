"""N-best directories, archives.JOB/ as steps/rnnlmrescore.sh lays them out: one line a hypothesis in each file.

Keys are ``utt-k``, k from 1; an utterance's lines are contiguous in ``words`` and ``words_text``. Every other file is
joined to them by key, in whatever order its lines come.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_directory, read_lines
from asr_rescore.kaldi.symbols import SymbolTable
from asr_rescore.kaldi.table import check_key, fields
from asr_rescore.nbest import ACOUSTIC, NBest

WORDS, WORDS_TEXT, ALIGNMENTS = "words", "words_text", "ali"
_GRAPH_PREFIX = "lmwt."
_PER_WORD = "lmwt.nn"  # a cost for each word and the sentence end
_REMEDY = "make the directory again"

_Line = tuple[str, int, list[str]]  # utterance, k, fields
_Column = dict[str, tuple[np.ndarray, np.ndarray]]  # utterance → (ascending k, costs)


def read_nbest_dir(directory: str | os.PathLike[str], job: int, words: SymbolTable | None = None) -> Iterator[NBest]:
    """Yield the N-best lists of ``directory``/archives.``job``, hypotheses by ascending k.

    Columns are the files ``acwt`` and ``lmwt.*``; in ``lmwt.nn`` a line may hold one cost a word, which are summed.

    Args:
        directory: holds archives.1, archives.2, …
        job: which of them.
        words: what the ids in ``words`` stand for; not needed where there is a ``words_text``.

    Raises:
        InputError: a file or key that is missing, superfluous or there twice, or a cost that is no finite number.
    """
    folder = Path(directory) / f"archives.{job}"
    file = folder / WORDS_TEXT
    if not file.exists():
        file = folder / WORDS
        if not file.exists():
            raise InputError(
                folder, found="neither words_text nor words", expected="one of them", remedy="check the path"
            )
        if words is None:
            raise InputError(
                file, found="words as ids", expected="a words.txt to read them by", remedy="name the lang directory"
            )
    spell = _spelling(words if file.name == WORDS else None)
    columns = {
        column.name: _read_column(column, summed=column.name == _PER_WORD)
        for column in sorted(folder.iterdir())
        if column.name == ACOUSTIC or column.name.startswith(_GRAPH_PREFIX)
    }
    seen: set[str] = set()
    for utt, lines in groupby(_lines(file), key=lambda line: line[0]):
        if utt in seen:
            raise InputError(
                f"{file}: key {utt}", found="it again, further on", expected="its lines together", remedy=_REMEDY
            )
        seen.add(utt)
        hypotheses = sorted(lines, key=lambda line: line[1])
        ks = np.array([k for _, k, _ in hypotheses])
        _check_distinct(file, utt, ks)
        costs = {name: _take(column, folder / name, utt, ks) for name, column in columns.items()}
        yield NBest(utt, tuple(spell(file, line) for line in hypotheses), costs)
    for name, column in columns.items():
        for utt, (ks, _) in column.items():
            raise InputError(
                f"{folder / name}: key {utt}-{ks[0]}",
                found="a cost",
                expected=f"no key that is not in {file.name}",
                remedy=_REMEDY,
            )


def _lines(file: Path) -> Iterator[_Line]:
    for number, line in read_lines(file):
        parts = fields(line)
        utt, dash, k = parts[0].rpartition("-") if parts else ("", "", "")
        if not (utt and dash and k.isascii() and k.isdigit() and len(k) < 10 and int(k) > 0):
            raise InputError(
                f"{file}: line {number}",
                found=repr(line[:40]),
                expected="a key utt-k, k from 1, at its beginning",
                remedy=_REMEDY,
            )
        yield utt, int(k), parts[1:]


def _spelling(words: SymbolTable | None) -> Callable[[Path, _Line], tuple[str, ...]]:
    def as_written(file: Path, line: _Line) -> tuple[str, ...]:
        return tuple(line[2])

    def by_id(file: Path, line: _Line) -> tuple[str, ...]:
        try:
            return tuple(words.word(int(index)) for index in line[2])
        except ValueError as error:
            raise InputError(
                f"{file}: key {line[0]}-{line[1]}", found=str(error), expected="word ids", remedy=_REMEDY
            ) from error

    return as_written if words is None else by_id


def _check_distinct(file: Path, utt: str, ks: np.ndarray) -> None:
    twice = np.flatnonzero(ks[1:] == ks[:-1])
    if twice.size:
        raise InputError(
            f"{file}: key {utt}-{ks[twice[0]]}", found="it twice", expected="each key once", remedy=_REMEDY
        )


def _read_column(file: Path, *, summed: bool) -> _Column:
    found: dict[str, tuple[list[int], list[float]]] = {}
    for utt, k, numbers in _lines(file):
        ks, costs = found.setdefault(utt, ([], []))
        ks.append(k)
        costs.append(_cost(file, f"{utt}-{k}", numbers, summed))
    column = {}
    for utt, (ks, costs) in found.items():
        order = np.argsort(ks)
        column[utt] = np.array(ks)[order], np.array(costs)[order]
        _check_distinct(file, utt, column[utt][0])
    return column


def _cost(file: Path, key: str, numbers: list[str], summed: bool) -> float:
    try:
        costs = [float(number) for number in numbers]
    except ValueError:
        costs = [math.nan]
    if not costs or (len(costs) > 1 and not summed) or not all(map(math.isfinite, costs)):
        expected = "finite costs" if summed else "one finite cost"
        raise InputError(f"{file}: key {key}", found=repr(" ".join(numbers)[:40]), expected=expected, remedy=_REMEDY)
    return math.fsum(costs)


def _take(column: _Column, file: Path, utt: str, ks: np.ndarray) -> np.ndarray:
    """The costs of an utterance's hypotheses, taken out of the column."""
    there, costs = column.pop(utt, (np.empty(0, np.int64), np.empty(0)))
    missing, extra = np.setdiff1d(ks, there), np.setdiff1d(there, ks)
    for k, found in [(k, "no such key") for k in missing[:1]] + [
        (k, "a key that no hypothesis has") for k in extra[:1]
    ]:
        raise InputError(f"{file}: key {utt}-{k}", found=found, expected="a cost for each hypothesis", remedy=_REMEDY)
    return costs


class NBestWriter:
    """Writes the files of one archives.JOB/, list by list; costs keep all their digits.

    Use it as a context manager, in a directory that is replaced as a whole (``files.atomic_directory``); for lists
    that are all at hand there is :func:`write_nbest`.

    Args:
        folder: the directory archives.JOB itself; made if need be.
        words: with it, ``words`` (ids) is written beside ``words_text``.
    """

    def __init__(self, folder: str | os.PathLike[str], words: SymbolTable | None = None):
        self._folder, self._words = Path(folder), words
        self._open = ExitStack()
        self._files: dict[str, TextIO] = {}
        self._columns: tuple[str, ...] | None = None

    def __enter__(self) -> NBestWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file(WORDS_TEXT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _file(self, name: str) -> TextIO:
        if name not in self._files:
            stream = (self._folder / name).open("w", encoding="utf-8", newline="\n")
            self._files[name] = self._open.enter_context(stream)
        return self._files[name]

    def write(self, nbest: NBest, alignments: Sequence[Sequence[int]] | None = None) -> None:
        """Append one list; hypothesis i gets the key ``utt-(i + 1)``.

        Args:
            nbest: the list; its columns become files and must be the same in all lists.
            alignments: transition ids of each hypothesis, for ``ali``.

        Raises:
            RescoreError: other columns than in the lists before, a column that is not named as a file of N-best
                directories is, or an utterance id with a blank.
            InputError: a word that words.txt does not have.
        """
        columns = tuple(sorted(nbest.costs))
        if self._columns is None:
            self._columns = columns
            for name in columns:
                if name != ACOUSTIC and not name.startswith(_GRAPH_PREFIX):
                    raise RescoreError(f"{nbest.utt}: column {name!r}, expected {ACOUSTIC} or {_GRAPH_PREFIX}…")
        elif columns != self._columns:
            raise RescoreError(f"{nbest.utt}: columns {columns}, expected {self._columns} as in the lists before")
        utt = check_key(nbest.utt)
        self._append(WORDS_TEXT, utt, nbest.words)
        if self._words is not None:
            self._append(WORDS, utt, [[self._words.id(word) for word in words] for words in nbest.words])
        if alignments is not None:
            self._append(ALIGNMENTS, utt, alignments)
        for name, column in nbest.costs.items():
            self._append(name, utt, [(repr(cost),) for cost in column.tolist()])

    def _append(self, name: str, utt: str, rows: Sequence[Sequence[object]]) -> None:
        lines = (" ".join([f"{utt}-{k}", *map(str, row)]) + "\n" for k, row in enumerate(rows, 1))
        self._file(name).writelines(lines)


def write_nbest(
    directory: str | os.PathLike[str], job: int, entries: Iterable[NBest], words: SymbolTable | None = None
) -> None:
    """Write ``directory``/archives.``job``, whole or not at all; arguments and errors as :class:`NBestWriter`'s."""
    with atomic_directory(Path(directory) / f"archives.{job}") as folder, NBestWriter(folder, words) as writer:
        for nbest in entries:
            writer.write(nbest)
