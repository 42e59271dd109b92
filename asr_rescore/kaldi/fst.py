"""OpenFst's binary vector format, as far as lattices and word grammars use it. FSTs are read and written as a whole.

Layout (all little endian): magic int32; FST type and arc type, each int32 length and bytes; version int32; flags int32;
properties uint64; start, states, arcs int64; symbol tables if the flags announce them; then for each state its final
weight, its number of arcs int64 and the arcs: input label, output label int32, weight, next state int32. The weight of
a compact lattice ends with an int32 count and that many int32 transition ids.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.kaldi.properties import properties
from asr_rescore.kaldi.stream import BrokenArchive, Window
from asr_rescore.lattice import Ragged

MAGIC = struct.pack("<i", 2125659606)
_SYMBOLS_MAGIC = struct.pack("<i", 2125658996)
_VERSION = 2
_INPUT_SYMBOLS = 1
_OUTPUT_SYMBOLS = 2
_REST = struct.Struct("<iiQqqq")
_UNCOUNTED = -1  # the number of states of an FST that was written as a stream: its states end with the file
# Larger numbers are not believed to be lengths or counts.
_LONGEST_STRING = 1 << 23  # transition ids: the frames of a day
_LONGEST_NAME = 1 << 12
_MOST_STATES = 1 << 31
_MOST_ARCS = 1 << 24  # of one state; the unigram state of a grammar has one arc per word
_FIRST_GUESS = 1 << 17  # bytes read before the states are parsed for the first time
_REMEDY = "make the file again"


@dataclass(frozen=True)
class ArcType:
    """How weights are stored.

    Attributes:
        name: the name in the header.
        costs: how many numbers a weight has.
        cost: the numpy type of these numbers.
        strings: whether transition ids follow the numbers.
    """

    name: str
    costs: int
    cost: str
    strings: bool

    @property
    def cost_words(self) -> int:
        """How many 32-bit words the numbers of one weight occupy."""
        return self.costs * np.dtype(self.cost).itemsize // 4


STANDARD = ArcType("standard", 1, "<f4", False)
LATTICE_TYPES = {
    kind.name: kind
    for kind in (
        ArcType("compactlattice44", 2, "<f4", True),
        ArcType("compactlattice84", 2, "<f8", True),
        ArcType("lattice4", 2, "<f4", False),
        ArcType("lattice8", 2, "<f8", False),
    )
}


@dataclass(frozen=True, eq=False)
class Fst:
    """An FST as it is in a file.

    Attributes:
        kind: how the weights are stored.
        start: the start state; −1 if there is none.
        source, target: int64 (arcs,), states; arcs are ordered by source.
        ilabel, olabel: int32 (arcs,), input and output labels.
        costs: float64 (arcs, kind.costs).
        final_costs: float64 (states, kind.costs); inf for states that are not final.
        strings, final_strings: transition ids of arcs and final weights; empty items if the kind has none.
        properties: property bits of the header; if None, they are computed when the FST is written.
    """

    kind: ArcType
    start: int
    source: np.ndarray
    target: np.ndarray
    ilabel: np.ndarray
    olabel: np.ndarray
    costs: np.ndarray
    final_costs: np.ndarray
    strings: Ragged
    final_strings: Ragged
    properties: int | None = None


def no_strings(items: int) -> Ragged:
    """A Ragged of ``items`` empty lists."""
    return Ragged(np.empty(0, np.int32), np.zeros(items + 1, np.int64))


def read_fst(window: Window, kinds: dict[str, ArcType], remedy: str) -> Fst:
    """Consume one FST. No memory is allocated for the sizes in its header until the data confirm them.

    Args:
        window: must be at the magic number.
        kinds: the accepted arc types, by name.
        remedy: what the user can do about an FST of another type.

    Raises:
        BrokenArchive: it is not an FST of these types, or it is cut off.
    """
    lead = window.peek(4)
    if len(lead) < 4 and MAGIC.startswith(lead):
        raise window.cut_off()
    if lead != MAGIC:
        raise window.error(
            f"bytes {lead!r}", "a binary FST (magic number d6 fd b2 7e)", "check the file", BrokenArchive
        )
    window.skip(4)
    fst_type = _name(window)
    arc_type = _name(window)
    if fst_type != "vector" or arc_type not in kinds:
        found = f"an FST of type {fst_type!r} with {arc_type!r} arcs"
        raise window.error(found, f"vector with {' or '.join(kinds)}", remedy, BrokenArchive)
    kind = kinds[arc_type]
    _, flags, bits, start, states, _ = _REST.unpack(window.take(_REST.size))
    if not _UNCOUNTED <= states < _MOST_STATES:
        raise window.error(f"{states} states", "a plausible number", _REMEDY, BrokenArchive)
    for flag in (_INPUT_SYMBOLS, _OUTPUT_SYMBOLS):
        if flags & flag:
            _skip_symbols(window)
    words, at = _read_states(window, states, kind)
    window.skip(4 * at.end)

    finals = at.finals
    arcs = at.arcs
    width = kind.cost_words
    if kind.strings:
        strings = _gather_strings(words, arcs + 2 + width)
        final_strings = _gather_strings(words, finals + width)
        target = arcs + 3 + width + np.diff(strings.offsets)
    else:
        strings = no_strings(len(arcs))
        final_strings = no_strings(len(finals))
        target = arcs + 2 + width
    return Fst(
        kind,
        start,
        np.repeat(np.arange(len(finals)), at.counts),
        words[target].astype(np.int64),
        words[arcs],
        words[arcs + 1],
        _gather_costs(words, arcs + 2, kind),
        _gather_costs(words, finals, kind),
        strings,
        final_strings,
        bits,
    )


def _name(window: Window) -> str:
    (length,) = struct.unpack("<i", window.take(4))
    if not 0 <= length <= _LONGEST_NAME:
        raise window.error(f"a name of {length} bytes", "an FST header", _REMEDY, BrokenArchive)
    return window.take(length).decode("utf-8", errors="replace")


def _skip_symbols(window: Window) -> None:
    if window.take(4) != _SYMBOLS_MAGIC:
        raise window.error("no symbol table", "one, as the header's flags say", _REMEDY, BrokenArchive)
    _name(window)
    _, size = struct.unpack("<qq", window.take(16))
    for _ in range(size):
        _name(window)
        window.take(8)


@dataclass(frozen=True, eq=False)
class _Positions:
    """Where states and arcs are in the data, counted in 32-bit words.

    Attributes:
        finals: int64 (states,), the beginning of each state, which is its final weight.
        counts: int64 (states,), how many arcs each state has.
        arcs: int64 (arcs,), the beginning of each arc.
        end: the position after the last state.
    """

    finals: np.ndarray
    counts: np.ndarray
    arcs: np.ndarray
    end: int


def _read_states(window: Window, states: int, kind: ArcType) -> tuple[np.ndarray, _Positions]:
    """Find all states and arcs; returns the data as an int32 array and the positions in it.

    Every field is a multiple of 32 bits, so the states are an array of 32-bit words. Python only walks from one length
    to the next; numpy reads the other fields afterwards.
    """
    wanted = _FIRST_GUESS
    while True:
        held = min(window.ensure(wanted), wanted)
        if states == _UNCOUNTED and held == wanted:
            wanted *= 2
            continue
        words = np.frombuffer(window.peek(held), dtype="<i4", count=held // 4).astype(np.int32)
        try:
            return words, _walk(words.data, states, kind)
        except IndexError:
            if held < wanted:
                raise window.cut_off() from None
            wanted *= 2
        except _Implausible as error:
            raise window.error(str(error), "an FST", _REMEDY, BrokenArchive) from None


class _Implausible(Exception):
    """A length or count that cannot be right."""


def _walk(words: memoryview, states: int, kind: ArcType) -> _Positions:
    """Find all states and arcs; raises IndexError if ``words`` ends before the last state does."""
    width = kind.cost_words
    strings = kind.strings
    total = len(words)
    length_at = 2 + width  # where in an arc the number of its transition ids is
    arc_words = 3 + width + strings  # the size of an arc without its transition ids
    finals: list[int] = []
    counts: list[int] = []
    arcs: list[int] = []
    at = 0
    while len(finals) != states and (states != _UNCOUNTED or at < total):
        finals.append(at)
        at += width
        if strings:
            length = words[at]
            if not 0 <= length <= _LONGEST_STRING:
                raise _Implausible(f"{length} transition ids on the final weight of state {len(finals) - 1}")
            at += 1 + length
        count = words[at]
        if not 0 <= count <= _MOST_ARCS or words[at + 1]:
            raise _Implausible(f"{count + (words[at + 1] << 32)} arcs in state {len(finals) - 1}")
        counts.append(count)
        at += 2
        if strings:
            for _ in range(count):
                arcs.append(at)
                length = words[at + length_at]
                if not 0 <= length <= _LONGEST_STRING:
                    raise _Implausible(f"{length} transition ids on an arc of state {len(finals) - 1}")
                at += arc_words + length
        else:
            at += count * arc_words
            if at > total:
                raise IndexError
    if at > total:
        raise IndexError
    state_at = np.array(finals, np.int64)
    arc_counts = np.array(counts, np.int64)
    if strings:
        arc_at = np.array(arcs, np.int64)
    else:
        arc_at = np.repeat(state_at + width + 2, arc_counts) + arc_words * within(arc_counts)
    return _Positions(state_at, arc_counts, arc_at, at)


def within(counts: np.ndarray) -> np.ndarray:
    """The numbers 0 … counts[i] − 1 for each i, one after another."""
    ends = np.cumsum(counts)
    numbers = np.arange(int(counts.sum()))
    numbers -= np.repeat(ends - counts, counts)
    return numbers


def _gather_costs(words: np.ndarray, at: np.ndarray, kind: ArcType) -> np.ndarray:
    picked = words[at[:, None] + np.arange(kind.cost_words)]
    with np.errstate(invalid="ignore"):  # no warning about a NaN here; it is reported later, with its arc
        costs: np.ndarray = picked.astype("<i4").view(kind.cost).astype(np.float64)
    return costs


def _gather_strings(words: np.ndarray, at: np.ndarray) -> Ragged:
    lengths = words[at].astype(np.int64)
    values = words[np.repeat(at + 1, lengths) + within(lengths)]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def encode_fst(fst: Fst) -> bytes:
    """The bytes of one FST, as OpenFst writes a vector FST.

    Raises:
        RescoreError: a finite cost is too large for the numbers of the arc type.
    """
    kind = fst.kind
    width = kind.cost_words
    states = len(fst.final_costs)
    lengths = np.diff(fst.strings.offsets)
    final_lengths = np.diff(fst.final_strings.offsets)
    costs = _stored(fst.costs, kind)
    final_costs = _stored(fst.final_costs, kind)

    # Sizes and positions are in 32-bit words. The size of a state does not include its arcs.
    arc_sizes = 3 + width + (1 + lengths if kind.strings else 0 * lengths)
    state_sizes = 2 + width + (1 + final_lengths if kind.strings else 0 * final_lengths)
    arc_ends = np.cumsum(arc_sizes)
    state_ends = np.cumsum(state_sizes)
    counts = np.bincount(fst.source, minlength=states)
    arcs_before = np.concatenate([[0], arc_ends])[np.cumsum(counts) - counts]
    finals = state_ends - state_sizes + arcs_before
    arcs = state_ends[fst.source] + arc_ends - arc_sizes

    words = np.zeros(int(arc_sizes.sum() + state_sizes.sum()), "<i4")
    words[finals[:, None] + np.arange(width)] = final_costs.view("<i4").reshape(states, width)
    words[finals + state_sizes - 2] = counts  # the upper half of the int64 stays 0
    words[arcs] = fst.ilabel
    words[arcs + 1] = fst.olabel
    words[arcs[:, None] + 2 + np.arange(width)] = costs.view("<i4").reshape(len(arcs), width)
    words[arcs + arc_sizes - 1] = fst.target
    if kind.strings:
        _scatter_strings(words, finals + width, fst.final_strings)
        _scatter_strings(words, arcs + 2 + width, fst.strings)

    bits = fst.properties
    if bits is None:
        weighted = _any_weight(costs, lengths) or _any_weight(final_costs, final_lengths)
        bits = properties(fst.source, fst.target, fst.ilabel, fst.olabel, weighted, states)
    header = _REST.pack(_VERSION, 0, bits, fst.start, states, 0)  # Kaldi and OpenFst leave the number of arcs at 0
    return b"".join([MAGIC, _encoded_name("vector"), _encoded_name(kind.name), header, words.tobytes()])


def _encoded_name(name: str) -> bytes:
    return struct.pack("<i", len(name)) + name.encode()


def _stored(costs: np.ndarray, kind: ArcType) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(costs, dtype=kind.cost)
    if np.any(np.isinf(stored) & np.isfinite(costs)):
        worst = float(np.max(np.abs(costs[np.isfinite(costs)])))
        raise RescoreError(f"a cost of {worst:g} does not fit into the floats of {kind.name}; write doubles")
    return stored


def _any_weight(costs: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether any weight is neither one nor zero of its semiring."""
    one = np.all(costs == 0, axis=1) & (lengths == 0)
    zero = np.all(np.isinf(costs), axis=1)
    return bool(np.any(~one & ~zero))


def _scatter_strings(words: np.ndarray, at: np.ndarray, strings: Ragged) -> None:
    lengths = np.diff(strings.offsets)
    words[at] = lengths
    words[np.repeat(at + 1, lengths) + within(lengths)] = strings.values
