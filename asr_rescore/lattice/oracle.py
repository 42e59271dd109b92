"""The path with the fewest errors against a reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import topological_order
from asr_rescore.lattice.paths import Path

UNREACHED = 1 << 40


def oracle(lattice: Lattice, reference: Sequence[int]) -> tuple[Path, int] | None:
    """The path with the least edit distance to ``reference``, and that distance (Kaldi: lattice-oracle).

    Args:
        lattice: any acyclic one.
        reference: word ids; any number that no arc has stands for a word the lattice does not know.

    Returns:
        None where the lattice has no path.
    """
    words = np.array(reference, dtype=np.int64)
    steps = np.arange(len(words) + 1)
    # errors[s, j]: least errors of a way from the start to s against the first j words of the reference.
    errors = np.full((lattice.num_states, len(words) + 1), UNREACHED, dtype=np.int64)
    if lattice.start < 0:
        return None
    errors[lattice.start] = steps
    offsets = lattice.arc_offsets
    for state in topological_order(lattice).tolist():
        here = errors[state]
        # Words of the reference left out: a running minimum, each step costing one.
        np.minimum(here, np.minimum.accumulate(here - steps) + steps, out=here)
        if here[0] >= UNREACHED and here.min() >= UNREACHED:
            continue
        for arc in range(offsets[state], offsets[state + 1]):
            ahead, word = errors[lattice.target[arc]], lattice.word[arc]
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
    """The arcs of a way that has the errors found, from its end back."""
    into = np.argsort(lattice.target, kind="stable")
    offsets = np.searchsorted(lattice.target[into], np.arange(lattice.num_states + 1))
    arcs: list[int] = []
    state, j = final, len(words)
    while state != lattice.start or errors[state, j] != j:
        came = _step_back(lattice, errors, words, into[offsets[state] : offsets[state + 1]], state, j)
        if came is None:
            j -= 1
        else:
            arc, j = came
            arcs.append(arc)
            state = int(lattice.source[arc])
    return arcs[::-1]


def _step_back(
    lattice: Lattice, errors: np.ndarray, words: np.ndarray, arcs: np.ndarray, state: int, j: int
) -> tuple[int, int] | None:
    """The arc by which (state, j) was reached and the j before it; None if the j-th word was left out."""
    there = errors[state, j]
    for arc in arcs.tolist():
        before, word = errors[lattice.source[arc]], lattice.word[arc]
        if word == EPSILON:
            if before[j] == there:
                return arc, j
        elif j and before[j - 1] + (words[j - 1] != word) == there:
            return arc, j - 1
        elif before[j] + 1 == there:
            return arc, j
    return None
