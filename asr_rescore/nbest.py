"""The N-best list of an utterance: its hypotheses and their costs under each model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.lattice import Path

# Column names are the names of Kaldi's files in archives.JOB/ (steps/rnnlmrescore.sh).
ACOUSTIC = "acwt"  # acoustic cost, unscaled
GRAPH = "lmwt.withlm"  # graph cost of the first pass: old LM, pronunciation, transitions, silence
OLD_LM = "lmwt.lmonly"  # the part of the graph cost that comes from the old LM
NO_LM = "lmwt.nolm"  # the graph cost without the old LM
NEURAL = "lmwt.rnn"  # cost of the sentence, including its end, under a neural LM


@dataclass(frozen=True, eq=False, repr=False)
class NBest:
    """The hypotheses of one utterance, ordered by their first-pass cost, with named cost columns.

    Attributes:
        utt: utterance id.
        words: the words of each hypothesis; an empty hypothesis is an empty tuple.
        costs: column name → float64 (hypotheses,): −ln p, acoustic costs unscaled.

    Raises:
        RescoreError: a column does not have one finite number per hypothesis.
    """

    utt: str
    words: tuple[tuple[str, ...], ...]
    costs: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        columns = {name: np.asarray(column, dtype=np.float64) for name, column in self.costs.items()}
        for name, column in columns.items():
            if column.shape != (len(self.words),):
                raise RescoreError(
                    f"{self.utt}: column {name} has shape {column.shape}, expected one cost for each of the "
                    f"{len(self.words)} hypotheses"
                )
            bad = np.flatnonzero(~np.isfinite(column))
            if bad.size:
                k = int(bad[0])
                raise RescoreError(
                    f"{self.utt}-{k + 1}: column {name} holds {column[k]}, expected a finite cost; "
                    "make its archive or lattice again"
                )
        object.__setattr__(self, "costs", MappingProxyType(columns))

    @classmethod
    def of_paths(cls, utt: str, paths: Sequence[Path], word: Callable[[int], str]) -> NBest:
        """The N-best list of some paths of a lattice, with the costs of the first pass.

        Args:
            utt: utterance id.
            paths: the paths, for example from :func:`~asr_rescore.lattice.n_best`.
            word: converts a word id to a word, for example ``SymbolTable.word`` of the lattice's words.txt.
        """
        return cls(
            utt,
            tuple(tuple(word(index) for index in path.words) for path in paths),
            {GRAPH: np.array([path.graph for path in paths]), ACOUSTIC: np.array([path.acoustic for path in paths])},
        )

    def __reduce__(self) -> tuple[type[NBest], tuple[str, tuple[tuple[str, ...], ...], dict[str, np.ndarray]]]:
        """What pickle keeps of a list."""
        return NBest, (self.utt, self.words, dict(self.costs))  # a read-only mapping cannot be pickled

    def __repr__(self) -> str:
        return f"NBest({self.utt}: {len(self)} hypotheses, costs {', '.join(self.costs)})"

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def word_counts(self) -> np.ndarray:
        """The number of words of each hypothesis, float64 (hypotheses,). A word insertion penalty multiplies it."""
        return np.array([len(words) for words in self.words], dtype=np.float64)

    def with_cost(self, name: str, column: np.ndarray) -> NBest:
        """A copy of the list with a column added or replaced."""
        return replace(self, costs={**self.costs, name: column})
