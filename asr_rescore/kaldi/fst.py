"""OpenFst's binary vector format, as far as lattices and word grammars use it: read whole entries, write whole entries.

Layout (all little endian): magic int32; FST type and arc type, each int32 length and bytes; version int32; flags int32;
properties uint64; start, states, arcs int64; symbol tables if the flags say so; then for each state its final weight,
its number of arcs int64 and the arcs: input label, output label int32, weight, next state int32. A compact lattice's
weight ends with an int32 count and that many int32 transition ids.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.kaldi.properties import properties
from asr_rescore.kaldi.stream import BrokenArchive, Window
from asr_rescore.lattice import Ragged

MAGIC = struct.pack("<i", 2125659606)
_SYMBOLS_MAGIC = struct.pack("<i", 2125658996)
_VERSION = 2
_INPUT_SYMBOLS, _OUTPUT_SYMBOLS = 1, 2
_REST = struct.Struct("<iiQqqq")
_UNCOUNTED = -1  # states of an FST that was streamed out: they go on to the end of the file
# A day's frames, and more than any symbol: what is longer is not a length.
_LONGEST_STRING = 1 << 23
_LONGEST_NAME = 1 << 12
_MOST_STATES = 1 << 31
_MOST_ARCS = 1 << 24  # of one state; the unigram state of a grammar has as many as there are words
_FIRST_GUESS = 1 << 17


@dataclass(frozen=True)
class ArcType:
    """How weights are stored.

    Attributes:
        name: in the header.
        costs: numbers in a weight.
        cost: their numpy type.
        strings: whether transition ids follow.
    """

    name: str
    costs: int
    cost: str
    strings: bool

    @property
    def cost_words(self) -> int:
        """32-bit words that the numbers of one weight take."""
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
    """An FST as the file holds it; arcs ordered by source.

    Attributes:
        kind: how its weights are stored.
        start: −1 where there is none.
        source, target: int64 (arcs,).
        ilabel, olabel: int32 (arcs,).
        costs: float64 (arcs, kind.costs).
        final_costs: float64 (states, kind.costs); inf in a state that is not final.
        strings, final_strings: transition ids of arcs and final weights; empty items where the kind has none.
        properties: bits of the header; None to have them computed.
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
    """``items`` empty lists."""
    return Ragged(np.empty(0, np.int32), np.zeros(items + 1, np.int64))


def read_fst(window: Window, kinds: dict[str, ArcType], remedy: str) -> Fst:
    """Consume one FST. Sizes in the header are believed only as far as the data bear them out.

    Args:
        window: stands at the magic number.
        kinds: arc types that are wanted.
        remedy: what to do about an FST of another type.

    Raises:
        BrokenArchive: it is no such FST, or cut off.
    """
    lead = window.peek(4)
    if len(lead) < 4 and MAGIC.startswith(lead):
        raise window.cut_off()
    if lead != MAGIC:
        raise window.error(
            f"bytes {lead!r}", "a binary FST (magic number d6 fd b2 7e)", "check the file", BrokenArchive
        )
    window.skip(4)
    fst_type, arc_type = _name(window), _name(window)
    if fst_type != "vector" or arc_type not in kinds:
        found, expected = f"an FST of type {fst_type!r} with {arc_type!r} arcs", "vector with " + " or ".join(kinds)
        raise window.error(found, expected, remedy, BrokenArchive)
    kind = kinds[arc_type]
    _, flags, bits, start, states, _ = _REST.unpack(window.take(_REST.size))
    if not _UNCOUNTED <= states < _MOST_STATES:
        raise window.error(f"{states} states", "a plausible number", "make the file again", BrokenArchive)
    for flag in (_INPUT_SYMBOLS, _OUTPUT_SYMBOLS):
        if flags & flag:
            _skip_symbols(window)
    words, finals, counts, arcs, length = _read_states(window, states, kind)
    window.skip(4 * length)

    width, source = kind.cost_words, np.repeat(np.arange(len(finals)), counts)
    if kind.strings:
        strings = _gather_strings(words, arcs + 2 + width)
        final_strings = _gather_strings(words, finals + width)
        after = arcs + 3 + width + np.diff(strings.offsets)
    else:
        strings, final_strings = no_strings(len(arcs)), no_strings(len(finals))
        after = arcs + 2 + width
    return Fst(
        kind,
        start,
        source,
        words[after].astype(np.int64),
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
        raise window.error(f"a name of {length} bytes", "an FST header", "make the file again", BrokenArchive)
    return window.take(length).decode("utf-8", errors="replace")


def _skip_symbols(window: Window) -> None:
    if window.take(4) != _SYMBOLS_MAGIC:
        raise window.error("no symbol table", "one, as the header's flags say", "make the file again", BrokenArchive)
    _name(window)
    _, size = struct.unpack("<qq", window.take(16))
    for _ in range(size):
        _name(window)
        window.take(8)


def _read_states(
    window: Window, states: int, kind: ArcType
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Find where weights and arcs begin: (words, of each state, arcs of each state, of each arc, words in all).

    Every field being a multiple of 32 bits, the states are seen as an array of such words. Only the walk from length
    to length is done in Python; the fields are picked by numpy afterwards.
    """
    wanted = _FIRST_GUESS
    while True:
        held = min(window.ensure(wanted), wanted)
        if states == _UNCOUNTED and held == wanted:
            wanted *= 2
            continue
        words = np.frombuffer(window.peek(held), dtype="<i4", count=held // 4).astype(np.int32)
        try:
            finals, counts, arcs, length = _walk(memoryview(words), states, kind)
        except IndexError:
            if held < wanted:
                raise window.cut_off() from None
            wanted *= 2
            continue
        except _Implausible as error:
            raise window.error(str(error), "a lattice", "make the file again", BrokenArchive) from None
        return words, np.array(finals, np.int64), np.array(counts, np.int64), arcs, length


class _Implausible(Exception):
    pass


def _walk(words: memoryview, states: int, kind: ArcType) -> tuple[list[int], list[int], np.ndarray, int]:
    """Positions of states, their arc counts, positions of arcs, position behind the last; IndexError: needs more."""
    width, strings, total = kind.cost_words, kind.strings, len(words)
    arc_length, arc_rest = 2 + width, 3 + width + strings
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
                length = words[at + arc_length]
                if not 0 <= length <= _LONGEST_STRING:
                    raise _Implausible(f"{length} transition ids on an arc of state {len(finals) - 1}")
                at += arc_rest + length
        else:
            at += count * arc_rest
            if at > total:
                raise IndexError
    if at > total:
        raise IndexError
    if strings:
        return finals, counts, np.array(arcs, np.int64), at
    first = np.repeat(np.array(finals, np.int64) + width + 2, counts)
    return finals, counts, first + arc_rest * within(np.array(counts, np.int64)), at


def within(counts: np.ndarray) -> np.ndarray:
    """0 … counts[i] − 1 for each i in turn."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _gather_costs(words: np.ndarray, at: np.ndarray, kind: ArcType) -> np.ndarray:
    picked = words[at[:, None] + np.arange(kind.cost_words)]
    with np.errstate(invalid="ignore"):  # a signalling NaN is an error, reported with its arc, not a warning here
        return picked.astype("<i4").view(kind.cost).astype(np.float64)


def _gather_strings(words: np.ndarray, at: np.ndarray) -> Ragged:
    lengths = words[at].astype(np.int64)
    values = words[np.repeat(at + 1, lengths) + within(lengths)]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def encode_fst(fst: Fst) -> bytes:
    """The bytes of one FST, as OpenFst writes a vector FST.

    Raises:
        RescoreError: a finite cost is beyond what the arc type's numbers can hold.
    """
    kind, states, width = fst.kind, len(fst.final_costs), fst.kind.cost_words
    lengths, final_lengths = np.diff(fst.strings.offsets), np.diff(fst.final_strings.offsets)
    costs, final_costs = _stored(fst.costs, kind), _stored(fst.final_costs, kind)

    arc_sizes = 3 + width + (1 + lengths if kind.strings else 0 * lengths)
    state_sizes = 2 + width + (1 + final_lengths if kind.strings else 0 * final_lengths)
    arc_ends, state_ends = np.cumsum(arc_sizes), np.cumsum(state_sizes)
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
    header = _REST.pack(_VERSION, 0, bits, fst.start, states, 0)  # Kaldi and OpenFst leave the number of arcs 0
    return b"".join([MAGIC, *_encoded_names(("vector", kind.name)), header, words.tobytes()])


def _encoded_names(names: Iterable[str]) -> Iterable[bytes]:
    for name in names:
        yield struct.pack("<i", len(name)) + name.encode()


def _stored(costs: np.ndarray, kind: ArcType) -> np.ndarray:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(costs, dtype=kind.cost)
    if np.any(np.isinf(stored) & np.isfinite(costs)):
        worst = float(np.max(np.abs(costs[np.isfinite(costs)])))
        raise RescoreError(f"a cost of {worst:g} does not fit {kind.name}; write doubles")
    return stored


def _any_weight(costs: np.ndarray, lengths: np.ndarray) -> bool:
    one = np.all(costs == 0, axis=1) & (lengths == 0)
    zero = np.all(np.isinf(costs), axis=1)
    return bool(np.any(~one & ~zero))


def _scatter_strings(words: np.ndarray, at: np.ndarray, strings: Ragged) -> None:
    lengths = np.diff(strings.offsets)
    words[at] = lengths
    words[np.repeat(at + 1, lengths) + within(lengths)] = strings.values
