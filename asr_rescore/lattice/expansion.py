"""Expansion of a lattice by histories of a language model, so that each arc can have the model's cost in its history.

All states of one depth are expanded together. A caller that drives many expansions at the same time can therefore
compute the costs of all their contexts in one batch.

The model need not have a cost for each word. A path on which it lacks one is *unknown*: it keeps the costs that it has
in the lattice, and the other paths get the model's costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from asr_rescore.errors import UsageError
from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import connect, depths
from asr_rescore.lattice.paths import costs_to_end

INFINITY = float("inf")
START = -1  # takes the place of a node number before the first word
History = tuple[int, ...] | None


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


@dataclass(frozen=True)
class CostsToEnd:
    """Estimated costs of the cheapest paths from each state of a lattice to an end, each (states,).

    Attributes:
        plain: without the model.
        known: with the model's costs, over paths that it has costs for; inf if there are none.
        unknown: without the model, over paths on which it lacks a cost; inf if there are none.
    """

    plain: list[float]
    known: list[float]
    unknown: list[float]

    @classmethod
    def without_model(cls, lattice: Lattice, acoustic_scale: float, word_penalty: float) -> CostsToEnd:
        """The estimate if nothing is known of the model: it adds nothing.

        Raises:
            RescoreError: the lattice has a cycle.
        """
        plain = costs_to_end(lattice, acoustic_scale, word_penalty)
        return cls(plain, plain, [INFINITY] * len(plain))


class Node:
    """A state of the lattice together with a history.

    The context of a node is the context of the node ``before``, followed by ``word``. An epsilon arc does not change
    the context.

    Attributes:
        number: identifies the node; nodes are numbered as they are found.
        state: the state of the lattice.
        history: the last words, as many as are needed to decide which histories to merge; None on an unknown path,
            where the model is not asked any more.
        before: the number of the node in whose context the last word was read; ``START`` before the first word.
        word: the last word; ``EPSILON`` before the first word.
        cost: the cost of the cheapest path to this node. Its context is that of this path.
        added: the part of this cost that comes from the model.
        estimate: the estimated cost of the cheapest complete path through this node.
    """

    __slots__ = ("added", "before", "cost", "estimate", "history", "number", "state", "word")

    def __init__(self, number: int, state: int, history: History):
        self.number = number
        self.state = state
        self.history = history
        self.before = START
        self.word = EPSILON
        self.cost = INFINITY
        self.added = 0.0
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
        to_end: the estimated costs to the end; by default those without the model. The better the estimate, the fewer
            states are within the beam.

    Raises:
        RescoreError: the lattice has a cycle.
    """

    def __init__(
        self,
        lattice: Lattice,
        limits: ExpansionLimits,
        acoustic_scale: float = 1.0,
        word_penalty: float = 0.0,
        to_end: CostsToEnd | None = None,
    ):
        self.source = lattice
        self.limits = limits
        self.costs = (lattice.arc_costs(acoustic_scale) + word_penalty * (lattice.word != EPSILON)).tolist()
        self.final = lattice.final_costs(acoustic_scale).tolist()
        self.to_end = to_end or CostsToEnd.without_model(lattice, acoustic_scale, word_penalty)
        self.offsets = lattice.arc_offsets.tolist()
        self.targets = lattice.target.tolist()
        self.words = lattice.word.tolist()
        self.depth = depths(lattice)
        arcs_at = np.bincount(np.array(self.depth, dtype=np.int64)[lattice.source], minlength=1)
        self.arc_limits = arcs_at * max(1.0, limits.max_arcs / max(1, lattice.num_arcs))
        self.found = 0
        self.grown: list[Node] = []
        self.waiting: dict[int, dict[tuple[int, History], Node]] = {}  # by depth
        self.current = Level([], [], [])
        self.best = INFINITY  # the cost of the best path that has reached an end
        # For each arc of the result: the two nodes, the arc of the lattice, and the cost that the model adds.
        self.arcs: list[tuple[Node, Node, int, float]] = []
        # For each final state of the result: the node, the added cost, and whether the model has a cost for the end.
        self.ends: list[tuple[Node, float, bool]] = []
        self.words_asked = 0
        self.words_unknown: list[int] = []  # those that the model had no cost for
        self.known_cut = False  # a node that is not on an unknown path has been pruned
        if lattice.start >= 0:
            root = self._node(lattice.start, ())
            root.cost = 0.0
            root.estimate = self._estimate(root)

    def level(self) -> Level | None:
        """The next nodes to expand; None if all have been expanded. Nodes on unknown paths are expanded here."""
        while self.waiting:
            # Each path that has not ended yet goes through a waiting node, so ``least`` is the best estimate of all.
            least = min(self.best, *(node.estimate for group in self.waiting.values() for node in group.values()))
            depth = min(self.waiting)
            found = self.waiting.pop(depth).values()
            nodes = [node for node in found if node.estimate <= least + self.limits.beam]
            nodes = self._within(nodes, self.arc_limits[depth] if depth < len(self.arc_limits) else INFINITY)
            known = [node for node in nodes if node.history is not None]
            self.known_cut |= len(known) < sum(node.history is not None for node in found)
            unknown = [node for node in nodes if node.history is None]
            for node in unknown:
                self._expand(node, repeat(0.0))
            self.grown += [*unknown, *known]  # in the order in which they are expanded, so that arcs are ordered
            if known:
                self.current = self._asking(known)
                return self.current
        return None

    def advance(self, costs: Sequence[float]) -> None:
        """Expand the last level, given the model's costs of the words in it, in their order.

        A cost of inf says that the model has no cost for this word. Paths that go on with the word are unknown.
        """
        self.words_asked += len(costs)
        asked = iter(costs)
        for node in self.current.nodes:
            self._expand(node, asked)

    @property
    def contexts(self) -> set[int]:
        """The numbers of all nodes whose contexts may still be needed."""
        waiting = (node for nodes in self.waiting.values() for node in nodes.values())
        return {node.before for node in waiting if node.history is not None}

    @property
    def all_unknown(self) -> bool:
        """Whether all paths of an expanded lattice are unknown, so that the lattice would be its own expansion."""
        return bool(self.words_unknown) and not self.known_cut and not any(known for *_, known in self.ends)

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
        for node, added, _ in self.ends:
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

    def costs_to_end(self) -> CostsToEnd:
        """The costs to the end as this expansion found them, for another one. The order must have been 1."""
        plain = self.to_end.plain
        known = [INFINITY] * self.source.num_states
        unknown = [INFINITY] * self.source.num_states
        reached = {node.state for node in self.grown if node.history is not None}
        for node, added, end_is_known in self.ends:
            if end_is_known:
                known[node.state] = self.final[node.state] + added
            elif node.history is not None:
                unknown[node.state] = self.final[node.state]
        for before, after, arc, added in reversed(self.arcs):
            if before.history is None:
                continue
            here = before.state
            cost = self.costs[arc]
            if after.history is None:
                unknown[here] = min(unknown[here], cost + plain[after.state])
            else:
                known[here] = min(known[here], cost + added + known[after.state])
                unknown[here] = min(unknown[here], cost + unknown[after.state])
        # Another expansion may reach a state in another history, in which the model does have costs.
        known = [cost if state in reached else plain[state] for state, cost in enumerate(known)]
        return CostsToEnd(plain, known, unknown)

    def _asking(self, nodes: list[Node]) -> Level:
        """The words whose costs are needed to expand some nodes."""
        asked: list[int] = []
        words: list[int] = []
        for place, node in enumerate(nodes):
            if self.final[node.state] < INFINITY:
                asked.append(place)
                words.append(EPSILON)
            following = [word for word in self.words[self._arcs(node)] if word != EPSILON]
            asked += [place] * len(following)
            words += following
        return Level(nodes, asked, words)

    def _expand(self, node: Node, asked: Iterator[float]) -> None:
        """Follow all arcs of a node, given what the model adds for its end, if it has one, and for each word."""
        if self.final[node.state] < INFINITY:
            added = next(asked)
            known = node.history is not None and added < INFINITY
            if added == INFINITY:
                added = self._without_model(node, EPSILON)
            self.ends.append((node, added, known))
            self.best = min(self.best, node.cost + self.final[node.state] + added)
        here = self._arcs(node)
        for arc, word, state in zip(range(here.start, here.stop), self.words[here], self.targets[here], strict=True):
            added = next(asked) if word != EPSILON else 0.0
            if self.to_end.plain[state] == INFINITY:
                continue
            history = self._history(node.history, word)
            if added == INFINITY:
                added = self._without_model(node, word)
                history = None
            cost = node.cost + self.costs[arc] + added
            after = self._node(state, history)
            self.arcs.append((node, after, arc, added))
            if cost < after.cost:
                after.cost = cost
                after.added = node.added + added
                after.estimate = self._estimate(after)
                after.before = node.before if word == EPSILON else node.number
                after.word = node.word if word == EPSILON else word

    def _without_model(self, node: Node, word: int) -> float:
        """Note a word that the model has no cost for. Returns what takes back the costs that it added before."""
        self.words_unknown.append(word)
        return -node.added

    def _estimate(self, node: Node) -> float:
        """The estimated cost of the cheapest complete path through a node."""
        if node.history is None:
            return node.cost + self.to_end.plain[node.state]
        becoming_unknown = node.cost - node.added + self.to_end.unknown[node.state]
        return min(node.cost + self.to_end.known[node.state], becoming_unknown)

    def _node(self, state: int, history: History) -> Node:
        waiting = self.waiting.setdefault(self.depth[state], {})
        node = waiting.get((state, history))
        if node is None:
            node = Node(self.found, state, history)
            waiting[state, history] = node
            self.found += 1
        return node

    def _history(self, history: History, word: int) -> History:
        if word == EPSILON or history is None:
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
