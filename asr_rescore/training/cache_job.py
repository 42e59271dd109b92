"""One job of a teacher's cache: which tokens are its own, and how the rows of all jobs are read as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore.ranges import JOBS, Range


@dataclass(frozen=True)
class CacheJob:
    """One of ``jobs`` equal parts of a text, as Kaldi's ``$cmd JOB=1:$nj`` hands them out.

    Attributes:
        number: from 1 to ``jobs``.
        jobs: how many there are.
    """

    number: int = 1
    jobs: int = 1

    def __post_init__(self) -> None:
        JOBS.check("`nj`", self.jobs)
        Range(least=1, most=self.jobs, whole=True).check("`job`", self.number)

    @classmethod
    def all(cls, jobs: int) -> list[CacheJob]:
        """Every one of ``jobs`` jobs."""
        JOBS.check("`nj`", jobs)
        return [cls(number, jobs) for number in range(1, jobs + 1)]

    def directory(self, cache: Path) -> Path:
        """Where the job writes: a directory of its own, unless it is the only one."""
        return cache if self.jobs == 1 else cache / f"job.{self.number}"

    def tokens(self, text: int) -> range:
        """The positions of a text of so many tokens that are this job's."""
        return range(text * (self.number - 1) // self.jobs, text * self.number // self.jobs)

    @property
    def facts(self) -> dict[str, int]:
        """What the job adds to the fingerprint of its files; nothing if it is the only one."""
        return {} if self.jobs == 1 else {"job": self.number, "jobs": self.jobs}


class JoinedRows:
    """Some arrays, one after the other, as one table; nothing is copied but the rows that are asked for.

    Attributes:
        parts: arrays (rows, …) of one type, which differ only in their number of rows.
    """

    def __init__(self, parts: Sequence[np.ndarray]):
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    @property
    def nbytes(self) -> int:
        """The bytes of all parts."""
        return sum(part.nbytes for part in self.parts)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The rows at some positions, int64 (any,), as an array."""
        first = self.parts[0]
        found = np.empty((len(rows), *first.shape[1:]), first.dtype)
        owners = np.searchsorted(self.ends, rows, side="right")
        for owner in np.unique(owners):
            here = owners == owner
            part = self.parts[owner]
            found[here] = part[rows[here] - (self.ends[owner] - len(part))]
        return found
