"""The cheapest alignment of two word sequences, and which of several equally cheap ones is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Step = Literal["ins", "del", "sub"]
# The lowest diagonal; and on this and each further one, the number of words of the hypothesis before the last place.
Wave = tuple[int, np.ndarray]
Alignment = Sequence[tuple[str | None, str | None]]  # reference word and hypothesis word, or None
LONG = 1 << 20  # cells of a table from which on it pays to know the distance first
UNREACHABLE = 1 << 29
SHORT_RUN = 3  # matching words that are looked for on all diagonals at once
CHUNK = 64  # words that are compared at once on one diagonal


@dataclass(frozen=True)
class AlignmentRule:
    """Which of many alignments of a reference and a hypothesis is counted.

    Attributes:
        ties: the order in which equally cheap steps are preferred, from the end of the utterance.
        gap: cost of an insertion or a deletion.
        substitution: cost of a substitution.
    """

    ties: tuple[Step, Step, Step]
    gap: int = 1
    substitution: int = 1


COMPUTE_WER = AlignmentRule(("ins", "del", "sub"))
ALIGN_TEXT = AlignmentRule(("sub", "del", "ins"))
SCLITE = AlignmentRule(("sub", "ins", "del"), gap=3, substitution=4)


def align(
    reference: Sequence[str], hypothesis: Sequence[str], rule: AlignmentRule = COMPUTE_WER
) -> list[tuple[str | None, str | None]]:
    """The alignment with the lowest cost.

    Args:
        reference, hypothesis: words.
        rule: ``COMPUTE_WER`` gives the counts of compute-wer, ``ALIGN_TEXT`` the alignments of align-text; the number
            of errors is the same with both. ``SCLITE`` gives those of sclite, which may have more errors.

    Returns:
        Pairs (reference word, hypothesis word), with None in place of the missing word of an insertion or deletion.
    """
    if list(reference) == list(hypothesis):  # the only alignment without errors, and a frequent one
        return [(word, word) for word in reference]
    table, cost = _table(reference, hypothesis, rule)
    pairs: list[tuple[str | None, str | None]] = []
    h = len(hypothesis)
    r = len(reference)
    while h or r:
        wrong = h > 0 and r > 0 and hypothesis[h - 1] != reference[r - 1]
        for step in rule.ties:
            back_h, back_r = h - (step != "del"), r - (step != "ins")
            added = wrong * rule.substitution if step == "sub" else rule.gap
            if back_h >= 0 and back_r >= 0 and table.holds(back_h, back_r, cost - added):
                break
        pairs.append((None if step == "ins" else reference[r - 1], None if step == "del" else hypothesis[h - 1]))
        h, r, cost = back_h, back_r, cost - added
    return pairs[::-1]


def _table(reference: Sequence[str], hypothesis: Sequence[str], rule: AlignmentRule) -> tuple[_Waves | _CostTable, int]:
    """The costs of all beginnings of an alignment, as far as the cheapest alignments need them, and that of the end."""
    ids: dict[str, int] = {}
    said = [ids.setdefault(word, len(ids)) for word in reference]
    heard = [ids.get(word, -1) for word in hypothesis]
    shorter, longer = sorted((len(said), len(heard)))
    most = shorter * rule.substitution + (longer - shorter) * rule.gap
    if shorter * longer >= LONG:
        from rapidfuzz.distance import Levenshtein

        distance = Levenshtein.distance(said, heard)
        if rule.gap == rule.substitution == 1:
            return _Waves(said, heard, distance), distance
        most = distance * max(rule.gap, rule.substitution)
    table = _CostTable(said, heard, rule, most // rule.gap)
    return table, table.cost(len(heard), len(said))


class _Waves:
    """How far each number of errors gets on each diagonal r − h of the table of costs (Ukkonen 1985, Myers 1986).

    On a diagonal, costs do not decrease. So the table is known from the last place on each diagonal that costs at most
    0, 1, 2, … errors. Only diagonals are held from which the end can be reached with the errors that are left. All
    cheapest alignments are on these. Elsewhere, too many errors may be told, but never too few.

    As of the rows of a :class:`_CostTable`, only some waves are kept, and the others are computed again.
    """

    def __init__(self, said: Sequence[int], heard: Sequence[int], distance: int):
        self.said = np.array([*said, -2], dtype=np.int32)
        self.heard = np.array([*heard, -3], dtype=np.int32)
        self.distance = distance
        self.ahead = len(said) - len(heard)  # diagonal of the end
        self.height = math.isqrt(distance) + 1  # of a block of waves
        self.first_waves = [self._wave(None, 0)]
        self._compute(0)
        while len(self.first_waves) * self.height <= distance:
            self.first_waves.append(self.block[-1])
            self._compute(len(self.first_waves) - 1)

    def holds(self, h: int, r: int, errors: int) -> bool:
        """Whether the first ``h`` words of the hypothesis and ``r`` of the reference cost so many errors, or fewer."""
        if errors < 0:
            return False
        if not 0 <= errors - self.begin < len(self.block):
            self._compute(errors // self.height)
        lowest, places = self.block[errors - self.begin]
        diagonal = r - h - lowest
        return 0 <= diagonal < len(places) and bool(places[diagonal] >= h)

    def _compute(self, number: int) -> None:
        """Compute one block of waves, and the first wave of the next block."""
        self.begin = number * self.height
        self.block = [self.first_waves[number]]
        for errors in range(self.begin + 1, min(self.begin + self.height, self.distance) + 1):
            self.block.append(self._wave(self.block[-1], errors))

    def _wave(self, before: Wave | None, errors: int) -> Wave:
        """Where so many errors get to.

        Args:
            before: where one error less gets to; None for no errors.
            errors: how many.
        """
        left = self.distance - errors
        diagonals = np.arange(max(-errors, self.ahead - left), min(errors, self.ahead + left) + 1, dtype=np.int32)
        places = np.zeros(1, dtype=np.int32) if before is None else _one_error_more(before, diagonals)
        np.minimum(places, np.minimum(len(self.heard), len(self.said) - diagonals) - 1, out=places)
        self._slide(places, diagonals)
        return int(diagonals[0]), places

    def _slide(self, places: np.ndarray, diagonals: np.ndarray) -> None:
        """Go on along matching words; in ``places`` itself."""
        active = np.arange(len(places))
        for _ in range(SHORT_RUN):
            found = places[active]
            active = active[self.heard[found] == self.said[found + diagonals[active]]]
            if not len(active):
                return
            places[active] += 1
        for index in active.tolist():  # few: the words match by chance on all but one or two
            h = int(places[index])
            places[index] = h + self._matching(h, h + int(diagonals[index]))

    def _matching(self, h: int, r: int) -> int:
        """How many words match from a place on."""
        begin = h
        while True:
            number = min(CHUNK, len(self.heard) - h, len(self.said) - r)
            differ = self.heard[h : h + number] != self.said[r : r + number]
            first = int(differ.argmax())
            if differ[first]:  # at the latest at the end, where the marks after the last words differ from all words
                return h + first - begin
            h += number
            r += number


def _one_error_more(wave: Wave, diagonals: np.ndarray) -> np.ndarray:
    """Where one more error than those of a wave gets to, before words that match."""
    lowest, places = wave
    around = np.full(len(diagonals) + 2, -UNREACHABLE, dtype=np.int32)  # the wave, and a diagonal on each side
    shift = lowest - (int(diagonals[0]) - 1)
    begin, end = max(0, shift), min(len(around), shift + len(places))
    around[begin:end] = places[begin - shift : end - shift]
    forward: np.ndarray = np.maximum(around[1:-1], around[2:]) + np.int32(1)  # substitutions and insertions
    np.maximum(forward, around[:-2], out=forward)  # deletions
    return forward


class _CostTable:
    """The cost of the first h words of a hypothesis against the first r words of the reference, in a band.

    An alignment that leaves the diagonal r − h = 0 far behind, or that of its end, needs more insertions and deletions
    than the cheapest alignment costs. So only the diagonals between are computed (Ukkonen 1985). All cheapest
    alignments are on these, and costs along them are exact; other costs may be too high. A row is held by diagonals: a
    match or substitution keeps its place from row to row.

    Only every ``len(hypothesis) ** 0.5``-th row is kept. The rows between two of these are computed again when they are
    needed, so that an utterance of 20,000 words takes some MB instead of gigabytes. Rows are read from the last to the
    first.
    """

    def __init__(self, said: Sequence[int], hypothesis: Sequence[int], rule: AlignmentRule, most_gaps: int):
        self.rule = rule
        self.hypothesis = hypothesis
        ahead = len(said) - len(hypothesis)  # diagonal of the end
        astray = (most_gaps - abs(ahead)) // 2  # steps beyond both diagonals, and back
        self.lowest = max(min(0, ahead) - astray, -len(hypothesis))
        highest = min(max(0, ahead) + astray, len(said))
        self.width = highest - self.lowest + 1
        # Row h needs words h − 1 to h + width − 2 of this; before and after the reference is no word.
        self.reference = np.full(len(said) + len(hypothesis) + self.width - self.lowest, -2, dtype=np.int32)
        self.reference[-self.lowest : len(said) - self.lowest] = said
        self.deletions = np.arange(self.width, dtype=np.int32) * rule.gap
        first = self.deletions + np.int32(self.lowest * rule.gap)
        first[: -self.lowest] = UNREACHABLE
        self.height = math.isqrt(len(hypothesis)) + 1  # of a block of rows
        self.first_rows = [first]
        self._compute(0)
        while len(self.first_rows) * self.height <= len(hypothesis):
            self.first_rows.append(self.block[-1])
            self._compute(len(self.first_rows) - 1)

    def cost(self, h: int, r: int) -> int:
        """The cost of a cell; ``UNREACHABLE`` outside the band."""
        if not 0 <= h - self.begin < len(self.block):
            self._compute(h // self.height)
        diagonal = r - h - self.lowest
        return int(self.block[h - self.begin][diagonal]) if 0 <= diagonal < self.width else UNREACHABLE

    def holds(self, h: int, r: int, cost: int) -> bool:
        """Whether a cell costs so much."""
        return self.cost(h, r) == cost

    def _compute(self, number: int) -> None:
        """Compute one block of rows, and the first row of the next block."""
        row = self.first_rows[number]
        self.block = [row]
        self.begin = number * self.height
        for h, word in enumerate(self.hypothesis[self.begin : self.begin + self.height], self.begin):
            above = row
            row = (self.reference[h : h + self.width] != word) * np.int32(self.rule.substitution)
            row += above
            np.minimum(row[:-1], above[1:] + self.rule.gap, out=row[:-1])  # insertions
            row -= self.deletions
            np.minimum.accumulate(row, out=row)  # a running minimum in which each step costs one deletion
            row += self.deletions
            self.block.append(row)
