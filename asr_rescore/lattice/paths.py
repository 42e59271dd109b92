"""Paths through a lattice, and the cheapest path at one or many operating points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import topological_order


@dataclass(frozen=True, eq=False)
class Path:
    """A path from the start to a final state.

    Attributes:
        arcs: int64 (length,), arcs of the lattice in order.
        words: the word ids of the arcs, without epsilons.
        graph, acoustic: summed costs, including the final weight; acoustic unscaled.
        final_state: the state in which the path ends.
    """

    arcs: np.ndarray
    words: tuple[int, ...]
    graph: float
    acoustic: float
    final_state: int

    @classmethod
    def along(cls, lattice: Lattice, arcs: list[int], final_state: int) -> Path:
        """The path over ``arcs``, which must connect the start and ``final_state``."""
        taken = np.array(arcs, dtype=np.int64)
        words = lattice.word[taken]
        return cls(
            taken,
            tuple(words[words != EPSILON].tolist()),
            float(lattice.graph[taken].sum() + lattice.final_graph[final_state]),
            float(lattice.acoustic[taken].sum() + lattice.final_acoustic[final_state]),
            final_state,
        )


def best_path(lattice: Lattice, acoustic_scale: float, word_penalty: float = 0.0) -> Path | None:
    """The path with the smallest cost, graph + ``acoustic_scale`` · acoustic + ``word_penalty`` · words.

    Kaldi: lattice-scale --acoustic-scale, lattice-add-penalty --word-ins-penalty, lattice-best-path.

    Returns:
        The path, or None if the lattice has no path.

    Raises:
        RescoreError: the lattice has a cycle.
    """
    return best_paths(lattice, [acoustic_scale], [word_penalty])[0]


def best_path_of(lattice: Lattice, words: Sequence[int], acoustic_scale: float) -> Path | None:
    """The path with the smallest cost, graph + ``acoustic_scale`` · acoustic, among those with just these words.

    Returns:
        The path, or None if the lattice has no such path.

    Raises:
        RescoreError: the lattice has a cycle.
    """
    if lattice.start < 0:
        return None
    costs = lattice.arc_costs(acoustic_scale)
    ends = lattice.final_costs(acoustic_scale)
    offsets = lattice.arc_offsets
    # For each state and number of words read: the cost of the cheapest path, and its last arc and the number before it.
    reached: dict[int, dict[int, tuple[float, int, int]]] = {lattice.start: {0: (0.0, -1, 0)}}
    for state in topological_order(lattice).tolist():
        for read, (cost, *_) in reached.get(state, {}).items():
            for arc in range(offsets[state], offsets[state + 1]):
                word = lattice.word[arc]
                if word != EPSILON and (read == len(words) or word != words[read]):
                    continue
                there = reached.setdefault(int(lattice.target[arc]), {})
                now_read = read + (word != EPSILON)
                total = cost + float(costs[arc])
                if now_read not in there or total < there[now_read][0]:
                    there[now_read] = total, arc, read
    found = {state: reads[len(words)][0] + ends[state] for state, reads in reached.items() if len(words) in reads}
    final = min(found, key=lambda state: found[state], default=-1)
    if final < 0 or not np.isfinite(found[final]):
        return None
    arcs: list[int] = []
    _, arc, read = reached[final][len(words)]
    while arc >= 0:
        arcs.append(arc)
        _, arc, read = reached[int(lattice.source[arc])][read]
    return Path.along(lattice, arcs[::-1], final)


def best_paths(
    lattice: Lattice, acoustic_scales: Sequence[float], word_penalties: Sequence[float]
) -> list[Path | None]:
    """:func:`best_path` for each pair of acoustic scale and word penalty, in one pass over the lattice."""
    scales = np.array(acoustic_scales)[:, None]  # (points, 1)
    penalties = np.array(word_penalties)[:, None]
    costs = lattice.arc_costs(scales) + penalties * (lattice.word != EPSILON)  # (points, arcs)
    cost_to_end = lattice.final_costs(scales)  # (points, states)
    best_arc = np.full(cost_to_end.shape, -1)  # −1: the path ends here
    offsets = lattice.arc_offsets.tolist()
    points = np.arange(len(scales))
    for state in topological_order(lattice)[::-1].tolist():
        low = offsets[state]
        high = offsets[state + 1]
        if low == high:
            continue
        ahead = costs[:, low:high] + cost_to_end[:, lattice.target[low:high]]  # (points, arcs of the state)
        arc = ahead.argmin(axis=1)
        cheapest = ahead[points, arc]
        better = cheapest < cost_to_end[:, state]
        cost_to_end[better, state] = cheapest[better]
        best_arc[better, state] = low + arc[better]
    return [_follow(lattice, best_arc[point], cost_to_end[point]) for point in points]


def _follow(lattice: Lattice, best_arc: np.ndarray, cost_to_end: np.ndarray) -> Path | None:
    state = lattice.start
    if state < 0 or not np.isfinite(cost_to_end[state]):
        return None
    arcs = []
    while best_arc[state] >= 0:
        arc = int(best_arc[state])
        arcs.append(arc)
        state = int(lattice.target[arc])
    return Path.along(lattice, arcs, state)


def costs_to_end(lattice: Lattice, acoustic_scale: float, word_penalty: float = 0.0) -> list[float]:
    """The cost of the cheapest path from each state to an end, including the final cost; inf if there is no path."""
    costs = (lattice.arc_costs(acoustic_scale) + word_penalty * (lattice.word != EPSILON)).tolist()
    cost_to_end: list[float] = lattice.final_costs(acoustic_scale).tolist()
    offsets = lattice.arc_offsets.tolist()
    targets = lattice.target.tolist()
    for state in topological_order(lattice)[::-1].tolist():
        cheapest = cost_to_end[state]
        for arc in range(offsets[state], offsets[state + 1]):
            cost = costs[arc] + cost_to_end[targets[arc]]
            if cost < cheapest:
                cheapest = cost
        cost_to_end[state] = cheapest
    return cost_to_end


def costs_from_start(lattice: Lattice, acoustic_scale: float) -> list[float]:
    """The cost of the cheapest path from the start to each state; inf if there is no path."""
    costs = lattice.arc_costs(acoustic_scale).tolist()
    offsets = lattice.arc_offsets.tolist()
    targets = lattice.target.tolist()
    from_start = [float("inf")] * lattice.num_states
    if lattice.start >= 0:
        from_start[lattice.start] = 0.0
    for state in topological_order(lattice).tolist():
        for arc in range(offsets[state], offsets[state + 1]):
            cost = from_start[state] + costs[arc]
            if cost < from_start[targets[arc]]:
                from_start[targets[arc]] = cost
    return from_start
