"""Expansion of a lattice by histories of a language model, so that each arc can have the model's cost in its history.

All states of one depth are expanded together. A caller that drives many expansions at the same time can therefore
compute the costs of all their contexts in one batch.
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
START = -1  # takes the place of a node number before the first word


@dataclass(frozen=True)
class ExpansionLimits:
    """How far a lattice is expanded.

    Attributes:
        order: n-gram order for merging histories; 0: never merge. Histories with the same last ``order`` − 1 words are
            merged, and the cheapest of them is used for all.
        beam: pruning beam. A state is dropped if the estimated cost of the best path through it exceeds that of the
            best path by more than this.
        max_arcs: the largest number of arcs in the expanded lattice, but not less than the lattice has itself. It is
            divided among the depths in proportion to the lattice's arcs.

    Raises:
        UsageError: a value is out of range.
    """

    order: int = 6
    beam: float = 6.0
    max_arcs: int = 100_000

    def __post_init__(self) -> None:
        if self.order < 0:
            raise UsageError(f"`order` is {self.order}, expected an n-gram order, or 0 to never merge histories")
        if not self.beam >= 0:
            raise UsageError(f"`beam` is {self.beam}, expected 0 or more")
        if self.max_arcs < 1:
            raise UsageError(f"`max_arcs` is {self.max_arcs}, expected 1 or more")


class Node:
    """A state of the lattice together with a history.

    The context of a node is the context of the node ``before``, followed by ``word``. An epsilon arc does not change
    the context.

    Attributes:
        number: identifies the node; nodes are numbered as they are found.
        state: the state of the lattice.
        history: the last words, as many as are needed to decide which histories to merge.
        before: the number of the node in whose context the last word was read; ``START`` before the first word.
        word: the last word; ``EPSILON`` before the first word.
        cost: the cost of the cheapest path to this node. Its context is that of this path.
        estimate: the estimated cost of the cheapest complete path through this node.
    """

    __slots__ = ("before", "cost", "estimate", "history", "number", "state", "word")

    def __init__(self, number: int, state: int, history: tuple[int, ...]):
        self.number = number
        self.state = state
        self.history = history
        self.before = START
        self.word = EPSILON
        self.cost = INFINITY
        self.estimate = INFINITY


@dataclass(frozen=True)
class Level:
    """Nodes that are expanded together, and the words whose costs are needed for this.

    Attributes:
        nodes: the nodes.
        asked: for each word, the index in ``nodes`` of the node in whose context its cost is needed; ascending.
        words: the words; ``EPSILON`` stands for the end of the sentence.
    """

    nodes: list[Node]
    asked: list[int]
    words: list[int]


class Expansion:
    """The expansion of one lattice by one language model, one :class:`Level` at a time.

    Call :meth:`level`, compute the costs of its words and pass them to :meth:`advance`. Repeat this until
    :meth:`level` returns None. Then :meth:`lattice` is the expanded lattice.

    Args:
        lattice: an acyclic lattice.
        limits: how far to expand it.
        acoustic_scale, word_penalty: paths are compared by graph + ``acoustic_scale`` · acoustic + ``word_penalty`` ·
            words.
        to_end: the estimated cost from each of the lattice's states to the end, (states,). By default it is the exact
            cost without the model. The better the estimate, the fewer states are within the beam.

    Raises:
        RescoreError: the lattice has a cycle.
    """

    def __init__(
        self,
        lattice: Lattice,
        limits: ExpansionLimits,
        acoustic_scale: float = 1.0,
        word_penalty: float = 0.0,
        to_end: Sequence[float] | None = None,
    ):
        self.source = lattice
        self.limits = limits
        self.costs = (lattice.arc_costs(acoustic_scale) + word_penalty * (lattice.word != EPSILON)).tolist()
        self.final = lattice.final_costs(acoustic_scale).tolist()
        self.to_end = costs_to_end(lattice, acoustic_scale, word_penalty) if to_end is None else to_end
        self.offsets = lattice.arc_offsets.tolist()
        self.targets = lattice.target.tolist()
        self.words = lattice.word.tolist()
        self.depth = depths(lattice)
        arcs_at = np.bincount(np.array(self.depth, dtype=np.int64)[lattice.source], minlength=1)
        self.arc_limits = arcs_at * max(1.0, limits.max_arcs / max(1, lattice.num_arcs))
        self.found = 0
        self.grown: list[Node] = []
        self.waiting: dict[int, dict[tuple[int, tuple[int, ...]], Node]] = {}  # by depth
        self.current = Level([], [], [])
        self.best = INFINITY  # the cost of the best path that has reached an end
        # For each arc of the result: the two nodes, the arc of the lattice, and the cost that the model adds.
        self.arcs: list[tuple[Node, Node, int, float]] = []
        self.ends: list[tuple[Node, float]] = []  # for each final state of the result: the node and the added cost
        if lattice.start >= 0:
            root = self._node(lattice.start, ())
            root.cost = 0.0
            root.estimate = self.to_end[lattice.start]

    def level(self) -> Level | None:
        """The next nodes to expand; None if all have been expanded."""
        nodes: list[Node] = []
        while self.waiting and not nodes:
            # Each path that has not ended yet goes through a waiting node, so ``least`` is the best estimate of all.
            least = min(self.best, *(node.estimate for group in self.waiting.values() for node in group.values()))
            depth = min(self.waiting)
            nodes = [node for node in self.waiting.pop(depth).values() if node.estimate <= least + self.limits.beam]
            nodes = self._within(nodes, self.arc_limits[depth] if depth < len(self.arc_limits) else INFINITY)
        if not nodes:
            return None
        self.grown += nodes
        asked: list[int] = []
        words: list[int] = []
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
        """Expand the last level, given the model's costs of the words in it, in their order."""
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
                    after.cost = cost
                    after.estimate = cost + self.to_end[state]
                    after.before = node.before if word == EPSILON else node.number
                    after.word = node.word if word == EPSILON else word

    @property
    def contexts(self) -> set[int]:
        """The numbers of all nodes whose contexts may still be needed."""
        return {node.before for nodes in self.waiting.values() for node in nodes.values()}

    def lattice(self) -> Lattice:
        """The expanded lattice. The model's costs are added to the graph costs, and alignments are kept."""
        # Nodes are expanded in topological order.
        place = {node.number: place for place, node in enumerate(self.grown)}
        arcs = [
            (place[before.number], place[after.number], arc, added)
            for before, after, arc, added in self.arcs
            if after.number in place
        ]
        origins, targets, taken = np.array([arc[:3] for arc in arcs], dtype=np.int64).reshape(-1, 3).T
        source = self.source
        states = np.array([node.state for node in self.grown], dtype=np.int64)
        final_graph = np.full(len(states), INFINITY)
        final_acoustic = np.full(len(states), INFINITY)
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
        """The cost from each of the lattice's states to an end, including the model's. The order must have been 1."""
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
            node = Node(self.found, state, history)
            waiting[state, history] = node
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
        """The best nodes that together have at most ``most_arcs`` arcs, but at least one node."""
        nodes = sorted(nodes, key=lambda node: node.estimate)
        leaving = np.cumsum([self.offsets[node.state + 1] - self.offsets[node.state] for node in nodes])
        return nodes[: max(1, int(np.searchsorted(leaving, most_arcs, side="right")))]
