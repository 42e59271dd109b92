"""Lattices made from lattices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from asr_rescore.lattice.graph import Lattice, Ragged
from asr_rescore.lattice.order import select
from asr_rescore.lattice.paths import Path, costs_from_start, costs_to_end


def scale(lattice: Lattice, graph: float = 1.0, acoustic: float = 1.0) -> Lattice:
    """All costs multiplied (Kaldi: lattice-scale --lm-scale --acoustic-scale); states that are not final stay so."""
    final = lattice.is_final
    return replace(
        lattice,
        graph=graph * lattice.graph,
        acoustic=acoustic * lattice.acoustic,
        final_graph=np.where(final, graph * np.where(final, lattice.final_graph, 0.0), np.inf),
        final_acoustic=np.where(final, acoustic * np.where(final, lattice.final_acoustic, 0.0), np.inf),
    )


def prune(lattice: Lattice, beam: float, acoustic_scale: float) -> Lattice:
    """What lies on a path no more than ``beam`` dearer than the best one, at ``acoustic_scale``; costs unchanged.

    Kaldi: lattice-prune.
    """
    from_start, to_end = (np.array(f(lattice, acoustic_scale)) for f in (costs_from_start, costs_to_end))
    if lattice.start < 0 or not np.isfinite(to_end[lattice.start]):
        nothing = np.zeros(lattice.num_states, dtype=bool)
        return select(lattice, nothing, np.zeros(lattice.num_arcs, dtype=bool))
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
    """A prefix tree of some paths, whose graph costs become the given ones.

    Arcs keep their costs, alignments and so their times; the difference goes onto each path's final weight. Kaldi's
    linear-to-nbest and nbest-to-lattice put a whole sentence's alignment onto its first word instead.

    Args:
        lattice: what the paths run through.
        paths: no two over the same arcs.
        graph_costs: the total graph cost each is to have.
    """
    following: dict[tuple[int, int], int] = {}
    sources: list[int] = []
    arcs: list[int] = []
    ends: list[int] = []
    for path in paths:
        state = 0
        for arc in path.arcs.tolist():
            target = following.setdefault((state, arc), len(arcs) + 1)
            if target > len(arcs):  # arc i leads to state i + 1
                sources.append(state)
                arcs.append(arc)
            state = target
        ends.append(state)
    states = len(arcs) + 1
    final_graph, final_acoustic = np.full(states, np.inf), np.full(states, np.inf)
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
