"""Small random lattices, and everything about them by trying all their paths."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from asr_rescore.lattice import Lattice, Ragged


def lattice_of(
    arcs: list[tuple[int, int, int, float, float]], finals: dict[int, tuple[float, float]], states: int, start: int = 0
) -> Lattice:
    """Arcs as (source, target, word, graph, acoustic), finals as state → (graph, acoustic); arc i aligned to [i, i]."""
    order = sorted(range(len(arcs)), key=lambda arc: arcs[arc][0])
    rows = [arcs[arc] for arc in order]
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0)] * 5
    final = np.full((2, states), np.inf)
    for state, costs in finals.items():
        final[:, state] = costs
    return Lattice(
        start,
        columns[0].astype(np.int64),
        columns[1].astype(np.int64),
        columns[2].astype(np.int32),
        columns[3].astype(np.float64),
        columns[4].astype(np.float64),
        final[0],
        final[1],
        Ragged.from_lists([[arc + 1, arc + 1] for arc in order]),
        Ragged.from_lists([[100 + state] if state in finals else [] for state in range(states)]),
    )


COSTS = st.integers(0, 40).map(lambda quarter: quarter / 4)  # exact in binary, so that equal sums are equal


@st.composite
def random_lattices(draw: st.DrawFn, max_states: int = 6) -> Lattice:
    """Acyclic, with epsilons, duplicates, dead ends, unreachable and shuffled states."""
    states = draw(st.integers(1, max_states))
    number = draw(st.permutations(range(states)))
    pairs = [(low, high) for high in range(states) for low in range(high)]
    arcs = []
    for low, high in draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []:
        arcs.append((number[low], number[high], draw(st.integers(0, 3)), draw(COSTS), draw(COSTS)))
    finals = draw(st.dictionaries(st.sampled_from(range(states)), st.tuples(COSTS, COSTS), max_size=3))
    return lattice_of(arcs, finals, states, start=number[0])


def all_paths(lattice: Lattice) -> list[tuple[tuple[int, ...], float, float, tuple[int, ...]]]:
    """Every path: (words, graph, acoustic, arcs)."""
    found = []

    def walk(state: int, words: tuple[int, ...], graph: float, acoustic: float, arcs: tuple[int, ...]) -> None:
        if np.isfinite(lattice.final_graph[state]):
            costs = graph + lattice.final_graph[state], acoustic + lattice.final_acoustic[state]
            found.append((words, *costs, arcs))
        for arc in np.flatnonzero(lattice.source == state).tolist():
            word = int(lattice.word[arc])
            walk(
                int(lattice.target[arc]),
                (*words, word) if word else words,
                graph + lattice.graph[arc],
                acoustic + lattice.acoustic[arc],
                (*arcs, arc),
            )

    if lattice.start >= 0:
        walk(lattice.start, (), 0.0, 0.0, ())
    return found
