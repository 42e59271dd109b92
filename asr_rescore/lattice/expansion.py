"""A lattice expanded by the histories of a language model, so that each arc can carry the model's cost in its history.

States at one depth grow together: whoever drives many expansions side by side can cost all their contexts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import UsageError
from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import connect, depths
from asr_rescore.lattice.paths import costs_to_end

INFINITY = float("inf")
START = -1  # in place of a node: what stands before the first word


@dataclass(frozen=True)
class ExpansionLimits:
    """How far a lattice is expanded.

    Attributes:
        order: histories that agree in their last ``order`` − 1 words are one, and the cheapest of them stands for all;
            0: never.
        beam: what looks so much dearer than the best is left out.
        max_arcs: of the expanded lattice, or as many as the lattice itself has, if those are more. Each depth gets
            a share in proportion to the arcs it has in the lattice.
    """

    order: int = 6
    beam: float = 6.0
    max_arcs: int = 100_000

    def __post_init__(self) -> None:
        if self.order < 0:
            raise UsageError(f"the order is {self.order}, expected the length of an n-gram, or 0 for unlimited")
        if not self.beam >= 0:
            raise UsageError(f"the beam is {self.beam}, expected a cost from 0")
        if self.max_arcs < 1:
            raise UsageError(f"the most arcs are {self.max_arcs}, expected 1 or more")


class Node:
    """A state of the lattice with a history.

    A node's context is the one of ``before`` with ``word`` read; those before an epsilon and behind it are the same.

    Attributes:
        number: nodes are numbered as they are found.
        state: of the lattice.
        before: number of the node in whose context the last word is read; ``START`` where there is none yet.
        word: the last word; ``EPSILON`` where there is none yet.
        cost: of the cheapest way here, whose history it is.
        estimate: of the whole, on to the end.
    """

    __slots__ = ("before", "cost", "estimate", "history", "number", "state", "word")

    def __init__(self, number: int, state: int, history: tuple[int, ...]):
        self.number, self.state, self.history = number, state, history
        self.before, self.word, self.cost, self.estimate = START, EPSILON, INFINITY, INFINITY


@dataclass(frozen=True)
class Level:
    """Nodes that grow together, and what has to be known for it.

    Attributes:
        nodes: whose contexts are asked.
        asked: for each word asked, the place of its node in ``nodes``, ascending.
        words: the words asked; ``EPSILON`` for the end of the sentence.
    """

    nodes: list[Node]
    asked: list[int]
    words: list[int]


class Expansion:
    """The expansion of one lattice by one language model, a :class:`Level` at a time.

    ``while level := expansion.level(): expansion.advance(costs)``, and then :meth:`lattice`.

    Args:
        lattice: any acyclic one.
        limits: how far to go.
        acoustic_scale, word_penalty: ways are compared by graph + ``acoustic_scale`` · acoustic + ``word_penalty`` ·
            words.
        to_end: what is to be expected from each of the lattice's states to the end, (states,); by default what it is
            without the model. The better it is, the less a beam lets through.
    """

    def __init__(
        self,
        lattice: Lattice,
        limits: ExpansionLimits,
        acoustic_scale: float = 1.0,
        word_penalty: float = 0.0,
        to_end: Sequence[float] | None = None,
    ):
        self.source, self.limits = lattice, limits
        self.costs = (lattice.arc_costs(acoustic_scale) + word_penalty * (lattice.word != EPSILON)).tolist()
        self.final = lattice.final_costs(acoustic_scale).tolist()
        self.to_end = costs_to_end(lattice, acoustic_scale, word_penalty) if to_end is None else to_end
        self.offsets, self.targets = lattice.arc_offsets.tolist(), lattice.target.tolist()
        self.words, self.depth = lattice.word.tolist(), depths(lattice)
        arcs_at = np.bincount(np.array(self.depth, dtype=np.int64)[lattice.source], minlength=1)
        self.arc_limits = arcs_at * max(1.0, limits.max_arcs / max(1, lattice.num_arcs))
        self.found = 0
        self.grown: list[Node] = []
        self.waiting: dict[int, dict[tuple[int, tuple[int, ...]], Node]] = {}  # by depth
        self.current = Level([], [], [])
        self.best = INFINITY  # of what has come to an end
        # Of each arc of the result: the nodes it joins, the lattice's arc, and what the model adds to its cost.
        self.arcs: list[tuple[Node, Node, int, float]] = []
        self.ends: list[tuple[Node, float]] = []  # and of each final cost
        if lattice.start >= 0:
            root = self._node(lattice.start, ())
            root.cost, root.estimate = 0.0, self.to_end[lattice.start]

    def level(self) -> Level | None:
        """The next nodes to grow; None when all have grown."""
        nodes: list[Node] = []
        while self.waiting and not nodes:
            # Whatever waits is a cut through all ways that have not ended: the best of it is never left out.
            least = min(self.best, *(node.estimate for nodes in self.waiting.values() for node in nodes.values()))
            depth = min(self.waiting)
            nodes = [node for node in self.waiting.pop(depth).values() if node.estimate <= least + self.limits.beam]
            nodes = self._within(nodes, self.arc_limits[depth] if depth < len(self.arc_limits) else INFINITY)
        if not nodes:
            return None
        self.grown += nodes
        asked, words = [], []
        for place, node in enumerate(nodes):
            if self.final[node.state] < INFINITY:
                asked.append(place)
                words.append(EPSILON)
            following = [word for word in self.words[self._arcs(node)] if word != EPSILON]
            asked += [place] * len(following)
            words += following
        self.current = Level(nodes, asked, words)
        return self.current

    def advance(self, costs: Sequence[float]) -> None:
        """Go on from the last level, given what the model adds to the cost of each word asked."""
        asked = iter(costs)
        for node in self.current.nodes:
            if self.final[node.state] < INFINITY:
                added = next(asked)
                self.ends.append((node, added))
                self.best = min(self.best, node.cost + self.final[node.state] + added)
            here = self._arcs(node)
            for arc, word, state in zip(
                range(here.start, here.stop), self.words[here], self.targets[here], strict=True
            ):
                added = next(asked) if word != EPSILON else 0.0
                if self.to_end[state] == INFINITY:
                    continue
                cost = node.cost + self.costs[arc] + added
                after = self._node(state, self._history(node.history, word))
                self.arcs.append((node, after, arc, added))
                if cost < after.cost:
                    after.cost, after.estimate = cost, cost + self.to_end[state]
                    after.before, after.word = (node.before, node.word) if word == EPSILON else (node.number, word)

    @property
    def contexts(self) -> set[int]:
        """Numbers of the nodes in whose contexts a word may still be read."""
        return {node.before for nodes in self.waiting.values() for node in nodes.values()}

    def lattice(self) -> Lattice:
        """The expanded lattice, the model's costs added to the graph costs; alignments are kept."""
        # Nodes grow in topological order.
        place = {node.number: place for place, node in enumerate(self.grown)}
        arcs = [
            (place[before.number], place[after.number], arc, added)
            for before, after, arc, added in self.arcs
            if after.number in place
        ]
        origins, targets, taken = np.array([arc[:3] for arc in arcs], dtype=np.int64).reshape(-1, 3).T
        source, states = self.source, np.array([node.state for node in self.grown], dtype=np.int64)
        final_graph, final_acoustic = np.full((2, len(states)), INFINITY)
        for node, added in self.ends:
            final_graph[place[node.number]] = source.final_graph[node.state] + added
            final_acoustic[place[node.number]] = source.final_acoustic[node.state]
        return connect(
            Lattice(
                0 if self.grown else -1,
                origins,
                targets,
                source.word[taken],
                source.graph[taken] + [arc[3] for arc in arcs],
                source.acoustic[taken],
                final_graph,
                final_acoustic,
                source.alignment.take(taken),
                source.final_alignment.take(states),
            )
        )

    def costs_to_end(self) -> list[float]:
        """What it costs from each of the lattice's states to an end, the model included, where the order was 1."""
        ahead = [INFINITY] * self.source.num_states
        for node, added in self.ends:
            ahead[node.state] = self.final[node.state] + added
        for before, after, arc, added in reversed(self.arcs):
            ahead[before.state] = min(ahead[before.state], self.costs[arc] + added + ahead[after.state])
        return ahead

    def _node(self, state: int, history: tuple[int, ...]) -> Node:
        waiting = self.waiting.setdefault(self.depth[state], {})
        node = waiting.get((state, history))
        if node is None:
            node = waiting[state, history] = Node(self.found, state, history)
            self.found += 1
        return node

    def _history(self, history: tuple[int, ...], word: int) -> tuple[int, ...]:
        if word == EPSILON:
            return history
        longer = (*history, word)
        return longer[max(0, len(longer) - self.limits.order + 1) :] if self.limits.order else longer

    def _arcs(self, node: Node) -> slice:
        return slice(self.offsets[node.state], self.offsets[node.state + 1])

    def _within(self, nodes: list[Node], most_arcs: float) -> list[Node]:
        """The best of ``nodes``, as many as have no more than ``most_arcs`` together, but at least one."""
        nodes = sorted(nodes, key=lambda node: node.estimate)
        leaving = np.cumsum([self.offsets[node.state + 1] - self.offsets[node.state] for node in nodes])
        return nodes[: max(1, int(np.searchsorted(leaving, most_arcs, side="right")))]
