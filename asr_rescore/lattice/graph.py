"""The lattice as arrays: states, arcs with two costs each, and transition ids, from which word times are computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from asr_rescore.errors import RescoreError

EPSILON = 0  # the word id of an arc that carries no word


@dataclass(frozen=True, eq=False)
class Ragged:
    """A list of integer lists, stored in two arrays: item i is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: int32 (total,).
        offsets: int64 (items + 1,), from 0 to total.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, item: int) -> np.ndarray:
        return self.values[self.offsets[item] : self.offsets[item + 1]]

    @classmethod
    def from_lists(cls, lists: list[np.ndarray] | list[list[int]]) -> Ragged:
        """Pack lists of integers."""
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(item) for item in lists], out=offsets[1:])
        values = np.concatenate([np.asarray(item, dtype=np.int32) for item in lists]) if lists else np.empty(0)
        return cls(values.astype(np.int32), offsets)

    def take(self, items: np.ndarray) -> Ragged:
        """The items with the given indices, in the given order."""
        lengths = np.diff(self.offsets)[items]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        shifts = np.repeat(self.offsets[items] - offsets[:-1], lengths)
        return Ragged(self.values[np.arange(offsets[-1]) + shifts], offsets)


@dataclass(frozen=True, eq=False, repr=False)
class Lattice:
    """A word lattice: an acyclic weighted acceptor over word ids, like Kaldi's CompactLattice.

    Costs are −ln p; acoustic costs are unscaled. Arcs are ordered by source state, and within a state as they were
    read. A Kaldi ``Lattice`` (state level) has the same form, with at most one transition id per arc.

    Attributes:
        start: the start state; −1 in a lattice without states.
        source, target: int64 (arcs,), states.
        word: int32 (arcs,), word ids; ``EPSILON`` for an arc without a word.
        graph, acoustic: float64 (arcs,), costs.
        final_graph, final_acoustic: float64 (states,), costs; both are ``inf`` for states that are not final.
        alignment: transition ids of each arc, (arcs,) items.
        final_alignment: transition ids of each final weight, (states,) items.

    Raises:
        RescoreError: array lengths differ, an arc or the start refers to a state that does not exist, arcs are not
            ordered by source, or a cost is NaN.
    """

    start: int
    source: np.ndarray
    target: np.ndarray
    word: np.ndarray
    graph: np.ndarray
    acoustic: np.ndarray
    final_graph: np.ndarray
    final_acoustic: np.ndarray
    alignment: Ragged
    final_alignment: Ragged

    def __post_init__(self) -> None:
        arcs = len(self.source)
        states = len(self.final_graph)
        for name in ("target", "word", "graph", "acoustic", "alignment"):
            entries = len(getattr(self, name))
            if entries != arcs:
                raise RescoreError(f"lattice: {entries} entries in {name}, expected {arcs} (one per arc)")
        for name in ("final_acoustic", "final_alignment"):
            entries = len(getattr(self, name))
            if entries != states:
                raise RescoreError(f"lattice: {entries} entries in {name}, expected {states} (one per state)")
        if not -1 <= self.start < states:
            raise RescoreError(f"lattice: start state {self.start}, expected -1 to {states - 1}")
        if arcs:
            low = min(int(self.source.min()), int(self.target.min()))
            high = max(int(self.source.max()), int(self.target.max()))
            if low < 0 or high >= states:
                raise RescoreError(
                    f"lattice: an arc touches state {low if low < 0 else high}, expected 0 to {states - 1}"
                )
            if np.any(np.diff(self.source) < 0):
                raise RescoreError("lattice: arcs are not ordered by source state")
            for name in ("graph", "acoustic"):
                bad = np.flatnonzero(np.isnan(getattr(self, name)))
                if bad.size:
                    arc = int(bad[0])
                    raise RescoreError(
                        f"lattice: arc {arc} (state {self.source[arc]} to {self.target[arc]}, word {self.word[arc]}) "
                        f"has {name} cost NaN, expected a number; decode the utterance again"
                    )
        if np.isnan(self.final_graph).any() or np.isnan(self.final_acoustic).any():
            raise RescoreError("lattice: a final cost is NaN, expected a number; decode the utterance again")

    def __repr__(self) -> str:
        return f"Lattice({self.num_states} states, {self.num_arcs} arcs)"

    @property
    def num_states(self) -> int:
        """The number of states."""
        return len(self.final_graph)

    @property
    def num_arcs(self) -> int:
        """The number of arcs."""
        return len(self.source)

    @cached_property
    def arc_offsets(self) -> np.ndarray:
        """int64 (states + 1,): the arcs that leave state s are those in ``arc_offsets[s]:arc_offsets[s + 1]``."""
        return np.searchsorted(self.source, np.arange(self.num_states + 1))

    @property
    def is_final(self) -> np.ndarray:
        """Which states are final, bool (states,)."""
        final: np.ndarray = np.isfinite(self.final_graph) & np.isfinite(self.final_acoustic)
        return final

    def arc_costs(self, acoustic_scale: float | np.ndarray) -> np.ndarray:
        """graph + ``acoustic_scale`` · acoustic of each arc: (arcs,), or (points, arcs) for scales (points, 1)."""
        costs: np.ndarray = self.graph + acoustic_scale * self.acoustic
        return costs

    def final_costs(self, acoustic_scale: float | np.ndarray) -> np.ndarray:
        """graph + ``acoustic_scale`` · acoustic of each final weight, (…, states); inf for states that are not final.

        The shapes are those of :meth:`arc_costs`. A scale of 0 is allowed: it does not turn an ``inf`` into a NaN.
        """
        final = self.is_final
        costs = np.where(final, self.final_graph, 0.0) + acoustic_scale * np.where(final, self.final_acoustic, 0.0)
        return np.where(final, costs, np.inf)
