"""Text lattice entries: one line per arc, one line per final state, and a blank line at the end."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from asr_rescore.kaldi.lattice_binary import build, first_ids, optional_items
from asr_rescore.kaldi.state_level import expand
from asr_rescore.kaldi.stream import Window
from asr_rescore.lattice import Lattice, Ragged

_ZERO = (float("inf"), float("inf"))
_REMEDY = "write the archive again"
# Kaldi writes a line for each state. A state number far larger than the number of bytes is an error, not a request for
# that many states.
_STATES_WITHOUT_LINES = 1000
_LARGEST_LABEL = 2**31 - 1


def read_text(window: Window) -> Lattice:
    """Consume a text lattice (compact or state level), from the line end after its key to the blank line after it.

    Raises:
        BrokenArchive: the stream broke before the blank line.
        InputError: a line does not parse, or the lattice is not valid. The blank line has been consumed.
    """
    rest = window.line()
    wrong = window.error(repr(rest[:40]), "a line end after the key", _REMEDY) if rest.strip() else None
    entry = _Entry()
    bytes_read = 0
    number = 0
    for number, line in enumerate(_entry_lines(window), 1):
        bytes_read += len(line)
        if wrong is not None:  # the other lines are only consumed
            continue
        try:
            entry.add(line.split())
        except ValueError as error:
            found = f"{line[:60].decode('utf-8', errors='replace')!r} in line {number} of the entry ({error})"
            wrong = window.error(found, "an arc or a final state", _REMEDY)
    if wrong is not None:
        raise wrong
    highest = max((max(states) for states in (entry.sources, entry.targets, entry.finals) if states), default=-1)
    if highest > _STATES_WITHOUT_LINES + bytes_read:
        raise window.error(f"state {highest} in {number} lines", "states numbered from 0 on", _REMEDY)
    return entry.lattice(window, highest + 1)


def skip_text(window: Window) -> None:
    """Consume lines up to and including the next blank one."""
    for _ in _entry_lines(window):
        pass


def _entry_lines(window: Window) -> Iterator[bytes]:
    while True:
        line = window.line()
        if not line.endswith(b"\n") and window.broken is not None:
            raise window.cut_off()
        if not line.strip():
            return
        yield line.strip()


class _Entry:
    """The lines of an entry that have been read so far, in arrays, because lists take five times the memory."""

    def __init__(self) -> None:
        self.start = -1
        self.compact: bool | None = None  # unknown until a line shows it
        self.sources = array("q")
        self.targets = array("q")
        self.words = array("i")
        self.costs = array("d")  # two for each arc
        self.ids = array("i")  # the transition ids of all arcs
        self.ids_end = array("q", [0])  # where in them those of each arc end
        self.finals: dict[int, tuple[tuple[float, float], list[int]]] = {}

    def add(self, columns: list[bytes]) -> None:
        """Add a line; the message of a ValueError says what is wrong with it."""
        state = _label(columns[0])
        if self.start < 0:
            self.start = state
        count = len(columns)
        if count <= 2:
            self.finals[state] = self._weight(columns[1] if count == 2 else None)
            return
        if count > 5:
            raise ValueError(f"{count} columns")
        without_weight = count == 3 or (count == 4 and b"," not in columns[3])
        labels = columns[1:] if without_weight else columns[1:-1]
        self._settle(len(labels) == 2)
        costs, string = self._weight(None if without_weight else columns[-1])
        if not self.compact:
            string = [_label(labels[1])]
        target = _label(labels[0])
        word = _label(labels[-1])
        self.sources.append(state)
        self.targets.append(target)
        self.words.append(word)
        self.costs.extend(costs)
        self.ids.extend(string)
        self.ids_end.append(len(self.ids))

    def _settle(self, compact: bool) -> None:
        """Note that a line is compact or not; ValueError if an earlier line was different."""
        if self.compact is None:
            self.compact = compact
        elif self.compact != compact:
            raise ValueError("compact and state-level lines in one entry")

    def _weight(self, text: bytes | None) -> tuple[tuple[float, float], list[int]]:
        """The costs and transition ids of a weight; a missing weight costs nothing."""
        if text is None:
            return (0.0, 0.0), []
        parts = text.split(b",")
        if len(parts) not in (2, 3):
            raise ValueError(f"a weight of {len(parts)} parts")
        self._settle(len(parts) == 3)
        string = [_label(part) for part in parts[2].split(b"_")] if len(parts) == 3 and parts[2] else []
        return (_cost(parts[0]), _cost(parts[1])), string

    def lattice(self, window: Window, states: int) -> Lattice:
        """The lattice of all lines, with its arcs ordered by source."""
        final_costs = np.full((states, 2), np.inf)
        final_lengths = np.zeros(states, np.int64)
        for state, (costs, string) in self.finals.items():
            final_costs[state] = costs
            if costs != _ZERO:
                final_lengths[state] = len(string)
        final_ids = [
            ident for state, (_, string) in sorted(self.finals.items()) if final_lengths[state] for ident in string
        ]
        final_alignment = Ragged(np.array(final_ids, np.int32), np.concatenate([[0], np.cumsum(final_lengths)]))
        source = np.array(self.sources, np.int64)
        order = np.argsort(source, kind="stable")
        ids = np.array(self.ids, np.int32)
        if self.compact is False:
            alignment = optional_items(ids[order])
        else:
            alignment = Ragged(ids, np.array(self.ids_end, np.int64)).take(order)
        return build(
            window,
            Lattice,
            start=self.start,
            source=source[order],
            target=np.array(self.targets, np.int64)[order],
            word=np.array(self.words, np.int32)[order],
            costs=np.array(self.costs, np.float64).reshape(-1, 2)[order],
            final_costs=final_costs,
            alignment=alignment,
            final_alignment=final_alignment,
        )


def _label(text: bytes) -> int:
    if not text.isdigit():
        raise ValueError(f"{text.decode('utf-8', errors='replace')!r} is not a number from 0")
    label = int(text[:20])
    if label > _LARGEST_LABEL:
        raise ValueError(f"{label} does not fit into 32 bits")
    return label


def _cost(text: bytes) -> float:
    if b"_" in text:  # float() would ignore it, as in 1_000
        raise ValueError("transition ids in place of a cost")
    return float("nan") if text == b"BadNumber" else float(text)


def encode_text(lattice: Lattice, *, compact: bool) -> Iterator[str]:
    """Yield the lines of an entry after its key, as Kaldi prints them.

    Costs have six digits, a weight that costs nothing is omitted, and the start state comes first.
    """
    if compact:
        columns = [lattice.target, lattice.word]
    else:
        lattice = expand(lattice)
        columns = [lattice.target, first_ids(lattice.alignment), lattice.word]
    offsets = lattice.arc_offsets.tolist()
    is_final = lattice.is_final.tolist()
    labels = ["\t".join(map(str, row)) for row in zip(*(column.tolist() for column in columns), strict=True)]
    weights = _weights(lattice.graph, lattice.acoustic, lattice.alignment if compact else None)
    finals = _weights(lattice.final_graph, lattice.final_acoustic, lattice.final_alignment if compact else None)
    states = sorted(range(lattice.num_states), key=lambda state: state != lattice.start)
    for state in states:
        arcs = range(offsets[state], offsets[state + 1])
        for arc in arcs:
            yield f"{state}\t{labels[arc]}{weights[arc]}\n"
        if is_final[state] or not arcs:
            yield f"{state}{finals[state]}\n"
    yield "\n"


def _weights(graph: np.ndarray, acoustic: np.ndarray, strings: Ragged | None) -> list[str]:
    written = []
    for item, (graph_cost, acoustic_cost) in enumerate(zip(graph.tolist(), acoustic.tolist(), strict=True)):
        string = "" if strings is None else "," + "_".join(map(str, strings[item].tolist()))
        if graph_cost == 0 and acoustic_cost == 0 and string in ("", ","):
            written.append("")
        elif graph_cost == float("inf"):
            written.append(f"\tInfinity,Infinity{string}")
        else:
            written.append(f"\t{graph_cost:g},{acoustic_cost:g}{string}")
    return written
