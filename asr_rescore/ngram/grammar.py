"""A word grammar with back-off arcs, and the costs of words under it."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.ngram.word_lm import INFINITY, Frontier, WordLm, frontier_of


@dataclass(frozen=True, eq=False)
class WordFst:
    """A word-level FST, like Kaldi's G.fst.

    Attributes:
        start: the start state; −1 in an FST without states.
        source, target: int32 (arcs,), states.
        ilabel, olabel: int32 (arcs,), word ids; 0 is epsilon. Back-off arcs have #0 as input and 0 as output.
        cost: float64 (arcs,), −ln p.
        final: float64 (states,), −ln p; inf for states that are not final.
    """

    start: int
    source: np.ndarray
    target: np.ndarray
    ilabel: np.ndarray
    olabel: np.ndarray
    cost: np.ndarray
    final: np.ndarray


# State → (target, cost) of each of its back-off arcs.
BackoffArcs = dict[int, list[tuple[int, float]]]


class Grammar(WordLm[Frontier[int]]):
    """Costs of sentences under a :class:`WordFst`.

    Args:
        fst: the grammar. Sentences are matched with its output labels, as by fstproject and lattice-compose.
        backoff_label: the id of #0. An arc is a back-off arc if its output is this id or epsilon.
        failure: follow a back-off arc only if no arc has the word, as lattice-compose --phi-label does. If False, the
            cheapest path counts, with or without back-off.

    Raises:
        RescoreError: back-off arcs form a cycle with a negative cost, so that there is no cheapest path.
    """

    def __init__(self, fst: WordFst, *, backoff_label: int = -1, failure: bool = False):
        self.failure = failure
        self.start = fst.start
        self.final = fst.final.tolist()
        backoff = (fst.olabel == 0) | (fst.olabel == backoff_label)
        self.backoff: BackoffArcs = {}
        for arc in np.flatnonzero(backoff).tolist():
            source = int(fst.source[arc])
            target = int(fst.target[arc])
            cost = float(fst.cost[arc])
            if source != target or cost < 0:  # other loops never make a path cheaper
                self.backoff.setdefault(source, []).append((target, cost))
        self.place = _places(self.backoff, len(self.final))
        words = np.flatnonzero(~backoff)
        order = words[np.lexsort((fst.olabel[words], fst.source[words]))]
        # Lists, because for single words bisect and indexing are several times faster on lists than on arrays.
        self.labels = fst.olabel[order].tolist()
        self.targets = fst.target[order].tolist()
        self.costs_of_arcs = fst.cost[order].tolist()
        self.offsets = np.searchsorted(fst.source[order], np.arange(len(self.final) + 1)).tolist()

    def begin(self) -> tuple[float, Frontier[int]]:
        """The cost of the back-off arcs from the start state, which is 0 in a valid grammar, and the first frontier."""
        return self._close({self.start: 0.0} if self.start >= 0 else {})

    def advance(self, frontier: Frontier[int], word: int) -> tuple[float, Frontier[int]]:
        """The cost of a word after ``frontier``, and the frontier after the word."""
        reached: dict[int, float] = {}
        for state, residual in zip(*frontier, strict=True):
            for origin, cost in self._places(state, word):
                high = self.offsets[origin + 1]
                arc = bisect_left(self.labels, word, self.offsets[origin], high)
                while arc < high and self.labels[arc] == word:
                    target = self.targets[arc]
                    through = residual + cost + self.costs_of_arcs[arc]
                    if through < reached.get(target, INFINITY):
                        reached[target] = through
                    arc += 1
        return self._close(reached)

    def _places(self, state: int, word: int) -> list[tuple[int, float]]:
        """The states in which to look for arcs with the word, and the costs to reach them.

        This is the state itself or, with ``failure``, the first states on the back-off paths that have such an arc.
        """
        if not self.failure:
            return [(state, 0.0)]
        reached = {state: 0.0}
        places = []
        waiting = [(self.place[state], 0.0, state)]
        while waiting:
            _, cost, state = heapq.heappop(waiting)
            if cost > reached[state]:
                continue
            high = self.offsets[state + 1]
            arc = bisect_left(self.labels, word, self.offsets[state], high)
            if arc < high and self.labels[arc] == word:
                places.append((state, cost))
            else:
                self._back_off(state, reached, waiting)
        return places

    def end(self, frontier: Frontier[int]) -> float:
        """The cost of ending the sentence after ``frontier``."""
        reached = dict(zip(*frontier, strict=True))
        waiting = [(self.place[state], cost, state) for state, cost in reached.items()]
        heapq.heapify(waiting)
        best = INFINITY
        while waiting:
            _, cost, state = heapq.heappop(waiting)
            best = min(best, cost + self.final[state])
            if self.failure and self.final[state] == INFINITY and cost <= reached[state]:
                self._back_off(state, reached, waiting)
        return best

    def _close(self, reached: dict[int, float]) -> tuple[float, Frontier[int]]:
        """Follow all back-off arcs (unless ``failure``); returns the least cost, and the states as a frontier."""
        if not self.failure:
            waiting = [(self.place[state], cost, state) for state, cost in reached.items()]
            heapq.heapify(waiting)
            while waiting:
                _, cost, state = heapq.heappop(waiting)
                if cost <= reached[state]:
                    self._back_off(state, reached, waiting)
        return frontier_of(reached)

    def _back_off(self, state: int, reached: dict[int, float], waiting: list[tuple[int, float, int]]) -> None:
        """Follow the back-off arcs of a state to the states that become cheaper, and queue these.

        ``waiting`` is a heap of (place, cost, state). The places make sure that a state is taken from it only after
        all states from which it can still become cheaper.
        """
        for target, step in self.backoff.get(state, ()):
            through = reached[state] + step
            if through < reached.get(target, INFINITY):
                reached[target] = through
                heapq.heappush(waiting, (self.place[target], through, target))


def _places(backoff: BackoffArcs, states: int) -> array[int]:
    """For each state, its place in an order in which back-off arcs lead forward. States on cycles share a place.

    Among states that share a place, the cheapest comes first, as in Dijkstra's algorithm. This is right as long as no
    back-off arc between them has a negative cost.

    Raises:
        RescoreError: a back-off arc between states on cycles has a negative cost.
    """
    entering = array("q", bytes(8 * states))
    for arcs in backoff.values():
        for target, _ in arcs:
            entering[target] += 1
    order = [state for state in backoff if not entering[state]]
    for state in order:  # the loop appends to this list
        for target, _ in backoff.get(state, ()):
            entering[target] -= 1
            if not entering[target]:
                order.append(target)
    place = array("q", bytes(8 * states))
    for index, state in enumerate(order):
        place[state] = index

    # The remaining states are on cycles, or can be reached from one. Remove the latter, from the last one on.
    remaining = {state for state in range(states) if entering[state]}
    into: dict[int, list[int]] = {}
    leaving: dict[int, int] = {}
    for state in remaining:
        for target, _ in backoff.get(state, ()):
            into.setdefault(target, []).append(state)
            leaving[state] = leaving.get(state, 0) + 1
    ends = [state for state in remaining if state not in leaving]
    for index, state in enumerate(ends):
        place[state] = 2 * states - index
        for origin in into.get(state, ()):
            leaving[origin] -= 1
            if not leaving[origin]:
                ends.append(origin)
    cyclic = remaining.difference(ends)
    for state in cyclic:
        place[state] = states
        for target, cost in backoff[state]:
            if cost < 0 and target in cyclic:
                raise RescoreError(
                    f"old LM (G.fst): a back-off arc from state {state} to state {target} costs {cost:g} and is on a "
                    f"cycle of back-off arcs, expected no cycle, or only costs from 0 in it; make G.fst again from the "
                    f"ARPA file, with Kaldi's arpa2fst"
                )
    return place
