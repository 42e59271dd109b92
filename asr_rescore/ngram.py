"""The old language model: a word grammar with back-off arcs, and what it charged for a sentence."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

INFINITY = float("inf")


@dataclass(frozen=True, eq=False)
class WordFst:
    """A word-level FST as Kaldi's G.fst holds it.

    Attributes:
        start: the start state; −1 in an FST without states.
        source, target: int32 (arcs,), states.
        ilabel, olabel: int32 (arcs,), word ids; 0 is epsilon. Back-off arcs have #0 on the input side, 0 on the output.
        cost: float64 (arcs,), −ln p.
        final: float64 (states,), inf where not final.
    """

    start: int
    source: np.ndarray
    target: np.ndarray
    ilabel: np.ndarray
    olabel: np.ndarray
    cost: np.ndarray
    final: np.ndarray


# Where a word sequence may have led: (states, what each costs beyond the cheapest), by state.
Frontier = tuple[tuple[int, ...], tuple[float, ...]]


class Grammar:
    """Costs of sentences under a :class:`WordFst`.

    Args:
        fst: its sentence costs are those of its output side, as lattice-compose with fstproject sees it.
        backoff_label: id of #0; an arc is a back-off arc if its output is this or epsilon.
        failure: take a back-off arc only where no arc has the word, as lattice-compose --phi-label does; otherwise
            the cheapest path counts, be it through back-off or not.
    """

    def __init__(self, fst: WordFst, *, backoff_label: int = -1, failure: bool = False):
        self.failure, self.start, self.final = failure, fst.start, fst.final.tolist()
        backoff = (fst.olabel == 0) | (fst.olabel == backoff_label)
        self.backoff: dict[int, list[tuple[int, float]]] = {}
        for arc in np.flatnonzero(backoff).tolist():
            self.backoff.setdefault(int(fst.source[arc]), []).append((int(fst.target[arc]), float(fst.cost[arc])))
        words = np.flatnonzero(~backoff)
        order = words[np.lexsort((fst.olabel[words], fst.source[words]))]
        # Lists, because bisect and indexing on them are several times faster than on arrays, one word at a time.
        self.labels, self.targets = fst.olabel[order].tolist(), fst.target[order].tolist()
        self.costs_of_arcs = fst.cost[order].tolist()
        self.offsets = np.searchsorted(fst.source[order], np.arange(len(self.final) + 1)).tolist()

    def cost(self, words: Sequence[int]) -> float:
        """−ln P of a sentence of word ids, its end included; inf where the grammar has no path for it."""
        return float(self.costs([words])[0])

    def costs(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """:meth:`cost` of each sentence, float64 (sentences,), every distinct prefix being followed once."""
        walk = GrammarWalk(self)
        costs = np.empty(len(sentences))
        for index, sentence in enumerate(sentences):
            cost, frontier = walk.start
            for word in sentence:
                step, frontier = walk.step(frontier, word)
                cost += step
            costs[index] = cost + walk.end(frontier)
        return costs

    def _advance(self, frontier: Frontier, word: int) -> tuple[float, Frontier]:
        reached: dict[int, float] = {}
        for state, residual in zip(*frontier, strict=True):
            for origin, cost in self._places(state, word):
                low, high = self.offsets[origin], self.offsets[origin + 1]
                arc = bisect_left(self.labels, word, low, high)
                while arc < high and self.labels[arc] == word:
                    target, through = self.targets[arc], residual + cost + self.costs_of_arcs[arc]
                    if through < reached.get(target, INFINITY):
                        reached[target] = through
                    arc += 1
        return self._close(reached)

    def _places(self, state: int, word: int) -> list[tuple[int, float]]:
        """Where to look for the word's arcs: the state alone, or with ``failure`` the first that has one."""
        if not self.failure:
            return [(state, 0.0)]
        waiting, places = [(state, 0.0)], []
        while waiting:
            state, cost = waiting.pop()
            low, high = self.offsets[state], self.offsets[state + 1]
            arc = bisect_left(self.labels, word, low, high)
            if arc < high and self.labels[arc] == word:
                places.append((state, cost))
            else:
                waiting.extend((target, cost + step) for target, step in self.backoff.get(state, ()))
        return places

    def _end(self, frontier: Frontier) -> float:
        waiting = list(zip(*frontier, strict=True))
        best = INFINITY
        while waiting:
            state, cost = waiting.pop()
            best = min(best, cost + self.final[state])
            if self.failure and self.final[state] == INFINITY:
                waiting.extend((target, cost + step) for target, step in self.backoff.get(state, ()))
        return best

    def _close(self, reached: dict[int, float]) -> tuple[float, Frontier]:
        """Follow back-off arcs freely (not with ``failure``); the least cost, and the rest as a frontier."""
        waiting = [] if self.failure else list(reached)
        while waiting:
            state = waiting.pop()
            for target, step in self.backoff.get(state, ()):
                through = reached[state] + step
                if through < reached.get(target, INFINITY):
                    reached[target] = through
                    waiting.append(target)
        if not reached:
            return INFINITY, ((), ())
        least = min(reached.values())
        states = tuple(sorted(reached))
        return least, (states, tuple(reached[state] - least for state in states))


class GrammarWalk:
    """Ways through a grammar, word by word; each distinct step is taken once, and remembered.

    Attributes:
        start: the cost before the first word, which is 0 in a sound grammar, and where it begins.
    """

    def __init__(self, grammar: Grammar):
        self.grammar = grammar
        self.start = grammar._close({grammar.start: 0.0} if grammar.start >= 0 else {})
        self.steps: dict[tuple[Frontier, int], tuple[float, Frontier]] = {}
        self.ends: dict[Frontier, float] = {}

    def step(self, frontier: Frontier, word: int) -> tuple[float, Frontier]:
        """What a word costs, inf where the grammar has no way for it, and where it leads."""
        step = self.steps.get((frontier, word))
        if step is None:
            step = self.steps[frontier, word] = self.grammar._advance(frontier, word)
        return step

    def end(self, frontier: Frontier) -> float:
        """What it costs to end here; inf where the grammar does not."""
        if frontier not in self.ends:
            self.ends[frontier] = self.grammar._end(frontier)
        return self.ends[frontier]
