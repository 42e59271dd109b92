"""ARPA files: n-gram models as text."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore.errors import InputError, shown
from asr_rescore.kaldi.stream import CHUNK, Window, open_window
from asr_rescore.kaldi.symbols import SymbolTable
from asr_rescore.ngram import NgramLevel, NgramTable

MOST_ORDER = 64  # words of an n-gram
UNKNOWN_WORDS = ("<unk>", "<UNK>")  # what words that are not listed are read as; the first that the file has
NATS = math.log(10)  # in 1 of the file's base-10 logarithms
_REMEDY = "copy or make the file again"


def read_arpa(path: Path, symbols: SymbolTable) -> NgramTable:
    """Read an ARPA file, plain or gzipped.

    Args:
        path: the file.
        symbols: words.txt of the lattices; words are found in the file by their spelling.

    Raises:
        InputError: a line is no n-gram, an n-gram is there twice, the n-gram without its last word is missing, the
            numbers of n-grams are not those of the header, or the file is cut off.
    """
    with open_window(path, largest=None) as window:
        return _ArpaFile(path, window).read(symbols)


@dataclass(frozen=True)
class _Section:
    """The n-grams of one order as they stand in the file: word numbers, −ln p, −ln of the back-off weights."""

    words: array[int]
    costs: array[float]
    backoffs: array[float]


def _raw_lines(window: Window) -> Iterator[bytes]:
    """Lines that have an end, and a last one without it. Taking many at once is several times as fast."""
    while block := window.peek(CHUNK):
        whole = block.rfind(b"\n") + 1
        if whole:
            window.skip(whole)
            yield from block[: whole - 1].split(b"\n")
        else:
            last = window.line()
            if not window.broken:
                yield last


class _ArpaFile:
    def __init__(self, path: Path, window: Window):
        self.path = path
        self.line = 0
        self.lines = self._lines(window)
        self.next_name = b"\\data\\"  # of a section, without which the file is not complete
        self.numbers: dict[bytes, int] = {}  # of the words, in the order of their unigrams

    def read(self, symbols: SymbolTable) -> NgramTable:
        counts = self._header()
        levels: list[NgramLevel] = []
        for order, count in enumerate(counts, start=1):
            section = self._section(order, len(counts), count)
            levels.append(self._level(section, order, levels))
        numbers = {word.decode(): number for word, number in self.numbers.items()}
        for word in ("<s>", "</s>"):
            if word not in numbers:
                raise self._error(f"no unigram of {word}", "one", "give the ARPA file of the decoding graph")
        return NgramTable(
            levels,
            {index: numbers[word] for word, index in symbols.ids.items() if word in numbers},
            bos=numbers["<s>"],
            eos=numbers["</s>"],
            unk=next((numbers[word] for word in UNKNOWN_WORDS if word in numbers), None),
        )

    def _lines(self, window: Window) -> Iterator[bytes]:
        """Lines that are not empty, without blanks around them. ``line`` counts all."""
        for raw in _raw_lines(window):
            self.line += 1
            line = raw.strip()
            if line:
                yield line
        if window.broken is not None:
            raise window.cut_off()
        raise self._error("the end of the file", self.next_name.decode())

    def _error(self, found: str, expected: str, remedy: str = _REMEDY) -> InputError:
        return InputError(f"{self.path}: line {self.line}", found=found, expected=expected, remedy=remedy)

    def _header(self) -> list[int]:
        """The number of n-grams of each order. The next section's name has been read too."""
        for line in self.lines:
            if line == self.next_name:
                break
        self.next_name = b"\\1-grams:"
        counts: list[int] = []
        for line in self.lines:
            if line == self.next_name and counts:
                return counts
            order = len(counts) + 1
            name, _, count = line.partition(b"=")
            if name.split() != [b"ngram", b"%d" % order] or not (count.strip().isdigit() and len(count) < 20):
                raise self._error(_text(line), f"`ngram {order}=` and a number, or \\1-grams:")
            counts.append(int(count))
            if len(counts) > MOST_ORDER:
                raise self._error(f"n-grams of {len(counts)} words", f"at most {MOST_ORDER}")
        raise AssertionError("lines ends with an error")

    def _section(self, order: int, orders: int, count: int) -> _Section:
        """Read the n-grams of one order, and the line that ends them."""
        section = _Section(array("i"), array("d"), array("d"))
        self.next_name = b"\\%d-grams:" % (order + 1) if order < orders else b"\\end\\"
        for line in self.lines:
            if line == self.next_name:
                break
            parts = line.split()
            if len(parts) not in (order + 1, order + 2):
                expected = f"a logarithm, {order} words and perhaps a back-off weight, or {self.next_name.decode()}"
                raise self._error(_text(line), expected)
            words = parts[1 : order + 1]
            if order == 1:
                self._add_word(words[0])
            try:
                section.words.extend([self.numbers[word] for word in words])
            except KeyError as error:
                raise self._error(f"the word {_text(error.args[0])} without a unigram", "one unigram each") from error
            if len(section.costs) == count:
                raise self._error(f"more than {count} {order}-grams", f"{count}, as \\data\\ says")
            section.costs.append(self._cost(parts[0]))
            section.backoffs.append(self._cost(parts[-1]) if len(parts) == order + 2 else 0.0)
        if len(section.costs) < count:
            raise self._error(f"{len(section.costs)} {order}-grams", f"{count}, as \\data\\ says")
        return section

    def _add_word(self, word: bytes) -> None:
        try:
            word.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._error("bytes that are not UTF-8", "UTF-8 text", "convert it with iconv") from error
        self.numbers.setdefault(word, len(self.numbers))

    def _cost(self, text: bytes) -> float:
        try:
            cost = -NATS * float(text)
        except ValueError:
            cost = math.nan
        if math.isnan(cost) or cost == -math.inf:
            raise self._error(_text(text), "a logarithm of base 10")
        return cost

    def _level(self, section: _Section, order: int, below: list[NgramLevel]) -> NgramLevel:
        """The n-grams in the order of their keys. Those below that are continued become histories."""
        words = np.frombuffer(section.words, dtype=np.int32).reshape(-1, order).T
        parents = np.zeros(len(section.costs), dtype=np.int64)
        for level, column in zip(below, words, strict=False):
            keys = parents * len(self.numbers) + column
            parents = np.searchsorted(level.keys, keys)
            found = parents < len(level.keys)
            found[found] = level.keys[parents[found]] == keys[found]
            if not found.all():
                ngram = self._ngram(words[:, np.flatnonzero(~found)[0]])
                raise self._error(f"the n-gram {ngram} but not the one without its last word", "both")
        keys = parents * len(self.numbers) + words[-1]
        ascending = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(np.diff(keys[ascending]) == 0)
        if twice.size:
            raise self._error(f"the n-gram {self._ngram(words[:, ascending[twice[0]]])} twice", "each n-gram once")
        if below:
            below[-1].is_history[parents] = True
        backoffs = np.array(section.backoffs)[ascending]
        return NgramLevel(keys[ascending], np.array(section.costs)[ascending], backoffs, backoffs != 0)

    def _ngram(self, words: np.ndarray) -> str:
        names = list(self.numbers)
        return _text(b" ".join(names[word] for word in words.tolist()))


def _text(found: bytes) -> str:
    return shown(found.decode("utf-8", errors="backslashreplace"))
