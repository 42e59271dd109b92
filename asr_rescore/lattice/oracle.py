"""The path of a lattice that has the fewest errors against a reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import topological_order
from asr_rescore.lattice.paths import Path

UNREACHED = 1 << 40


def oracle(lattice: Lattice, reference: Sequence[int]) -> tuple[Path, int] | None:
    """The path with the smallest edit distance to ``reference``, and that distance (Kaldi: lattice-oracle).

    Args:
        lattice: an acyclic lattice.
        reference: word ids. Use any id that no arc has, such as −1, for a word without an id.

    Returns:
        The path and its number of word errors, or None if the lattice has no path.

    Raises:
        RescoreError: the lattice has a cycle.
    """
    words = np.array(reference, dtype=np.int64)
    steps = np.arange(len(words) + 1)
    # errors[s, j]: fewest errors of a path from the start to s against the first j words of the reference.
    errors = np.full((lattice.num_states, len(words) + 1), UNREACHED, dtype=np.int64)
    if lattice.start < 0:
        return None
    errors[lattice.start] = steps
    offsets = lattice.arc_offsets
    for state in topological_order(lattice).tolist():
        here = errors[state]
        # Skipping words of the reference is a running minimum in which each step costs one error.
        np.minimum(here, np.minimum.accumulate(here - steps) + steps, out=here)
        if here[0] >= UNREACHED and here.min() >= UNREACHED:
            continue
        for arc in range(offsets[state], offsets[state + 1]):
            ahead = errors[lattice.target[arc]]
            word = lattice.word[arc]
            if word == EPSILON:
                np.minimum(ahead, here, out=ahead)
            else:
                np.minimum(ahead, here + 1, out=ahead)
                np.minimum(ahead[1:], here[:-1] + (words != word), out=ahead[1:])
    ends = np.flatnonzero(lattice.is_final)
    if not ends.size or errors[ends, -1].min() >= UNREACHED:
        return None
    final = int(ends[errors[ends, -1].argmin()])
    return Path.along(lattice, _trace(lattice, errors, words, final), final), int(errors[final, -1])


def _trace(lattice: Lattice, errors: np.ndarray, words: np.ndarray, final: int) -> list[int]:
    """The arcs of a path that ends in ``final`` and has the number of errors found. It is traced from its end."""
    into = np.argsort(lattice.target, kind="stable")
    offsets = np.searchsorted(lattice.target[into], np.arange(lattice.num_states + 1))
    arcs: list[int] = []
    state = final
    j = len(words)
    while state != lattice.start or errors[state, j] != j:
        step = _step_back(lattice, errors, words, into[offsets[state] : offsets[state + 1]], state, j)
        if step is None:
            j -= 1
        else:
            arc, j = step
            arcs.append(arc)
            state = int(lattice.source[arc])
    return arcs[::-1]


def _step_back(
    lattice: Lattice, errors: np.ndarray, words: np.ndarray, arcs: np.ndarray, state: int, j: int
) -> tuple[int, int] | None:
    """The arc by which (state, j) was reached and the j before it; None if the j-th word was skipped.

    ``arcs`` are the arcs that enter the state.
    """
    there = errors[state, j]
    for arc in arcs.tolist():
        before = errors[lattice.source[arc]]
        word = lattice.word[arc]
        if word == EPSILON:
            if before[j] == there:
                return arc, j
        elif j and before[j - 1] + (words[j - 1] != word) == there:
            return arc, j - 1
        elif before[j] + 1 == there:
            return arc, j
    return None
