"""The old language model: a word grammar with back-off arcs, and the costs of sentences under it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

INFINITY = float("inf")


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


# The states that a word sequence can reach, in ascending order, and the cost of each minus that of the cheapest.
Frontier = tuple[tuple[int, ...], tuple[float, ...]]


class Grammar:
    """Costs of sentences under a :class:`WordFst`.

    Args:
        fst: the grammar. Sentences are matched with its output labels, as by fstproject and lattice-compose.
        backoff_label: the id of #0. An arc is a back-off arc if its output is this id or epsilon.
        failure: follow a back-off arc only if no arc has the word, as lattice-compose --phi-label does. If False, the
            cheapest path counts, with or without back-off.
    """

    def __init__(self, fst: WordFst, *, backoff_label: int = -1, failure: bool = False):
        self.failure = failure
        self.start = fst.start
        self.final = fst.final.tolist()
        backoff = (fst.olabel == 0) | (fst.olabel == backoff_label)
        self.backoff: dict[int, list[tuple[int, float]]] = {}
        for arc in np.flatnonzero(backoff).tolist():
            self.backoff.setdefault(int(fst.source[arc]), []).append((int(fst.target[arc]), float(fst.cost[arc])))
        words = np.flatnonzero(~backoff)
        order = words[np.lexsort((fst.olabel[words], fst.source[words]))]
        # Lists, because for single words bisect and indexing are several times faster on lists than on arrays.
        self.labels = fst.olabel[order].tolist()
        self.targets = fst.target[order].tolist()
        self.costs_of_arcs = fst.cost[order].tolist()
        self.offsets = np.searchsorted(fst.source[order], np.arange(len(self.final) + 1)).tolist()

    def cost(self, words: Sequence[int]) -> float:
        """−ln P of a sentence of word ids, including its end; inf if the grammar has no path for it."""
        return float(self.costs([words])[0])

    def costs(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """:meth:`cost` of each sentence, float64 (sentences,). Every distinct prefix is computed only once."""
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
        waiting = [(state, 0.0)]
        places = []
        while waiting:
            state, cost = waiting.pop()
            high = self.offsets[state + 1]
            arc = bisect_left(self.labels, word, self.offsets[state], high)
            if arc < high and self.labels[arc] == word:
                places.append((state, cost))
            else:
                waiting.extend((target, cost + step) for target, step in self.backoff.get(state, ()))
        return places

    def _end(self, frontier: Frontier) -> float:
        """The cost of ending the sentence after ``frontier``."""
        waiting = list(zip(*frontier, strict=True))
        best = INFINITY
        while waiting:
            state, cost = waiting.pop()
            best = min(best, cost + self.final[state])
            if self.failure and self.final[state] == INFINITY:
                waiting.extend((target, cost + step) for target, step in self.backoff.get(state, ()))
        return best

    def _close(self, reached: dict[int, float]) -> tuple[float, Frontier]:
        """Follow all back-off arcs (unless ``failure``); returns the least cost, and the states as a frontier."""
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
    """A word-by-word walk through a grammar. Each distinct step is computed once and remembered.

    Attributes:
        start: the cost before the first word, which is 0 for a valid grammar, and the first frontier.
    """

    def __init__(self, grammar: Grammar):
        self.grammar = grammar
        self.start = grammar._close({grammar.start: 0.0} if grammar.start >= 0 else {})
        self.steps: dict[tuple[Frontier, int], tuple[float, Frontier]] = {}
        self.ends: dict[Frontier, float] = {}

    def step(self, frontier: Frontier, word: int) -> tuple[float, Frontier]:
        """The cost of a word after ``frontier``, inf if the grammar has no path for it, and the frontier after it."""
        step = self.steps.get((frontier, word))
        if step is None:
            step = self.grammar._advance(frontier, word)
            self.steps[frontier, word] = step
        return step

    def end(self, frontier: Frontier) -> float:
        """The cost of ending the sentence after ``frontier``; inf if the grammar cannot end there."""
        if frontier not in self.ends:
            self.ends[frontier] = self.grammar._end(frontier)
        return self.ends[frontier]
