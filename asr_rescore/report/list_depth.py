"""How many errors a rescoring makes if it considers only the first hypotheses of each N-best list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asr_rescore.records import Record

DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


@dataclass(frozen=True)
class AtDepth:
    """The errors of a set if only the first ``n`` hypotheses of each list are considered.

    Attributes:
        n: hypotheses, in the order of the first pass's costs.
        errors: word errors of the hypotheses that are chosen with the weights of the rescoring.
        oracle: word errors of the hypotheses that have the fewest.
    """

    n: int
    errors: int
    oracle: int


def read_depths(records: Sequence[Record]) -> tuple[AtDepth, ...]:
    """The depths from plain values."""
    return tuple(AtDepth(entry.integer("n", 1), entry.integer("errors"), entry.integer("oracle")) for entry in records)
