"""Matched-pairs tests of two systems on the same utterances, as NIST's sc_stats computes them.

MAPSSWE compares the errors in segments of the speech that are independent of each other: Gillick and Cox, "Some
statistical issues in the comparison of speech recognition algorithms", ICASSP 1989. McNemar's test compares which
sentences have errors at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.word_alignment import Alignment

BOUNDARY = 2  # words that both systems have right end a segment; sc_stats has the same constant


@dataclass(frozen=True)
class MatchedPairs:
    """The result of a test whose null hypothesis is that the systems are equally good.

    Attributes:
        test: its name.
        statistic: MAPSSWE's Z, negative if the first system makes fewer errors; for McNemar's test, the number of
            sentences that only the first system has right.
        pairs: how many segments or sentences were compared.
        p: two-tailed probability of a difference at least as large under the null hypothesis.
    """

    test: str
    statistic: float
    pairs: int
    p: float


def shown_p(p: float, digits: int = 4) -> str:
    """``= 0.0312``, or ``< 0.0001`` where the digits would all be zeros."""
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else f"= {p:.{digits}f}"


def segments(first: Alignment, second: Alignment) -> Iterator[tuple[int, int]]:
    """The errors of two systems in each segment of an utterance that has errors.

    A segment begins with an error of either system and ends before two words that both have right, or with the
    utterance. An insertion belongs to the segment around it.

    Args:
        first, second: alignments with the same reference.
    """
    errors = np.zeros(2, dtype=np.int64)
    right = BOUNDARY
    for slot in zip(_slots(first), _slots(second), strict=True):
        inserted = np.array([insertions for insertions, _ in slot])
        wrong = np.array([is_wrong for _, is_wrong in slot], dtype=np.int64)
        if inserted.any():
            errors += inserted
            right = 0
        if wrong.any():
            errors += wrong
            right = 0
        else:
            right += 1
        if right >= BOUNDARY and errors.any():
            yield int(errors[0]), int(errors[1])
            errors = np.zeros(2, dtype=np.int64)
    if errors.any():
        yield int(errors[0]), int(errors[1])


def _slots(alignment: Alignment) -> Iterator[tuple[int, bool]]:
    """For each reference word the insertions before it and whether it is wrong; at the end, those after the last."""
    insertions = 0
    for said, heard in alignment:
        if said is None:
            insertions += 1
        else:
            yield insertions, said != heard
            insertions = 0
    yield insertions, False


def mapsswe(first: Mapping[str, Alignment], second: Mapping[str, Alignment]) -> MatchedPairs:
    """The matched-pairs sentence-segment word error test of two systems.

    Args:
        first, second: utterance → alignment, for the same utterances.
    """
    found = [pair for utt, alignment in first.items() for pair in segments(alignment, second[utt])]
    differences = np.array([one - other for one, other in found], dtype=np.float64)
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    # Without any spread there is no test, and sc_stats has Z = 0.
    z = float(differences.mean()) * math.sqrt(len(differences)) / deviation if deviation else 0.0
    return MatchedPairs("MAPSSWE", z, len(differences), math.erfc(abs(z) / math.sqrt(2)))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> MatchedPairs:
    """McNemar's exact test on sentences: of those that only one system has right, each system has half by chance.

    Args:
        first, second: for each sentence, whether a system has it right.
    """
    only_first = sum(one and not other for one, other in zip(first, second, strict=True))
    only_second = sum(other and not one for one, other in zip(first, second, strict=True))
    differing = only_first + only_second
    tail = sum(math.comb(differing, k) for k in range(min(only_first, only_second) + 1)) / 2**differing
    return MatchedPairs("McNemar", only_first, len(first), min(1.0, 2 * tail))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of many comparisons, corrected so that all of them together err with the probability of one.

    Holm's step-down method: the smallest is multiplied by the number of comparisons, the next by one less, and so on.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected
