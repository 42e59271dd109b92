"""The order of a lattice's states, and which of them can be reached."""

from __future__ import annotations

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.lattice.graph import Lattice


def topological_order(lattice: Lattice) -> np.ndarray:
    """All states, each after every state that has an arc to it, int64 (states,).

    Raises:
        RescoreError: the lattice has a cycle.
    """
    if np.all(lattice.target > lattice.source):  # true of most lattices that Kaldi writes
        return np.arange(lattice.num_states)
    waiting = np.bincount(lattice.target, minlength=lattice.num_states).tolist()
    offsets = lattice.arc_offsets.tolist()
    targets = lattice.target.tolist()
    order = [state for state, arcs in enumerate(waiting) if not arcs]
    for state in order:  # the loop appends to this list
        for target in targets[offsets[state] : offsets[state + 1]]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    if len(order) < lattice.num_states:
        stuck = next(state for state, arcs in enumerate(waiting) if arcs)
        raise RescoreError(
            f"lattice: state {stuck} is on a cycle or after one, expected no cycles; decode the utterance again"
        )
    return np.array(order, dtype=np.int64)


def depths(lattice: Lattice) -> list[int]:
    """The number of arcs on the longest path to each state.

    Raises:
        RescoreError: the lattice has a cycle.
    """
    depth = [0] * lattice.num_states
    offsets = lattice.arc_offsets.tolist()
    targets = lattice.target.tolist()
    for state in topological_order(lattice).tolist():
        ahead = depth[state] + 1
        for target in targets[offsets[state] : offsets[state + 1]]:
            if depth[target] < ahead:
                depth[target] = ahead
    return depth


def connect(lattice: Lattice) -> Lattice:
    """The lattice without the states and arcs that are on no path from the start to an end; the order is kept."""
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
    """The lattice with only some of its states and arcs.

    Args:
        lattice: the lattice.
        states: bool (states,), the states to keep.
        arcs: bool (arcs,), the arcs to keep; they must connect states that are kept.
    """
    number = np.cumsum(states) - 1
    kept_states = np.flatnonzero(states)
    kept_arcs = np.flatnonzero(arcs)
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
