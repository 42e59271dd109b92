"""tuning.csv: the errors at every point of the grid on which weights were tuned."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_rescore.errors import InputError
from asr_rescore.files import atomic_text, read_lines
from asr_rescore.ranking import OperatingPoint

TUNING_FILE = "tuning.csv"
WEIGHT = "lm_weight"  # the first column of this name, then lm_weight_2, …
LARGEST = 2.0**53  # from here on, float64 does not hold every count
LAST_COLUMNS = ("lmwt", "wip", "errors")


@dataclass(frozen=True, eq=False)
class SearchedWeights:
    """The errors of a grid search.

    Attributes:
        lm_weights: float64 (rows, LMs).
        lmwt, wip: float64 (rows,).
        errors: int64 (rows,), word errors; character errors if these were tuned for.
    """

    lm_weights: np.ndarray
    lmwt: np.ndarray
    wip: np.ndarray
    errors: np.ndarray

    @classmethod
    def of_grid(
        cls, grid: Sequence[tuple[float, ...]], points: Sequence[OperatingPoint], errors: np.ndarray
    ) -> SearchedWeights:
        """From the errors of all combinations, int64 (grid, points)."""
        return cls(
            np.repeat(np.array(grid, dtype=np.float64), len(points), axis=0),
            np.tile([float(point.lmwt) for point in points], len(grid)),
            np.tile([float(point.wip) for point in points], len(grid)),
            errors.reshape(-1),
        )

    def write(self, path: Path) -> None:
        """Write a table with a header: the weight of each LM, LMWT, word insertion penalty, errors."""
        names = [WEIGHT if lm == 0 else f"{WEIGHT}_{lm + 1}" for lm in range(self.lm_weights.shape[1])]
        with atomic_text(path) as stream:
            stream.write(",".join([*names, *LAST_COLUMNS]) + "\n")
            for row, errors in enumerate(self.errors.tolist()):
                numbers = [*self.lm_weights[row].tolist(), self.lmwt[row], self.wip[row]]
                stream.write(",".join([*(f"{number:g}" for number in numbers), str(errors)]) + "\n")

    @classmethod
    def read(cls, path: Path) -> SearchedWeights:
        """Read what :meth:`write` wrote.

        Raises:
            InputError: the file is missing or damaged.
        """
        lines = [line for _, line in read_lines(path)]
        header = lines[0].split(",") if lines else []
        try:
            if tuple(header[-3:]) != LAST_COLUMNS or len(header) < 4 or len(lines) < 2:
                raise ValueError("another header" if lines else "nothing")
            table = np.array([[float(cell) for cell in row] for row in csv.reader(lines[1:])])
            if table.shape[1:] != (len(header),) or not (np.abs(table) < LARGEST).all():
                raise ValueError("a row that does not fit the header")
        except ValueError as error:
            raise InputError(
                path, found=str(error), expected="the errors of a grid search", remedy="rescore again with `tune`"
            ) from error
        return cls(table[:, :-3], table[:, -3], table[:, -2], table[:, -1].astype(np.int64))

    def by_weight_and_lmwt(self, wip: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The errors at one word insertion penalty, by the sum of the LM weights and LMWT.

        Returns:
            The sums, float64 (sums,); the LMWTs, float64 (LMWTs,); the fewest errors there, float64 (sums, LMWTs), nan
            where nothing was searched.
        """
        here = np.isclose(self.wip, wip)
        sums = self.lm_weights[here].sum(axis=1).round(6)
        rows, row = np.unique(sums, return_inverse=True)
        columns, column = np.unique(self.lmwt[here], return_inverse=True)
        least = np.full((len(rows), len(columns)), np.inf)
        np.minimum.at(least, (row, column), self.errors[here])
        return rows, columns, np.where(np.isfinite(least), least, np.nan)
