"""The errors of a rescoring by the number of hypotheses considered, counted while the lists are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from asr_rescore.report import AtDepth, ReportWarning
from asr_rescore.report.list_depth import DEPTHS
from asr_rescore.word_errors import ErrorCount

# If the lists hold less than this part of what the lattices hold beyond the first pass, more hypotheses help most.
WARN_HELD = 0.5
NEARLY = 0.9


class ErrorsByDepth:
    """Adds up the errors of the best hypotheses among the first 1, 2, 5, … of each list.

    An utterance without a list counts as deletions, at every depth.

    Args:
        references: utterance → words, as they are compared.
    """

    def __init__(self, references: Mapping[str, Sequence[str]]):
        self._longest = 0
        self._words_without_list = sum(map(len, references.values()))
        self._errors = np.zeros((2, len(DEPTHS) + 1), dtype=np.int64)  # chosen and oracle; last: of whole lists

    def add(self, totals: np.ndarray, distances: np.ndarray, reference_words: int) -> None:
        """Count one list.

        Args:
            totals: the cost of each hypothesis with the weights of the rescoring, float64 (hypotheses,).
            distances: its word errors, int64 (hypotheses,).
            reference_words: words of the reference.
        """
        self._words_without_list -= reference_words
        self._longest = max(self._longest, len(totals))
        for place, depth in enumerate([*DEPTHS, len(totals)]):
            self._errors[0, place] += distances[int(np.argmin(totals[:depth]))]
            self._errors[1, place] += distances[:depth].min()

    def result(self) -> tuple[AtDepth, ...]:
        """The depths below the length of the longest list, and this length; empty without lists.

        A depth that is nearly the longest would say the same twice and is left out: a list cut at N also holds the
        first pass's best hypotheses at other LMWTs and WIPs.
        """
        if not self._longest:
            return ()
        counts = (self._errors + self._words_without_list).T.tolist()
        found = [AtDepth(n, *count) for n, count in zip(DEPTHS, counts, strict=False) if n < NEARLY * self._longest]
        return (*found, AtDepth(self._longest, *counts[-1]))


def depth_warnings(
    depths: Sequence[AtDepth], first_pass: ErrorCount, lattice_oracle: ErrorCount | None
) -> Iterator[ReportWarning]:
    """A warning if most of what rescoring could gain is in the lattices, but not in the lists."""
    if not depths or lattice_oracle is None:
        return
    in_lattices = first_pass.errors - lattice_oracle.errors
    in_lists = first_pass.errors - depths[-1].oracle
    if in_lattices > 0 and in_lists < WARN_HELD * in_lattices:
        held = 100 * max(0, in_lists) / in_lattices
        n = depths[-1].n
        yield ReportWarning(
            "short_lists",
            f"N-best lists of at most {n} hypotheses hold {held:.0f} % of the improvement that the lattices hold: try "
            f"`n` {10 ** (int(math.log10(n)) + 1)}, or rescore the lattices themselves (rescore_lattice)",
            {"n": n, "held": held},
        )
