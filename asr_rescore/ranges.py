"""Ranges of numbers, for every setting that is one: NaN and infinity are in none of them."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from numbers import Integral, Real

from asr_rescore.errors import UsageError, shown


@dataclass(frozen=True)
class Range:
    """The finite numbers between two bounds.

    Attributes:
        least, most: bounds that are in the range.
        above, below: bounds that are not.
        whole: only integers.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        number: float
        if isinstance(value, Integral):
            number = int(value)
            if not self.whole and abs(number) > sys.float_info.max:  # no float holds it
                return False
        else:
            number = float(value)
            if self.whole or not math.isfinite(number):
                return False
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        lower = f"above {self.above:g}" if self.above is not None else ""
        if self.least is not None:
            lower = f"at least {self.least}"
        upper = f"below {self.below}" if self.below is not None else ""
        if self.most is not None:
            upper = f"at most {self.most}"
        if self.least is not None and self.most is not None:
            return f"{self.least} to {self.most}"
        if lower and upper:
            return f"{lower} and {upper}"
        if self.least is not None:
            return f"{self.least} or more"
        if lower or upper:
            return f"{kind} {lower or upper}"
        return kind if self.whole else "a finite number"

    def expected(self, value: object) -> str:
        """What an error about ``value`` expects: of a number that is too small, only how large it must be."""
        if self.least is not None and isinstance(value, Real) and value in Range(below=self.least):
            return f"{self.least} or more"
        return str(self)

    def check(self, name: str, value: object) -> None:
        """Raise a :class:`UsageError` about the setting ``name`` if ``value`` is not in the range."""
        if value not in self:
            raise UsageError(f"{name} is {shown(value)}, expected {self.expected(value)}")


FINITE = Range()
POSITIVE = Range(above=0)
NON_NEGATIVE = Range(least=0)
FRACTION = Range(least=0, most=1)
SEED = Range(least=0, below=2**63, whole=True)  # what torch and numpy both take
# Six digits, as in num_jobs of a decode directory (kaldi/directories.py).
JOBS = Range(least=1, most=999_999, whole=True)
# Counts of things that are held in memory or counted by 32-bit integers: more is a slip of the keyboard.
COUNT = Range(least=1, most=2**31 - 1, whole=True)
COUNT_OR_NONE = Range(least=0, most=2**31 - 1, whole=True)
# Rows, cells and streams: the sizes of tensors, whose products must fit into 64 bits.
SIZE = Range(least=1, most=1_000_000, whole=True)
