"""The property bits of an OpenFst header: what a file claims about its FST."""

from __future__ import annotations

import numpy as np

from asr_rescore.lattice import EPSILON

VECTOR = 0x3  # bits 0 and 1, expanded and mutable: true of every file of type "vector"
# The other bits come in pairs: one for "true" and the next higher one for "false". If neither is set, the property is
# unknown. Bits for "true":
ACCEPTOR = 1 << 16
INPUT_DETERMINISTIC = 1 << 18
OUTPUT_DETERMINISTIC = 1 << 20
EPSILONS = 1 << 22  # an arc has epsilon on both sides
INPUT_EPSILONS = 1 << 24
OUTPUT_EPSILONS = 1 << 26
INPUT_SORTED = 1 << 28
OUTPUT_SORTED = 1 << 30
WEIGHTED = 1 << 32
TOP_SORTED = 1 << 38
ACCESSIBLE = 1 << 40
COACCESSIBLE = 1 << 42
STRING = 1 << 44
# Bits for "false" of the pairs cyclic, initial cyclic and weighted cycles:
ACYCLIC = 1 << 35
INITIAL_ACYCLIC = 1 << 37
UNWEIGHTED_CYCLES = 1 << 47


def properties(
    source: np.ndarray,
    target: np.ndarray,
    ilabel: np.ndarray,
    olabel: np.ndarray,
    weighted: bool,
    states: int,
) -> int:
    """The bits that OpenFst would know for an FST that is built state by state and arc by arc. All of them are true.

    Args:
        source, target, ilabel, olabel: (arcs,), ordered by source.
        weighted: whether any weight is neither one nor zero of its semiring.
        states: the number of states.
    """
    same_state = source[1:] == source[:-1]

    def is_sorted(label: np.ndarray) -> bool:
        return not np.any(same_state & (label[1:] < label[:-1]))

    def pair(bit: int, holds: bool | np.bool_) -> int:
        return bit if holds else bit << 1

    top_sorted = bool(np.all(target > source))
    bits = (
        VECTOR
        | pair(ACCEPTOR, np.all(ilabel == olabel))
        | pair(EPSILONS, np.any((ilabel == EPSILON) & (olabel == EPSILON)))
        | pair(INPUT_EPSILONS, np.any(ilabel == EPSILON))
        | pair(OUTPUT_EPSILONS, np.any(olabel == EPSILON))
        | pair(INPUT_SORTED, is_sorted(ilabel))
        | pair(OUTPUT_SORTED, is_sorted(olabel))
        | pair(WEIGHTED, weighted)
        | pair(TOP_SORTED, top_sorted)
    )
    if top_sorted:
        bits |= ACYCLIC | INITIAL_ACYCLIC
    if not len(source):  # the first arc makes these unknown
        bits |= INPUT_DETERMINISTIC | OUTPUT_DETERMINISTIC | UNWEIGHTED_CYCLES
    if not states:  # the first state makes these unknown
        bits |= ACCESSIBLE | COACCESSIBLE | STRING
    return bits
