"""What the removal of an old language model needs of it: the cost of each word, and the state after the word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

INFINITY = float("inf")
State = TypeVar("State", bound=Hashable)
# The states that a word sequence can reach, in ascending order, and the cost of each minus that of the cheapest.
Frontier = tuple[tuple[State, ...], tuple[float, ...]]


def frontier_of(reached: dict[State, float]) -> tuple[float, Frontier[State]]:
    """The least of the costs of some states, and the states as a frontier; inf and no states if there are none."""
    if not reached:
        return INFINITY, ((), ())
    least = min(reached.values())
    if least == INFINITY:
        return INFINITY, ((), ())
    states = tuple(sorted(reached))  # type: ignore[type-var]  # numbers or tuples of numbers
    return least, (states, tuple(reached[state] - least for state in states))


class WordLm(ABC, Generic[State]):
    """A language model that reads sentences of word ids one word at a time."""

    @abstractmethod
    def begin(self) -> tuple[float, State]:
        """The cost before the first word, which is 0 in a valid model, and the state there."""

    @abstractmethod
    def advance(self, state: State, word: int) -> tuple[float, State]:
        """The cost of a word after ``state``, inf if the model has none, and the state after the word."""

    @abstractmethod
    def end(self, state: State) -> float:
        """The cost of ending the sentence after ``state``; inf if the model cannot end there."""

    def cost(self, words: Sequence[int]) -> float:
        """−ln P of a sentence, including its end; inf if the model has no cost for it."""
        return float(self.costs([words])[0])

    def word_costs(self, words: Sequence[int]) -> np.ndarray:
        """What each word adds to the cost of what was read before, and last the end: float64 (words + 1,).

        A cost before the first word is part of the first entry. After a word that the model has no cost for, all
        entries are inf.
        """
        before, state = self.begin()
        costs = np.full(len(words) + 1, INFINITY)
        for place, word in enumerate(words):
            step, state = self.advance(state, word)
            if step == INFINITY:
                return costs
            costs[place] = step
        costs[-1] = self.end(state)
        costs[0] += before
        return costs

    def costs(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """:meth:`cost` of each sentence, float64 (sentences,). Every distinct step is computed only once."""
        walk = Walk(self)
        costs = np.empty(len(sentences))
        for index, sentence in enumerate(sentences):
            cost, state = walk.start
            for word in sentence:
                step, state = walk.step(state, word)
                cost += step
            costs[index] = cost + walk.end(state)
        return costs


class Walk(Generic[State]):
    """A word-by-word walk through a model. Each distinct step is computed once and remembered.

    Attributes:
        start: the cost before the first word and the first state; see :meth:`WordLm.begin`.
    """

    def __init__(self, lm: WordLm[State]):
        self.lm = lm
        self.start = lm.begin()
        self.steps: dict[tuple[State, int], tuple[float, State]] = {}
        self.ends: dict[State, float] = {}

    def step(self, state: State, word: int) -> tuple[float, State]:
        """The cost of a word after ``state``, inf if the model has none, and the state after the word."""
        step = self.steps.get((state, word))
        if step is None:
            step = self.lm.advance(state, word)
            self.steps[state, word] = step
        return step

    def end(self, state: State) -> float:
        """The cost of ending the sentence after ``state``; inf if the model cannot end there."""
        if state not in self.ends:
            self.ends[state] = self.lm.end(state)
        return self.ends[state]


class NoLm(WordLm[None]):
    """Every word costs 0."""

    def begin(self) -> tuple[float, None]:
        """See :class:`WordLm`."""
        return 0.0, None

    def advance(self, state: None, word: int) -> tuple[float, None]:
        """See :class:`WordLm`."""
        return 0.0, None

    def end(self, state: None) -> float:
        """See :class:`WordLm`."""
        return 0.0
