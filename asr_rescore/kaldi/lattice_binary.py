"""Binary lattice entries: an FST with one of Kaldi's four lattice arc types, and the Lattice in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.kaldi.fst import LATTICE_TYPES, Fst, encode_fst, no_strings, read_fst
from asr_rescore.kaldi.state_level import expand
from asr_rescore.kaldi.stream import Window
from asr_rescore.lattice import Lattice, Ragged

REMEDY_COST = "decode the utterance again"
_REMEDY_TYPE = "convert it with Kaldi's lattice-copy"


@dataclass(frozen=True, eq=False, repr=False)
class ArchivedLattice(Lattice):
    """A lattice as it was read, with its header's property bits, so that a copy is identical to the byte.

    ``dataclasses.replace`` does not copy the header, because its bits may be wrong for a changed lattice.

    Attributes:
        header: arc type and property bits of the entry from which the lattice was read.
    """

    header: tuple[str, int | None] | None = field(default=None, init=False)


def read_binary(window: Window) -> Lattice:
    """Consume a binary lattice.

    Raises:
        BrokenArchive: the end of the entry is unknown.
        InputError: the entry was read to its end but is not a valid lattice.
    """
    fst = read_fst(window, LATTICE_TYPES, _REMEDY_TYPE)
    if fst.kind.strings:
        word = fst.ilabel
        alignment = fst.strings
        differing = np.flatnonzero(fst.ilabel != fst.olabel)
        if differing.size:
            found = f"arc {differing[0]} with words {fst.ilabel[differing[0]]} and {fst.olabel[differing[0]]}"
            raise window.error(found, "an acceptor (the same word on both sides)", REMEDY_COST)
    else:
        word = fst.olabel
        alignment = optional_items(fst.ilabel)
    lattice = build(
        window,
        ArchivedLattice,
        start=fst.start,
        source=fst.source,
        target=fst.target,
        word=word,
        costs=fst.costs,
        final_costs=fst.final_costs,
        alignment=alignment,
        final_alignment=fst.final_strings,
    )
    object.__setattr__(lattice, "header", (fst.kind.name, fst.properties))
    return lattice


def optional_items(values: np.ndarray) -> Ragged:
    """One list for each value: the value itself, or an empty list for a 0."""
    nonzero = values != 0
    return Ragged(values[nonzero], np.concatenate([[0], np.cumsum(nonzero)]))


def first_ids(items: Ragged) -> np.ndarray:
    """The inverse of :func:`optional_items`: the value of each list, or 0 for an empty one."""
    ids = np.zeros(len(items), np.int32)
    ids[np.diff(items.offsets) > 0] = items.values
    return ids


def build(
    window: Window,
    kind: type[Lattice],
    *,
    start: int,
    source: np.ndarray,
    target: np.ndarray,
    word: np.ndarray,
    costs: np.ndarray,
    final_costs: np.ndarray,
    alignment: Ragged,
    final_alignment: Ragged,
) -> Lattice:
    """Check what was read and make a lattice from it.

    Args:
        window: what the entry was read from, for error messages.
        kind: the class of the lattice.
        start, source, target, word, alignment, final_alignment: as in :class:`Lattice`.
        costs: float64 (arcs, 2), graph and acoustic cost.
        final_costs: float64 (states, 2), the same for final weights; both are inf for states that are not final.

    Raises:
        InputError: a cost is not finite, a word is negative, or an arc leads to a state that does not exist.
    """
    bad = np.flatnonzero(~np.isfinite(costs).all(axis=1))
    if bad.size:
        arc = int(bad[0])
        where = f"costs {costs[arc, 0]:g},{costs[arc, 1]:g} on the arc from state {source[arc]} to {target[arc]}"
        raise window.error(f"{where}, word {word[arc]}", "finite costs", REMEDY_COST)
    bad = np.flatnonzero(~np.isfinite(final_costs).all(axis=1) & ~np.isposinf(final_costs).all(axis=1))
    if bad.size:
        state = int(bad[0])
        found = f"costs {final_costs[state, 0]:g},{final_costs[state, 1]:g} on final state {state}"
        raise window.error(found, "finite costs, or inf,inf for a state that is not final", REMEDY_COST)
    if len(word) and word.min() < 0:
        raise window.error(f"word {word.min()}", "word ids from 0", REMEDY_COST)
    try:
        return kind(
            start,
            source,
            target,
            word,
            costs[:, 0].copy(),
            costs[:, 1].copy(),
            final_costs[:, 0].copy(),
            final_costs[:, 1].copy(),
            alignment,
            final_alignment,
        )
    except RescoreError as error:
        raise window.error(f"an invalid graph ({error})", "a lattice", REMEDY_COST) from error


def arc_type(compact: bool, double: bool) -> str:
    """The name of Kaldi's arc type for such lattices."""
    return ("compactlattice" if compact else "lattice") + ("8" if double else "4") + ("4" if compact else "")


def encode_binary(lattice: Lattice, *, compact: bool, double: bool) -> bytes:
    """The bytes of an entry, without its key.

    Raises:
        RescoreError: a cost does not fit into a float.
    """
    kind = LATTICE_TYPES[arc_type(compact, double)]
    properties = None
    if isinstance(lattice, ArchivedLattice) and lattice.header is not None and lattice.header[0] == kind.name:
        properties = lattice.header[1]
    if compact:
        ilabel = lattice.word
        strings = lattice.alignment
        final_strings = lattice.final_alignment
    else:
        lattice = expand(lattice)
        ilabel = first_ids(lattice.alignment)
        strings = no_strings(lattice.num_arcs)
        final_strings = no_strings(lattice.num_states)
    return encode_fst(
        Fst(
            kind,
            lattice.start,
            lattice.source,
            lattice.target,
            ilabel,
            lattice.word,
            np.stack([lattice.graph, lattice.acoustic], axis=1),
            np.stack([lattice.final_graph, lattice.final_acoustic], axis=1),
            strings,
            final_strings,
            properties,
        )
    )
