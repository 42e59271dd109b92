"""Differences within pairs, such as trainings with the same seed: their mean, its interval, a test and its power.

Two trainings that share their first weights and their order of the text differ much less than two that share nothing.
The difference within each pair therefore says more than the two means. Student's t for one sample is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from asr_rescore.statistics.student_t import t_outside, t_quantile

CONFIDENCE = 0.95
POWER = 0.8


@dataclass(frozen=True)
class PairedDifferences:
    """Differences between two treatments of the same pairs.

    Attributes:
        values: one difference for each pair, in any unit, at least one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return mean(self.values)

    @property
    def deviation(self) -> float:
        """Their standard deviation, with n − 1; nan for one pair."""
        return stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % interval of the mean; nan for one pair."""
        return self._in_errors((1 + CONFIDENCE) / 2)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean."""
        return self.mean - self.half_width, self.mean + self.half_width

    @property
    def p(self) -> float:
        """Two-tailed probability of a mean at least as far from 0 if the true mean is 0; nan for one pair."""
        if len(self.values) < 2:
            return math.nan
        error = self.deviation / math.sqrt(len(self.values))
        if error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return t_outside(abs(self.mean) / error, len(self.values) - 1)

    @property
    def detectable(self) -> float:
        """The true mean that as many pairs with this deviation would find with a probability of 80 %.

        To find it means that the 95 % interval does not contain 0. The non-central t distribution is approximated by a
        shifted one, which is right to one per cent from five pairs on. nan for one pair.
        """
        return self._in_errors((1 + CONFIDENCE) / 2) + self._in_errors(POWER)

    def _in_errors(self, probability: float) -> float:
        """A quantile of t times the standard error of the mean."""
        if len(self.values) < 2:
            return math.nan
        return t_quantile(probability, len(self.values) - 1) * self.deviation / math.sqrt(len(self.values))


def pair_up(first: dict[str, float], second: dict[str, float]) -> dict[str, tuple[float, float]]:
    """The values that both have, by the name of the pair and in the order of numbers in these names."""
    both = sorted(first.keys() & second.keys(), key=lambda name: (len(name), name))
    return {name: (first[name], second[name]) for name in both}


def percent_changes(pairs: Sequence[tuple[float, float]]) -> PairedDifferences:
    """By how many percent the first value of each pair exceeds the second."""
    return PairedDifferences(tuple(100 * (value / base - 1) for value, base in pairs))


def plain_differences(pairs: Sequence[tuple[float, float]]) -> PairedDifferences:
    """By how much the first value of each pair exceeds the second."""
    return PairedDifferences(tuple(value - base for value, base in pairs))
