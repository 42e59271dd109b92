"""N-best directories, archives.JOB/ in the layout of steps/rnnlmrescore.sh: each file has one line per hypothesis.

Keys are ``utt-k``, with k from 1. The lines of an utterance are contiguous in ``words`` and ``words_text``. The other
files are joined to them by key, so their lines may be in any order.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np

from asr_rescore.errors import InputError, RescoreError
from asr_rescore.files import atomic_directory, fields, read_lines
from asr_rescore.kaldi.symbols import SymbolTable
from asr_rescore.kaldi.table import check_key
from asr_rescore.nbest import ACOUSTIC, NBest

WORDS = "words"
WORDS_TEXT = "words_text"
ALIGNMENTS = "ali"
_GRAPH_PREFIX = "lmwt."
_PER_WORD = "lmwt.nn"  # a cost for each word and one for the sentence end
_REMEDY = "make the directory again"
_STRAY = "a key that no hypothesis has"

_Line = tuple[str, int, list[str]]  # utterance, k, fields


def read_nbest_dir(directory: str | os.PathLike[str], job: int, words: SymbolTable | None = None) -> Iterator[NBest]:
    """Yield the N-best lists in ``directory``/archives.JOB, with hypotheses ordered by k.

    The files ``acwt`` and ``lmwt.*`` become cost columns. A line of ``lmwt.nn`` may have a cost for each word; these
    are summed. Only one list is in memory if the lines of all files are in the same order.

    Args:
        directory: contains archives.1, archives.2, …
        job: which of them to read.
        words: converts the ids in ``words``; not needed if there is a ``words_text``.

    Raises:
        InputError: a file or key is missing, unexpected or repeated, or a cost is not a finite number.
    """
    folder = Path(directory) / f"archives.{job}"
    file = folder / WORDS_TEXT
    symbols = None
    if not file.exists():
        file = folder / WORDS
        symbols = words
        if not file.exists():
            raise InputError(
                folder, found="neither words_text nor words", expected="one of them", remedy="check the path"
            )
        if symbols is None:
            raise InputError(
                file, found="word ids", expected="a words.txt to convert them", remedy="give the lang directory"
            )
    columns = {
        column.name: _Column(column)
        for column in sorted(folder.iterdir())
        if column.name == ACOUSTIC or column.name.startswith(_GRAPH_PREFIX)
    }
    seen: set[str] = set()
    for utt, lines in groupby(_lines(file), key=lambda line: line[0]):
        if utt in seen:
            raise InputError(
                f"{file}: key {utt}",
                found="its lines in two places",
                expected="all lines of an utterance together",
                remedy=_REMEDY,
            )
        utt = sys.intern(utt)  # the tables of the data directory hold it too
        seen.add(utt)
        hypotheses = sorted(lines, key=lambda line: line[1])
        ks = np.array([k for _, k, _ in hypotheses])
        _check_distinct(file, utt, ks)
        keys = [f"{utt}-{k} " for k in ks.tolist()]
        costs = {name: column.take(utt, ks, keys) for name, column in columns.items()}
        yield NBest(utt, tuple(_words(file, line, symbols) for line in hypotheses), costs)
    for column in columns.values():
        column.check_finished(file, seen)


def _lines(file: Path) -> Iterator[_Line]:
    return (_parsed(file, number, line) for number, line in read_lines(file))


def _parsed(file: Path, number: int, line: str) -> _Line:
    parts = fields(line)
    utt, dash, k = parts[0].rpartition("-") if parts else ("", "", "")
    if not (utt and dash and k.isascii() and k.isdigit() and len(k) < 10 and int(k) > 0):
        raise InputError(
            f"{file}: line {number}",
            found=repr(line[:40]),
            expected="a key utt-k, with k from 1, at the beginning of the line",
            remedy=_REMEDY,
        )
    return utt, int(k), parts[1:]


def _words(file: Path, line: _Line, symbols: SymbolTable | None) -> tuple[str, ...]:
    utt, k, words = line
    if symbols is None:
        return tuple(words)
    try:
        return tuple(symbols.word(int(index)) for index in words)
    except ValueError as error:
        raise InputError(f"{file}: key {utt}-{k}", found=str(error), expected="word ids", remedy=_REMEDY) from error


def _check_distinct(file: Path, utt: str, ks: np.ndarray) -> None:
    repeated = np.flatnonzero(ks[1:] == ks[:-1])
    if repeated.size:
        raise InputError(
            f"{file}: key {utt}-{ks[repeated[0]]}", found="it twice", expected="each key once", remedy=_REMEDY
        )


class _Column:
    """A file of costs. It is read only as far as needed: the costs of other utterances wait until they are asked for.

    If its lines are in the order of the words, as this package and Kaldi write them, only one utterance is in memory.
    """

    def __init__(self, file: Path):
        self._file = file
        self._unread = read_lines(file)
        self._waiting: dict[str, list[_Line]] = {}

    def take(self, utt: str, ks: np.ndarray, keys: Sequence[str]) -> np.ndarray:
        """The costs of an utterance, which must be those of the hypotheses ``ks``, in ascending order.

        Args:
            utt: utterance id.
            ks: the numbers of its hypotheses.
            keys: what their lines begin with if they are written plainly, each with a space at its end.
        """
        if utt not in self._waiting:
            following = list(islice(self._unread, len(keys)))
            costs = _plain_costs(following, keys)
            if costs is not None:
                return costs
            for number, line in following:
                self._wait(_parsed(self._file, number, line))
        while len(self._waiting.get(utt, ())) < len(ks):
            unread = next(self._unread, None)
            if unread is None:
                break
            self._wait(_parsed(self._file, *unread))
        lines = sorted(self._waiting.pop(utt, []), key=lambda line: line[1])
        found = np.array([k for _, k, _ in lines], dtype=np.int64)
        _check_distinct(self._file, utt, found)
        if not np.array_equal(found, ks):
            missing = np.setdiff1d(ks, found)
            wrong = missing[0] if missing.size else np.setdiff1d(found, ks)[0]
            raise InputError(
                f"{self._file}: key {utt}-{wrong}",
                found="no such key" if missing.size else _STRAY,
                expected="a cost for each hypothesis",
                remedy=_REMEDY,
            )
        return _costs(self._file, lines)

    def check_finished(self, words_file: Path, taken: Container[str]) -> None:
        """Refuse costs that nobody has asked for, given the utterances whose costs were taken."""
        unread = next(self._unread, None)
        if unread is not None:
            self._wait(_parsed(self._file, *unread))
        left = [line for lines in self._waiting.values() for line in lines]
        if left:
            utt, k, _ = left[0]
            raise InputError(
                f"{self._file}: key {utt}-{k}",
                found=f"{_STRAY}, or a second cost" if utt in taken else "a cost",
                expected=f"only keys that are in {words_file.name}, each once",
                remedy=_REMEDY,
            )

    def _wait(self, line: _Line) -> None:
        self._waiting.setdefault(line[0], []).append(line)


def _plain_costs(lines: Sequence[tuple[int, str]], keys: Sequence[str]) -> np.ndarray | None:
    """The costs of lines that are just these keys and one finite number each; None if a line is anything else.

    Nearly all lines are, and this is twice as fast as to parse them.
    """
    if len(lines) != len(keys):
        return None
    try:
        costs = np.array(
            [float(line[len(key) :]) for (_, line), key in zip(lines, keys, strict=True) if line.startswith(key)]
        )
    except ValueError:
        return None
    return costs if len(costs) == len(keys) and np.isfinite(costs).all() else None


def _costs(file: Path, lines: Sequence[_Line]) -> np.ndarray:
    summed = file.name == _PER_WORD
    return np.array([_cost(file, utt, k, numbers, summed) for utt, k, numbers in lines], dtype=np.float64)


def _cost(file: Path, utt: str, k: int, numbers: list[str], summed: bool) -> float:
    try:
        if len(numbers) == 1:
            cost = float(numbers[0])
            if math.isfinite(cost):
                return cost
        elif summed and numbers:
            costs = [float(number) for number in numbers]
            if all(map(math.isfinite, costs)):
                return math.fsum(costs)
    except ValueError:
        pass
    expected = "finite costs" if summed else "one finite cost"
    raise InputError(f"{file}: key {utt}-{k}", found=repr(" ".join(numbers)[:40]), expected=expected, remedy=_REMEDY)


class NBestWriter:
    """Writes the files of one archives.JOB/, list by list. Costs keep all their digits.

    Use it as a context manager, in a directory that is replaced as a whole (``files.atomic_directory``). If all lists
    are available at once, :func:`write_nbest` is simpler.

    Args:
        folder: the directory archives.JOB itself; it is created if necessary.
        words: if given, ``words`` (ids) is written in addition to ``words_text``.
    """

    def __init__(self, folder: str | os.PathLike[str], words: SymbolTable | None = None):
        self._folder = Path(folder)
        self._words = words
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
        """Append one list. The key of hypothesis i (from 0) is ``utt-(i + 1)``.

        Args:
            nbest: the list. Its columns become files and must be the same in all lists.
            alignments: the transition ids of each hypothesis, for ``ali``.

        Raises:
            RescoreError: the columns differ from those of the lists before, the name of a column is not that of a file
                in an N-best directory, or the utterance id contains a blank.
            InputError: a word is not in words.txt.
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
    """Write N-best lists to ``directory``/archives.JOB, which appears only when it is complete.

    Args:
        directory: contains archives.1, archives.2, …
        job: which of them to write.
        entries: the lists.
        words: as for :class:`NBestWriter`, and so are the errors.
    """
    with atomic_directory(Path(directory) / f"archives.{job}") as folder, NBestWriter(folder, words) as writer:
        for nbest in entries:
            writer.write(nbest)
