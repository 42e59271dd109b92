"""The property bits of an OpenFst header: what a file claims to be true of its FST."""

from __future__ import annotations

import numpy as np

from asr_rescore.lattice import EPSILON

# Bits 0 and 1 are facts of the file type "vector"; the others come in pairs (true, false), neither meaning unknown.
VECTOR = 0x3  # expanded, mutable
ACCEPTOR, NOT_ACCEPTOR = 1 << 16, 1 << 17
INPUT_DETERMINISTIC, OUTPUT_DETERMINISTIC = 1 << 18, 1 << 20
EPSILONS, NO_EPSILONS = 1 << 22, 1 << 23  # arcs with epsilon on both sides
INPUT_EPSILONS, NO_INPUT_EPSILONS = 1 << 24, 1 << 25
OUTPUT_EPSILONS, NO_OUTPUT_EPSILONS = 1 << 26, 1 << 27
INPUT_SORTED, NOT_INPUT_SORTED = 1 << 28, 1 << 29
OUTPUT_SORTED, NOT_OUTPUT_SORTED = 1 << 30, 1 << 31
WEIGHTED, UNWEIGHTED = 1 << 32, 1 << 33
ACYCLIC, INITIAL_ACYCLIC = 1 << 35, 1 << 37
TOP_SORTED, NOT_TOP_SORTED = 1 << 38, 1 << 39
ACCESSIBLE, COACCESSIBLE, STRING = 1 << 40, 1 << 42, 1 << 44
UNWEIGHTED_CYCLES = 1 << 47


def properties(
    source: np.ndarray,
    target: np.ndarray,
    ilabel: np.ndarray,
    olabel: np.ndarray,
    weighted: bool,
    states: int,
) -> int:
    """The bits that OpenFst knows of an FST built state by state and arc by arc, without looking at it as a whole.

    All of them are true of it. Arcs are given in order of their source; ``weighted`` tells whether any weight is
    neither one nor zero of its semiring.
    """
    same_state = source[1:] == source[:-1]

    def sorted_by(label: np.ndarray) -> bool:
        return not np.any(same_state & (label[1:] < label[:-1]))

    def either(condition: bool | np.bool_, true: int, false: int) -> int:
        return true if condition else false

    top_sorted = bool(np.all(target > source))
    bits = (
        VECTOR
        | either(np.all(ilabel == olabel), ACCEPTOR, NOT_ACCEPTOR)
        | either(np.any((ilabel == EPSILON) & (olabel == EPSILON)), EPSILONS, NO_EPSILONS)
        | either(np.any(ilabel == EPSILON), INPUT_EPSILONS, NO_INPUT_EPSILONS)
        | either(np.any(olabel == EPSILON), OUTPUT_EPSILONS, NO_OUTPUT_EPSILONS)
        | either(sorted_by(ilabel), INPUT_SORTED, NOT_INPUT_SORTED)
        | either(sorted_by(olabel), OUTPUT_SORTED, NOT_OUTPUT_SORTED)
        | either(weighted, WEIGHTED, UNWEIGHTED)
        | either(top_sorted, TOP_SORTED | ACYCLIC | INITIAL_ACYCLIC, NOT_TOP_SORTED)
    )
    if not len(source):  # what the first arc makes unknown
        bits |= INPUT_DETERMINISTIC | OUTPUT_DETERMINISTIC | UNWEIGHTED_CYCLES
    if not states:  # what the first state makes unknown
        bits |= ACCESSIBLE | COACCESSIBLE | STRING
    return bits
