"""N-gram models with back-off weights, as in an ARPA file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from asr_rescore.ngram.word_lm import INFINITY, Frontier, WordLm, frontier_of

History = tuple[int, ...]


class Entry(NamedTuple):
    """What a model says about an n-gram.

    Attributes:
        cost: −ln p of its last word after the others.
        backoff: −ln of its back-off weight.
        is_history: whether it can make a difference to the next word, so that it must be remembered.
    """

    cost: float
    backoff: float
    is_history: bool


class BackoffLm(WordLm[History]):
    """An n-gram model. A state is the history: the last words, as far back as the model distinguishes them.

    If the model has no entry for a word after a history, the cost is the history's back-off cost plus the cost after
    the history without its first word. It is never backed off only because this is cheaper.

    Args:
        order: words of the longest n-gram.
        bos, eos: sentence begin and end, as the model numbers words.
    """

    def __init__(self, order: int, bos: int, eos: int):
        self.order = order
        self.bos = bos
        self.eos = eos

    @abstractmethod
    def find(self, ngram: History) -> Entry | None:
        """The entry of an n-gram of one word or more; None if the model has no such n-gram."""

    @abstractmethod
    def number(self, word: int) -> tuple[int, int] | None:
        """The numbers under which a word of words.txt is costed, and remembered; None if the model cannot cost it."""

    def begin(self) -> tuple[float, History]:
        """No cost, and ``<s>`` as history."""
        return 0.0, (self.bos,) if self.order > 1 else ()

    def advance(self, state: History, word: int) -> tuple[float, History]:
        """The cost of a word, and the history after it."""
        number = self.number(word)
        if number is None:
            return INFINITY, ()
        costed, remembered = number
        return self._cost(state, costed), self.shortened((*state, remembered))

    def end(self, state: History) -> float:
        """The cost of ``</s>``."""
        return self._cost(state, self.eos)

    def contexts(self, history: History) -> Iterator[tuple[History, float]]:
        """The history and then shorter ones, down to the empty one, with the costs to back off to them."""
        cost = 0.0
        while history:
            yield history, cost
            entry = self.find(history)
            if entry is not None:
                cost += entry.backoff
            history = history[1:]
        yield history, cost

    def shortened(self, history: History) -> History:
        """The part of a history that makes a difference to the next word."""
        first = max(0, len(history) - self.order + 1)
        while first < len(history):
            entry = self.find(history[first:])
            if entry is not None and entry.is_history:
                break
            first += 1
        return history[first:]

    def _cost(self, history: History, word: int) -> float:
        for context, backoff in self.contexts(history):
            entry = self.find((*context, word))
            if entry is not None:
                return backoff + entry.cost
        return INFINITY


class CheapestBackoff(WordLm[Frontier[History]]):
    """An n-gram model that backs off wherever this is cheaper, as the best path through its G.fst does.

    Args:
        lm: the model.
    """

    def __init__(self, lm: BackoffLm):
        self.lm = lm

    def begin(self) -> tuple[float, Frontier[History]]:
        """See :class:`WordLm`."""
        cost, history = self.lm.begin()
        return cost, ((history,), (0.0,))

    def advance(self, state: Frontier[History], word: int) -> tuple[float, Frontier[History]]:
        """See :class:`WordLm`."""
        number = self.lm.number(word)
        if number is None:
            return INFINITY, ((), ())
        costed, remembered = number
        reached: dict[History, float] = {}
        for context, cost in self._contexts(state):
            entry = self.lm.find((*context, costed))
            if entry is not None:
                history = self.lm.shortened((*context, remembered))
                reached[history] = min(cost + entry.cost, reached.get(history, INFINITY))
        return frontier_of(reached)

    def end(self, state: Frontier[History]) -> float:
        """See :class:`WordLm`."""
        entries = ((self.lm.find((*context, self.lm.eos)), cost) for context, cost in self._contexts(state))
        return min((cost + entry.cost for entry, cost in entries if entry is not None), default=INFINITY)

    def _contexts(self, state: Frontier[History]) -> Iterator[tuple[History, float]]:
        for history, residual in zip(*state, strict=True):
            for context, backoff in self.lm.contexts(history):
                yield context, residual + backoff
