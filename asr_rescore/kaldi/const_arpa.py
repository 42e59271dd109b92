"""G.carpa: Kaldi's const-arpa format, an n-gram model that is used from the disk without reading all of it."""

from __future__ import annotations

import gzip
import mmap
import struct
from bisect import bisect_left
from math import inf, isnan
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.files import open_binary
from asr_rescore.ngram import BackoffLm, Entry

CONST_ARPA_MARK = b"\0B<ConstArpaLm> "
OLD_MARK = b"\0B\4"  # sizes and costs one by one, each after its length; Kaldi has not written this since 2014
MOST_ORDER = 64  # words of an n-gram
_NO_WORD = -1
_STATE = 3  # numbers before a state's children: log probability, log back-off weight, number of children


class ConstArpa(BackoffLm):
    """An n-gram model in a G.carpa, which stays in the file until it is looked up.

    Costs are those of Kaldi's lattice-lmrescore-const-arpa. Words without a unigram cost as much as the unk symbol of
    the file, and the next word has no history. A history that no n-gram continues is forgotten, with its back-off
    weight.

    Raises:
        InputError: the file is cut off, or is none of this format. Lookups raise it too, because what they need is only
            checked then.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = _Sections(path)
        file = self._file
        file.skip(CONST_ARPA_MARK)
        file.skip(b"<LmInfo> ")
        bos, eos, self.unk, order = (file.number("<i") for _ in range(4))
        file.skip(b"</LmInfo> <LmStates> ")
        states = file.numbers(file.number("<q"), 4)
        self._numbers = states.cast("i")
        self._floats = states.cast("f")
        file.skip(b"</LmStates> <LmUnigram> ")
        self._unigrams = file.numbers(file.number("<i"), 8).cast("q")
        file.skip(b"</LmUnigram> <LmOverflow> ")
        self._far = file.numbers(file.number("<i"), 8).cast("q")
        file.skip(b"</LmOverflow> </ConstArpaLm> ")
        if not 1 <= order <= MOST_ORDER:
            raise file.error(f"n-grams of {order} words", f"1 to {MOST_ORDER}")
        for name, word in (("<s>", bos), ("</s>", eos), ("the unk symbol", self.unk)):
            if not 0 < word < len(self._unigrams) and (word, name) != (_NO_WORD, "the unk symbol"):
                raise file.error(f"id {word} for {name}", f"1 to {len(self._unigrams) - 1}")
        super().__init__(order, bos, eos)

    def has_word(self, word: int) -> bool:
        """Whether there is a unigram of the word."""
        return 0 <= word < len(self._unigrams) and self._unigrams[word] != 0

    def number(self, word: int) -> tuple[int, int] | None:
        """See :class:`BackoffLm`."""
        if self.has_word(word):
            return word, word
        return None if self.unk == _NO_WORD else (self.unk, word)

    def find(self, ngram: tuple[int, ...]) -> Entry | None:
        """See :class:`BackoffLm`."""
        if not self.has_word(ngram[0]):
            return None
        state = self._unigrams[ngram[0]] - 1  # 0 stands for none
        children = self._children(state)
        for depth, word in enumerate(ngram[1:], start=2):
            child = self._child(state, children, word)
            if child is None:
                return None
            info = self._numbers[child]
            if info % 2 == 0:  # the n-gram has no state: its log probability is here
                return self._entry(child, None, 0) if depth == len(ngram) else None
            state = self._target(state, info)
            children = self._children(state)
        return self._entry(state, state + 1, children)

    def _children(self, state: int) -> int:
        """The number of children of the state that begins at this place."""
        size = len(self._numbers)
        if not 0 <= state <= size - _STATE:
            raise self._file.error(f"a pointer to number {state} of {size}", "one within the section")
        children = self._numbers[state + 2]
        if not 0 <= children <= (size - state - _STATE) // 2:
            raise self._file.error(f"{children} n-grams that continue number {state} of {size}", "those in the section")
        return children

    def _child(self, state: int, children: int, word: int) -> int | None:
        """Where a state says what its child with this word is; None if it has no such child."""
        first = state + _STATE
        child = bisect_left(range(children), word, key=lambda place: self._numbers[first + 2 * place])
        if child == children or self._numbers[first + 2 * child] != word:
            return None
        return first + 2 * child + 1

    def _target(self, state: int, info: int) -> int:
        """Where a child's state begins. It always comes after that of its parent, so no lookup is endless."""
        if info > 1:
            return state + info // 2
        place = -info // 2 if info < 0 else 0
        if place >= len(self._far):
            raise self._file.error(f"far pointer {place} of {len(self._far)}", "one within the section")
        target = self._far[place] - 1
        if target <= state:
            raise self._file.error(f"a pointer from number {state} back to {target}", "a later one")
        return target

    def _entry(self, logprob: int, backoff: int | None, children: int) -> Entry:
        cost = -self._floats[logprob]
        weight = 0.0 if backoff is None else -self._floats[backoff]
        for value in (cost, weight):
            if isnan(value) or value == -inf:
                raise self._file.error("a probability or back-off weight that is not a number", "ln p")
        return Entry(cost, weight, children > 0)


class _Sections:
    """The sections of a file, one after the other, mapped into memory."""

    def __init__(self, path: Path):
        self.path = path
        self.at = 0
        with open_binary(path) as stream:
            if isinstance(stream, gzip.GzipFile):
                raise self.error(
                    "a gzipped file", "an uncompressed one, which need not be read as a whole", "gunzip it"
                )
            try:
                self.data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # ValueError: an empty file
                raise self.error(str(error), "a G.carpa") from error
        self.view = memoryview(self.data)

    def error(self, found: str, expected: str, remedy: str = "make it again with arpa-to-const-arpa") -> InputError:
        """An error about what is at the current place."""
        where = f"{self.path}: byte {self.at}" if self.at else self.path
        return InputError(where, found=found, expected=expected, remedy=remedy)

    def take(self, count: int) -> memoryview:
        """The next ``count`` bytes."""
        left = len(self.view) - self.at
        if not 0 <= count <= left:
            raise self.error(f"{left} bytes", f"{count} more", "copy or make the file again")
        self.at += count
        return self.view[self.at - count : self.at]

    def skip(self, text: bytes) -> None:
        """Consume a text that must be here."""
        found = bytes(self.view[self.at : self.at + len(text)])
        if found != text:
            raise self.error(repr(found), repr(text))
        self.at += len(text)

    def number(self, form: str) -> int:
        """A number, which comes after its length in one byte."""
        size = struct.calcsize(form)
        self.skip(bytes([size]))
        value: int = struct.unpack(form, self.take(size))[0]
        return value

    def numbers(self, count: int, size: int) -> memoryview:
        """The bytes of ``count`` numbers of ``size`` bytes each."""
        return self.take(count * size)
