"""The alignment of two word networks at sclite's costs: the path of each, and what of them corresponds."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from asr_rescore.sclite.network import NOTHING, START, ScliteConfig, WordNetwork
from asr_rescore.word_alignment import SCLITE, align
from asr_rescore.word_errors import ErrorCount

# sclite's costs, in thousandths.
UNIT = 1000
GAP = SCLITE.gap * UNIT
SUBSTITUTION = SCLITE.substitution * UNIT
DELETABLE = 2 * UNIT
OF_NOTHING = 1  # @ for no word
NOTHING_TWICE = 1 * UNIT  # @ for @
ALL_ROWS = 1 << 20  # cells; a smaller table is kept as a whole

TAGS = re.compile(r"(?<!\\);.*")

Operation = Literal["correct", "substitution", "insertion", "deletion"]


@dataclass(frozen=True)
class AlignedWord:
    """A place of an alignment.

    Attributes:
        operation: an optional word that is missing is correct.
        reference, hypothesis: the words as they were written; None where there is none.
    """

    operation: Operation
    reference: str | None
    hypothesis: str | None


def align_networks(
    reference: WordNetwork, hypothesis: WordNetwork, config: ScliteConfig | None = None
) -> list[AlignedWord]:
    """The cheapest alignment of a path of the reference with a path of the hypothesis.

    Insertions and deletions cost 3, those of optional words 2, and substitutions 4. Of equally cheap steps, the one
    that sclite prefers is taken. Memory grows with the words of one side and the square root of the other's, unless
    a single alternation holds most of the words.

    Args:
        reference, hypothesis: the networks, in the case in which they are compared.
        config: what the marks in the words mean; by default none has a meaning.
    """
    said = _Arcs(reference, config or ScliteConfig())
    heard = _Arcs(hypothesis, config or ScliteConfig())
    if said.plain and heard.plain:
        return [_plain(*pair) for pair in align(said.spellings, heard.spellings, SCLITE)]
    return list(_Table(said, heard).best())[::-1]


def count_errors(alignment: Sequence[AlignedWord]) -> ErrorCount:
    """The errors of an aligned utterance. Its reference words are those that are correct, substituted or deleted."""
    insertions = sum(word.operation == "insertion" for word in alignment)
    deletions = sum(word.operation == "deletion" for word in alignment)
    substitutions = sum(word.operation == "substitution" for word in alignment)
    wrong = insertions + deletions + substitutions > 0
    return ErrorCount(insertions, deletions, substitutions, len(alignment) - insertions, 1, int(wrong))


def _plain(said: str | None, heard: str | None) -> AlignedWord:
    if said is None:
        return AlignedWord("insertion", None, heard)
    if heard is None:
        return AlignedWord("deletion", said, None)
    return AlignedWord("correct" if said == heard else "substitution", said, heard)


class _Arcs:
    """A network, with what its words mean."""

    def __init__(self, network: WordNetwork, config: ScliteConfig):
        self.network = network
        self.words = [_bare(word) for word in network.words]
        optional = [config.deletable and word[0] == "(" and word[-1] == ")" for word in self.words]
        self.optional = optional
        self.spellings = [word[1:-1] if inner else word for word, inner in zip(self.words, optional, strict=True)]
        self.fragment = [
            config.fragments and ("-" in (word[0], word[-1]) or (inner and word[-2:-1] == "-"))
            for word, inner in zip(self.words, optional, strict=True)
        ]
        self.nothing = np.array([word == NOTHING for word in self.words], dtype=bool)
        self.gaps = np.full(len(self.words), GAP, dtype=np.int64)
        self.gaps[np.array(optional, dtype=bool)] = DELETABLE
        self.gaps[self.nothing] = OF_NOTHING

    @property
    def plain(self) -> bool:
        """Whether the alignment of words is all that is needed."""
        return self.network.linear and not (any(self.optional) or any(self.fragment) or self.nothing.any())

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Ranges of arcs (begin, end) of which each but the first has only the arc before it as its predecessor."""
        begins = [arc for arc, before in enumerate(self.network.before) if not arc or before != (arc - 1,)]
        return list(itertools.pairwise([*begins, len(self.words)]))


def _bare(word: str) -> str:
    """A word without tags, ``word;tag;tag``, and without the star of a mispronounced word."""
    bare = TAGS.sub("", word).replace("\\;", ";") or word if ";" in word else word
    return bare[:-1] if len(bare) > 1 and bare[-1] == "*" else bare


def matches(first: str, second: str, fragment: bool = False) -> bool:
    """Whether two words are equal, or one is a fragment, ``fra-`` or ``-ment``, of the other."""
    if not fragment:
        return first == second
    for part, whole in ((first, second), (second, first)):
        if len(part) > 1 and part[0] == "-":
            return whole.endswith(part[1:])
        if len(part) > 1 and part[-1] == "-":
            return whole.startswith(part[:-1])
    return first == second


class _Table:
    """The cost of the cheapest alignment that ends with an arc of the reference and one of the hypothesis.

    A row belongs to an arc of the reference; its first cell to the start of the hypothesis, and the others to its arcs.
    """

    def __init__(self, said: _Arcs, heard: _Arcs):
        self.said = said
        self.heard = heard
        self.totals = np.concatenate([[0], np.cumsum(heard.gaps)])
        self.compared: dict[tuple[str, bool], np.ndarray] = {}
        self.places: dict[str, list[int]] = {}
        for place, spelling in enumerate(heard.spellings):
            self.places.setdefault(spelling, []).append(place)
        self.fragments = {heard.spellings[place] for place, fragment in enumerate(heard.fragment) if fragment}
        self.starts = self._block_starts()
        self.kept: dict[int, np.ndarray] = {START: self._start_row()}
        self.block: dict[int, np.ndarray] = {}
        self.number = -1
        for number in range(len(self.starts)):
            self._compute(number)

    def _block_starts(self) -> list[int]:
        """First arcs of blocks of the reference: all paths pass the arc before each of them."""
        before = self.said.network.before
        arcs = len(before)
        height = 1 if not arcs else math.isqrt(arcs) + 1
        if arcs * (len(self.heard.words) + 1) <= ALL_ROWS:
            height = arcs
        lowest = np.array([min(arcs_before) for arcs_before in (*before, self.said.network.last)], dtype=np.int64)
        earliest = np.minimum.accumulate(lowest[::-1])[::-1]  # predecessor of this arc or of a later one
        starts = [0] if arcs else []
        for arc in range(1, arcs):
            if arc - starts[-1] >= height and earliest[arc] >= arc - 1:
                starts.append(arc)
        return starts

    def _compute(self, number: int) -> None:
        """Compute one block of rows, and keep its last row, with which the next block begins."""
        begin = self.starts[number]
        end = self.starts[number + 1] if number + 1 < len(self.starts) else len(self.said.words)
        self.block = {begin - 1: self.kept[begin - 1]}
        for arc in range(begin, end):
            self.block[arc] = self._row(arc)
        self.kept[end - 1] = self.block[end - 1]
        self.number = number

    def row(self, arc: int) -> np.ndarray:
        """The costs up to an arc of the reference, int64 (hypothesis arcs + 1,). Rows are read from the last one on."""
        if arc in self.kept:
            return self.kept[arc]
        while not self.starts[self.number] <= arc:
            self._compute(self.number - 1)
        return self.block[arc]

    def _start_row(self) -> np.ndarray:
        row = np.full(len(self.heard.words) + 1, np.iinfo(np.int64).max // 2, dtype=np.int64)
        row[0] = 0
        return self._with_insertions(row)

    def _row(self, arc: int) -> np.ndarray:
        before = self.said.network.before[arc]
        above = self.block[before[0]]
        for other in before[1:]:
            above = np.minimum(above, self.block[other])
        row = above + self.said.gaps[arc]  # deletions
        np.minimum(row[1:], self._left_of(above) + self._substitutions(arc), out=row[1:])
        return self._with_insertions(row)

    def _left_of(self, row: np.ndarray) -> np.ndarray:
        """For each arc of the hypothesis, the lowest cost in the cells of the arcs before it."""
        left: np.ndarray = row[:-1].copy()
        for begin, _ in self.heard.runs:
            left[begin] = min(row[arc + 1] for arc in self.heard.network.before[begin])
        return left

    def _with_insertions(self, row: np.ndarray) -> np.ndarray:
        """Let costs go on along the hypothesis; in ``row`` itself."""
        for begin, end in self.heard.runs:
            before = min(row[arc + 1] for arc in self.heard.network.before[begin])
            run = row[begin + 1 : end + 1]
            run[0] = min(run[0], before + self.heard.gaps[begin])
            run -= self.totals[begin + 1 : end + 1]
            np.minimum.accumulate(run, out=run)  # a running minimum in which each step costs one insertion
            run += self.totals[begin + 1 : end + 1]
        return row

    def _substitutions(self, arc: int) -> np.ndarray:
        """The cost of each word of the hypothesis in place of that of an arc."""
        key = (self.said.spellings[arc], self.said.fragment[arc])
        found = self.compared.get(key)
        if found is None:
            found = self._compare(*key)
            if len(self.compared) * len(found) < ALL_ROWS:
                self.compared[key] = found
        return found

    def _compare(self, spelling: str, fragment: bool) -> np.ndarray:
        costs = np.full(len(self.heard.words), SUBSTITUTION, dtype=np.int64)
        candidates = self.places if fragment else self.fragments | {spelling}
        for other in candidates:
            for place in self.places.get(other, ()):
                if matches(spelling, other, fragment or self.heard.fragment[place]):
                    costs[place] = 0
        if spelling == NOTHING:
            costs[self.heard.nothing] = NOTHING_TWICE
        return costs

    def best(self) -> Iterator[AlignedWord]:
        """The aligned words, from the last one to the first."""
        heard_last = self.heard.network.last
        said, heard = self._cheapest(self.said.network.last, heard_last)
        while (said, heard) != (START, START):
            before_said = self.said.network.before[said] if said != START else (START,)
            before_heard = self.heard.network.before[heard] if heard != START else (START,)
            cost = self._cost(said, heard)
            diagonal = self._cheapest(before_said, before_heard)
            inserted = self._cheapest((said,), before_heard)
            both = START not in (said, heard)
            if both and self._cost(*diagonal) + self._substitutions(said)[heard] == cost:
                yield from self._pair(said, heard)
                said, heard = diagonal
            elif heard != START and self._cost(*inserted) + self.heard.gaps[heard] == cost:
                yield from self._alone(self.heard, heard, "insertion")
                said, heard = inserted
            else:
                yield from self._alone(self.said, said, "deletion")
                said, heard = self._cheapest(before_said, (heard,))

    def _cost(self, said: int, heard: int) -> int:
        return int(self.row(said)[heard + 1])

    def _cheapest(self, said: Sequence[int], heard: Sequence[int]) -> tuple[int, int]:
        """The cheapest pair of arcs, the first of several."""
        return min(((a, b) for a in said for b in heard), key=lambda pair: self._cost(*pair))

    def _pair(self, said: int, heard: int) -> Iterator[AlignedWord]:
        if self.said.nothing[said] and self.heard.nothing[heard]:
            return
        correct = self._substitutions(said)[heard] == 0
        yield AlignedWord("correct" if correct else "substitution", self.said.words[said], self.heard.words[heard])

    def _alone(self, arcs: _Arcs, arc: int, operation: Operation) -> Iterator[AlignedWord]:
        if arcs.nothing[arc]:
            return
        written = arcs.words[arc]
        told = "correct" if arcs.optional[arc] else operation
        yield AlignedWord(
            told, written if operation == "deletion" else None, written if operation == "insertion" else None
        )
