"""A CompactLattice as Kaldi's state-level Lattice: at most one transition id per arc, none on final weights."""

from __future__ import annotations

import numpy as np

from asr_rescore.kaldi.fst import no_strings, within
from asr_rescore.lattice import EPSILON, Lattice, Ragged


def expand(lattice: Lattice) -> Lattice:
    """Replace each arc and final weight that has too many transition ids for a state-level arc by a chain of arcs.

    States are numbered as by Kaldi's ConvertLattice: first the old states, then those of the chains, ordered by the
    state from which the chain starts, its final weight before its arcs. The first arc of a chain has the word and the
    costs.
    """
    lengths = np.diff(lattice.alignment.offsets)
    final_lengths = np.diff(lattice.final_alignment.offsets)
    if not np.any(lengths > 1) and not np.any(final_lengths):
        return lattice

    # An item is a final weight with transition ids, or an arc. Items are in the order in which chains are made.
    finals = np.flatnonzero(lattice.is_final & (final_lengths > 0))
    arcs = np.arange(lattice.num_arcs)
    order = np.argsort(np.concatenate([finals, lattice.source]), kind="stable")

    def items(of_finals: np.ndarray, of_arcs: np.ndarray) -> np.ndarray:
        return np.concatenate([of_finals, of_arcs])[order]

    ids = items(final_lengths[finals], lengths)
    chain = np.maximum(ids, 1)  # how many arcs replace the item
    is_arc = items(np.zeros(len(finals), bool), np.ones(len(arcs), bool))
    fresh = chain - is_arc  # how many states this adds; the chain of an arc ends in an old state
    base = lattice.num_states + np.cumsum(fresh) - fresh
    begin = items(
        lattice.final_alignment.offsets[finals], lattice.alignment.offsets[:-1] + len(lattice.final_alignment.values)
    )
    values = np.concatenate([lattice.final_alignment.values, lattice.alignment.values])

    # The new arcs: which item each belongs to, and its place in the chain.
    item = np.repeat(np.arange(len(chain)), chain)
    place = within(chain)
    first = place == 0
    old_source = items(finals, lattice.source)
    old_target = items(np.zeros_like(finals), lattice.target)
    source = np.where(first, old_source[item], base[item] + place - 1)
    target = np.where(is_arc[item] & (place == chain[item] - 1), old_target[item], base[item] + place)
    word = np.where(first, items(np.full(len(finals), EPSILON), lattice.word)[item], EPSILON)
    graph = np.where(first, items(lattice.final_graph[finals], lattice.graph)[item], 0.0)
    acoustic = np.where(first, items(lattice.final_acoustic[finals], lattice.acoustic)[item], 0.0)
    has_id = ids[item] > 0

    final_graph = np.concatenate([lattice.final_graph, np.full(int(fresh.sum()), np.inf)])
    final_acoustic = np.concatenate([lattice.final_acoustic, np.full(int(fresh.sum()), np.inf)])
    chain_ends = (base + fresh - 1)[~is_arc]
    for costs in (final_graph, final_acoustic):
        costs[finals] = np.inf
        costs[chain_ends] = 0.0

    by_source = np.argsort(source, kind="stable")
    ends = np.concatenate([[0], np.cumsum(has_id[by_source])])
    transition = np.zeros(len(item), np.int32)
    transition[has_id] = values[(begin[item] + place)[has_id]]
    return Lattice(
        lattice.start,
        source[by_source],
        target[by_source],
        word[by_source].astype(np.int32),
        graph[by_source],
        acoustic[by_source],
        final_graph,
        final_acoustic,
        Ragged(transition[by_source][has_id[by_source]], ends),
        no_strings(len(final_graph)),
    )
