"""Small random lattices, and their properties computed from all their paths."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from asr_rescore.lattice import Lattice, Ragged


def lattice_of(
    arcs: list[tuple[int, int, int, float, float]], finals: dict[int, tuple[float, float]], states: int, start: int = 0
) -> Lattice:
    """A lattice of arcs (source, target, word, graph, acoustic) and finals, state → (graph, acoustic).

    Each arc is two frames long.
    """
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
    """Acyclic lattices with epsilons, duplicates, dead ends, unreachable states, and states in any order."""
    states = draw(st.integers(1, max_states))
    number = draw(st.permutations(range(states)))
    pairs = [(low, high) for high in range(states) for low in range(high)]
    arcs = []
    for low, high in draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []:
        arcs.append((number[low], number[high], draw(st.integers(0, 3)), draw(COSTS), draw(COSTS)))
    finals = draw(st.dictionaries(st.sampled_from(range(states)), st.tuples(COSTS, COSTS), max_size=3))
    return lattice_of(arcs, finals, states, start=number[0])


def all_paths(lattice: Lattice) -> list[tuple[tuple[int, ...], float, float, tuple[int, ...]]]:
    """All paths as (words, graph, acoustic, arcs)."""
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


def path_probabilities(lattice: Lattice, acoustic_scale: float, penalty: float) -> tuple[list, np.ndarray, float]:
    """All paths, the probability of each, and ln of their summed weight."""
    paths = all_paths(lattice)
    costs = [graph + acoustic_scale * acoustic + penalty * len(words) for words, graph, acoustic, _ in paths]
    total = np.logaddexp.reduce(-np.array(costs)) if paths else -np.inf
    return paths, np.exp(-np.array(costs) - total), float(total)


def edit_distance(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """The word-level edit distance of two sentences."""
    row = list(range(len(right) + 1))
    for i, word in enumerate(left, 1):
        before = row
        row = [i]
        for j, other in enumerate(right, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other)))
    return row[-1]
