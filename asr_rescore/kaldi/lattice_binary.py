"""Binary lattice entries: an FST of one of Kaldi's four lattice arc types, and the Lattice it holds."""

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


@dataclass(frozen=True, eq=False)
class ArchivedLattice(Lattice):
    """A lattice just as an archive held it, with what its header claimed, so that a copy is identical to the byte.

    Whatever is derived from it with ``dataclasses.replace`` claims nothing: the field is not carried over.

    Attributes:
        header: arc type and property bits of the entry it was read from.
    """

    header: tuple[str, int] | None = field(default=None, init=False)


def read_binary(window: Window) -> Lattice:
    """Consume a binary lattice.

    Raises:
        BrokenArchive: where the entry ends cannot be told.
        InputError: the entry was read to its end but is no sound lattice.
    """
    fst = read_fst(window, LATTICE_TYPES, _REMEDY_TYPE)
    if fst.kind.strings:
        word, alignment = fst.ilabel, fst.strings
        differing = np.flatnonzero(fst.ilabel != fst.olabel)
        if differing.size:
            found = f"arc {differing[0]} with words {fst.ilabel[differing[0]]} and {fst.olabel[differing[0]]}"
            raise window.error(found, "an acceptor: the same word on both sides", REMEDY_COST)
    else:
        word, alignment = fst.olabel, optional_items(fst.ilabel)
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
    """Lists of one value each, those with a 0 being empty."""
    there = values != 0
    return Ragged(values[there], np.concatenate([[0], np.cumsum(there)]))


def first_ids(items: Ragged) -> np.ndarray:
    """The reverse: the value of each list of at most one, 0 for none."""
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
    """A lattice of what was read, checked; ``costs`` are (arcs, 2), graph and acoustic.

    Raises:
        InputError: a cost that is not a number, a negative word, an arc to a state that does not exist.
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
        raise window.error(found, "finite costs, or both infinite in a state that is not final", REMEDY_COST)
    if len(word) and word.min() < 0:
        raise window.error(f"word {word.min()}", "words from 0 on", REMEDY_COST)
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
        raise window.error(f"an unsound graph ({error})", "a lattice", REMEDY_COST) from error


def arc_type(compact: bool, double: bool) -> str:
    """Name of Kaldi's arc type."""
    return ("compactlattice" if compact else "lattice") + ("8" if double else "4") + ("4" if compact else "")


def encode_binary(lattice: Lattice, *, compact: bool, double: bool) -> bytes:
    """The bytes of an entry behind its key.

    Raises:
        RescoreError: a cost does not fit into a float.
    """
    kind = LATTICE_TYPES[arc_type(compact, double)]
    header = lattice.header if isinstance(lattice, ArchivedLattice) else None
    claimed = header[1] if header is not None and header[0] == kind.name else None
    lattice = lattice if compact else expand(lattice)
    if compact:
        ilabel, strings, final_strings = lattice.word, lattice.alignment, lattice.final_alignment
    else:
        ilabel = first_ids(lattice.alignment)
        strings, final_strings = no_strings(lattice.num_arcs), no_strings(lattice.num_states)
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
            claimed,
        )
    )
