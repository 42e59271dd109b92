"""The cheapest alignment of two word sequences, and which of several equally cheap ones is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Step = Literal["ins", "del", "sub"]
Alignment = Sequence[tuple[str | None, str | None]]  # reference word and hypothesis word, or None
LONG = 1 << 20  # cells of a table from which on it pays to know the distance first
UNREACHABLE = 1 << 29


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
    table = _CostTable(reference, hypothesis, rule)
    pairs: list[tuple[str | None, str | None]] = []
    h = len(hypothesis)
    r = len(reference)
    cost = table.cost(h, r)
    while h or r:
        wrong = h > 0 and r > 0 and hypothesis[h - 1] != reference[r - 1]
        for step in rule.ties:
            back_h, back_r = h - (step != "del"), r - (step != "ins")
            added = wrong * rule.substitution if step == "sub" else rule.gap
            if back_h >= 0 and back_r >= 0 and table.cost(back_h, back_r) == cost - added:
                break
        pairs.append((None if step == "ins" else reference[r - 1], None if step == "del" else hypothesis[h - 1]))
        h, r, cost = back_h, back_r, cost - added
    return pairs[::-1]


class _CostTable:
    """The cost of the first h words of a hypothesis against the first r words of the reference, in a band.

    An alignment that leaves the diagonal r − h = 0 far behind, or that of its end, needs more insertions and deletions
    than the cheapest alignment costs. So only the diagonals between are computed (Ukkonen 1985). All cheapest
    alignments are among them, and costs along these are exact; other costs may be too high, which no cheapest
    alignment can tell. A row is held by diagonals: a match or substitution keeps its place from row to row.

    Only every ``len(hypothesis) ** 0.5``-th row is kept. The rows between two of these are computed again when they are
    needed, so that an utterance of 20,000 words takes some MB instead of gigabytes. Rows are read from the last to the
    first.
    """

    def __init__(self, reference: Sequence[str], hypothesis: Sequence[str], rule: AlignmentRule):
        self.rule = rule
        ids: dict[str, int] = {}
        said = [ids.setdefault(word, len(ids)) for word in reference]
        self.hypothesis = [ids.get(word, -1) for word in hypothesis]
        ahead = len(reference) - len(hypothesis)  # diagonal of the end
        astray = (_most_gaps(said, self.hypothesis, rule) - abs(ahead)) // 2  # steps beyond both diagonals, and back
        self.lowest = max(min(0, ahead) - astray, -len(hypothesis))
        highest = min(max(0, ahead) + astray, len(reference))
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
        number, place = divmod(h, self.height)
        if number != self.number:
            self._compute(number)
        diagonal = r - h - self.lowest
        return int(self.block[place][diagonal]) if 0 <= diagonal < self.width else UNREACHABLE

    def _compute(self, number: int) -> None:
        """Compute one block of rows, and the first row of the next block."""
        self.number = number
        row = self.first_rows[number]
        self.block = [row]
        begin = number * self.height
        for h, word in enumerate(self.hypothesis[begin : begin + self.height], begin):
            above = row
            row = (self.reference[h : h + self.width] != word) * np.int32(self.rule.substitution)
            row += above
            np.minimum(row[:-1], above[1:] + self.rule.gap, out=row[:-1])  # insertions
            row -= self.deletions
            np.minimum.accumulate(row, out=row)  # a running minimum in which each step costs one deletion
            row += self.deletions
            self.block.append(row)


def _most_gaps(reference: Sequence[int], hypothesis: Sequence[int], rule: AlignmentRule) -> int:
    """A number of insertions and deletions that no cheapest alignment exceeds."""
    shorter, longer = sorted((len(reference), len(hypothesis)))
    if len(reference) * len(hypothesis) < LONG:
        most = shorter * rule.substitution + (longer - shorter) * rule.gap
    else:
        from rapidfuzz.distance import Levenshtein

        most = Levenshtein.distance(reference, hypothesis) * max(rule.gap, rule.substitution)
    return most // rule.gap
