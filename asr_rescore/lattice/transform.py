"""Lattices made from other lattices: scaled, pruned, or the prefix tree of some paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asr_rescore.lattice.graph import Lattice, Ragged
from asr_rescore.lattice.order import select
from asr_rescore.lattice.paths import Path, costs_from_start, costs_to_end


def scale(lattice: Lattice, graph: float = 1.0, acoustic: float = 1.0) -> Lattice:
    """The lattice with its graph and acoustic costs multiplied (Kaldi: lattice-scale --lm-scale --acoustic-scale).

    States that are not final stay so, even if a scale is 0.
    """
    final = lattice.is_final
    return replace(
        lattice,
        graph=graph * lattice.graph,
        acoustic=acoustic * lattice.acoustic,
        final_graph=np.where(final, graph * np.where(final, lattice.final_graph, 0.0), np.inf),
        final_acoustic=np.where(final, acoustic * np.where(final, lattice.final_acoustic, 0.0), np.inf),
    )


def prune(lattice: Lattice, beam: float, acoustic_scale: float) -> Lattice:
    """The states and arcs on paths that cost at most ``beam`` more than the best path (Kaldi: lattice-prune).

    Args:
        lattice: an acyclic lattice.
        beam: the pruning beam.
        acoustic_scale: paths are compared by graph + ``acoustic_scale`` · acoustic. The costs in the result are the
            original ones.
    """
    from_start = np.array(costs_from_start(lattice, acoustic_scale))
    to_end = np.array(costs_to_end(lattice, acoustic_scale))
    if lattice.start < 0 or not np.isfinite(to_end[lattice.start]):
        return select(lattice, np.zeros(lattice.num_states, dtype=bool), np.zeros(lattice.num_arcs, dtype=bool))
    limit = to_end[lattice.start] + beam
    states = from_start + to_end <= limit
    arcs = from_start[lattice.source] + lattice.arc_costs(acoustic_scale) + to_end[lattice.target] <= limit
    ends = from_start + lattice.final_costs(acoustic_scale) <= limit
    kept = replace(
        lattice,
        final_graph=np.where(ends, lattice.final_graph, np.inf),
        final_acoustic=np.where(ends, lattice.final_acoustic, np.inf),
    )
    return select(kept, states, arcs & states[lattice.source] & states[lattice.target])


def from_paths(lattice: Lattice, paths: Sequence[Path], graph_costs: Sequence[float] | np.ndarray) -> Lattice:
    """The prefix tree of some paths, with new total graph costs.

    Arcs keep their costs and their alignments, and with these their times. The difference to the new graph cost is
    added to the final weight of each path. (Kaldi's linear-to-nbest and nbest-to-lattice instead put the alignment of
    a whole sentence on its first word.)

    Args:
        lattice: the lattice of the paths.
        paths: paths that differ in their arcs.
        graph_costs: the new total graph cost of each path.
    """
    following: dict[tuple[int, int], int] = {}
    sources: list[int] = []
    arcs: list[int] = []
    ends: list[int] = []
    for path in paths:
        state = 0
        for arc in path.arcs.tolist():
            target = following.setdefault((state, arc), len(arcs) + 1)
            if target > len(arcs):  # a new state: arc i of the tree leads to state i + 1
                sources.append(state)
                arcs.append(arc)
            state = target
        ends.append(state)
    states = len(arcs) + 1
    final_graph = np.full(states, np.inf)
    final_acoustic = np.full(states, np.inf)
    final_alignment = [np.empty(0, dtype=np.int32)] * states
    for path, end, cost in zip(paths, ends, graph_costs, strict=True):
        final_graph[end] = lattice.final_graph[path.final_state] + (cost - path.graph)
        final_acoustic[end] = lattice.final_acoustic[path.final_state]
        final_alignment[end] = lattice.final_alignment[path.final_state]
    by_source = np.argsort(sources, kind="stable")
    taken = np.array(arcs, dtype=np.int64)[by_source]
    return Lattice(
        0 if paths else -1,
        np.array(sources, dtype=np.int64)[by_source],
        by_source + 1,
        lattice.word[taken],
        lattice.graph[taken],
        lattice.acoustic[taken],
        final_graph,
        final_acoustic,
        lattice.alignment.take(taken),
        Ragged.from_lists(final_alignment),
    )
