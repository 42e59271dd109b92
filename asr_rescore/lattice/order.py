"""Orders and reachability of a lattice's states."""

from __future__ import annotations

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.lattice.graph import Lattice


def topological_order(lattice: Lattice) -> np.ndarray:
    """All states, each behind every state that has an arc to it, int64 (states,).

    Raises:
        RescoreError: there is a cycle.
    """
    if np.all(lattice.target > lattice.source):  # as most of Kaldi's lattices are
        return np.arange(lattice.num_states)
    waiting = np.bincount(lattice.target, minlength=lattice.num_states).tolist()
    offsets, targets = lattice.arc_offsets.tolist(), lattice.target.tolist()
    order = [state for state, arcs in enumerate(waiting) if not arcs]
    for state in order:  # grows as it is read
        for target in targets[offsets[state] : offsets[state + 1]]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    if len(order) < lattice.num_states:
        stuck = next(state for state, arcs in enumerate(waiting) if arcs)
        raise RescoreError(
            f"lattice: state {stuck} lies on or behind a cycle, expected none; decode the utterance again"
        )
    return np.array(order, dtype=np.int64)


def depths(lattice: Lattice) -> list[int]:
    """Arcs of the longest way to each state.

    Raises:
        RescoreError: there is a cycle.
    """
    depth = [0] * lattice.num_states
    offsets, targets = lattice.arc_offsets.tolist(), lattice.target.tolist()
    for state in topological_order(lattice).tolist():
        ahead = depth[state] + 1
        for target in targets[offsets[state] : offsets[state + 1]]:
            if depth[target] < ahead:
                depth[target] = ahead
    return depth


def connect(lattice: Lattice) -> Lattice:
    """The states and arcs that lie on a path from start to end, in their order."""
    order = topological_order(lattice)
    accessible = np.zeros(lattice.num_states, dtype=bool)
    if lattice.start >= 0:
        accessible[lattice.start] = True
    coaccessible = lattice.is_final.copy()
    offsets = lattice.arc_offsets
    for state in order:
        if accessible[state]:
            accessible[lattice.target[offsets[state] : offsets[state + 1]]] = True
    for state in order[::-1]:
        coaccessible[state] |= coaccessible[lattice.target[offsets[state] : offsets[state + 1]]].any()
    keep = accessible & coaccessible
    return select(lattice, keep, keep[lattice.source] & keep[lattice.target])


def select(lattice: Lattice, states: np.ndarray, arcs: np.ndarray) -> Lattice:
    """The lattice of some states and arcs, both bool masks; kept arcs must lie between kept states."""
    number = np.cumsum(states) - 1
    kept_states, kept_arcs = np.flatnonzero(states), np.flatnonzero(arcs)
    start = int(number[lattice.start]) if lattice.start >= 0 and states[lattice.start] else -1
    return Lattice(
        start,
        number[lattice.source[kept_arcs]],
        number[lattice.target[kept_arcs]],
        lattice.word[kept_arcs],
        lattice.graph[kept_arcs],
        lattice.acoustic[kept_arcs],
        lattice.final_graph[kept_states],
        lattice.final_acoustic[kept_states],
        lattice.alignment.take(kept_arcs),
        lattice.final_alignment.take(kept_states),
    )
