"""The N cheapest distinct word sequences of a lattice, by an exact and lazy search."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from itertools import count

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import topological_order
from asr_rescore.lattice.paths import Path, costs_to_end

INFINITY = float("inf")
# A lattice with epsilon arcs is searched with these beams in turn until one is wide enough. The result does not depend
# on them. Without a beam, each word of a state-level lattice would lead to a large part of all states.
BEAMS = (8.0, 32.0, 128.0, INFINITY)
SLACK = 0.5  # added to a beam where states are dropped, so that rounding never drops one that is within the beam
NO_ARC = -1

# Lattice state → (cost, the last arc on the way to it). The cost is counted from a subset.
Reached = dict[int, tuple[float, int]]


class Child:
    """One more word after a subset, or the end of the sentence.

    Attributes:
        cost: the cost of the best completion through it.
        reached: the states after the word; None at the end of the sentence. When the child is followed for the first
            time, the states that epsilon arcs reach are added.
        state: the state in which the sentence ends.
        step: the cost of the word; it is computed when the child is followed, like ``subset``.
        subset: the subset after the word.
    """

    __slots__ = ("cost", "reached", "state", "step", "subset")

    def __init__(self, cost: float, reached: Reached | None, state: int = -1):
        self.cost = cost
        self.reached = reached
        self.state = state
        self.step = 0.0
        self.subset: Subset | None = None


class Subset:
    """A state of the lattice that is determinized on the fly: all lattice states to which a word sequence leads.

    Attributes:
        states: lattice states from which a word or the end can follow, including those that epsilon arcs reach.
        residuals: the cost of each state minus that of the cheapest.
        to_end: the cost of the cheapest path from here to an end.
        children: all continuations, ordered by cost; None until they are needed.
    """

    __slots__ = ("children", "residuals", "states", "to_end")

    def __init__(self, states: tuple[int, ...], residuals: tuple[float, ...], to_end: float):
        self.states = states
        self.residuals = residuals
        self.to_end = to_end
        self.children: list[Child] | None = None


# A word sequence: (subset, cost so far, the sequence without its last word, the states that the last word reaches).
Node = tuple[Subset, float, "Node | None", Reached]


def n_best(lattice: Lattice, n: int, acoustic_scale: float) -> list[Path]:
    """The cheapest paths of the ``n`` cheapest distinct word sequences, ordered by cost.

    For a determinized lattice the result is that of Kaldi's lattice-to-nbest. For other lattices lattice-to-nbest
    repeats word sequences, and this function does not.

    Args:
        lattice: an acyclic lattice.
        n: how many word sequences to find.
        acoustic_scale: paths are ordered by graph + ``acoustic_scale`` · acoustic.

    Returns:
        ``n`` paths, or fewer if the lattice does not have ``n`` word sequences.

    Raises:
        RescoreError: the lattice has a cycle.
    """
    search = _Search(lattice, acoustic_scale)
    for beam in BEAMS if search.epsilon_arcs else (INFINITY,):
        found = search.run(n, beam)
        if len(found) >= n or not search.pruned:
            break
    return found


class _Search:
    """A best-first search over word sequences. The cost to the end is exact, so no sequence is extended in vain."""

    def __init__(self, lattice: Lattice, acoustic_scale: float):
        self.lattice = lattice
        self.costs = lattice.arc_costs(acoustic_scale).tolist()
        self.final: list[float] = lattice.final_costs(acoustic_scale).tolist()
        self.offsets = lattice.arc_offsets.tolist()
        self.sources = lattice.source.tolist()
        self.targets = lattice.target.tolist()
        self.words = lattice.word.tolist()
        self.to_end = costs_to_end(lattice, acoustic_scale)
        self.epsilon_arcs: dict[int, list[int]] = defaultdict(list)
        for arc in np.flatnonzero(lattice.word == EPSILON).tolist():
            self.epsilon_arcs[self.sources[arc]].append(arc)
        if self.epsilon_arcs:
            order = topological_order(lattice)
            self.order = order.tolist()
            self.place = np.argsort(order).tolist()  # the inverse: where in the order each state is

    def run(self, n: int, beam: float) -> list[Path]:
        """The paths of the ``n`` cheapest word sequences, or of those that cost at most ``beam`` more than the best."""
        self.beam = beam + SLACK
        self.pruned = False
        self.subsets: dict[tuple[tuple[int, ...], tuple[float, ...]], Subset] = {}
        start = self.lattice.start
        if start < 0 or self.to_end[start] == INFINITY:
            return []
        root = self.follow(None, Child(self.to_end[start], {start: (0.0, NO_ARC)}))
        found: list[Path] = []
        ticket = count()  # orders sequences of equal cost by when they were found
        heap: list[tuple[float, int, Node, int]] = []
        if root is not None:
            self.push(heap, ticket, root, 0)
        while heap and len(found) < n:
            cost, _, node, index = heapq.heappop(heap)
            if cost > self.to_end[start] + beam:
                self.pruned = True
                break
            following: Node | None = node
            while following is not None:  # follow the best completion, which costs what was just popped, to its end
                node = following
                self.push(heap, ticket, node, index + 1)
                child = self.children(node[0])[index]
                if child.reached is None:
                    found.append(self.path(node, child.state))
                    break
                following = self.follow(node, child)
                index = 0
        return found

    def push(self, heap: list[tuple[float, int, Node, int]], ticket: Iterator[int], node: Node, index: int) -> None:
        """Queue the child of ``node`` with this index, if there is one. Later children are queued when it is popped."""
        children = self.children(node[0])
        if index < len(children):
            heapq.heappush(heap, (node[1] + children[index].cost, next(ticket), node, index))

    def children(self, subset: Subset) -> list[Child]:
        """The children of a subset, which are computed when they are needed for the first time."""
        if subset.children is None:
            subset.children = self.expand(subset)
        return subset.children

    def expand(self, subset: Subset) -> list[Child]:
        """All continuations of a subset within the beam, ordered by the cost of their best completion."""
        limit = subset.to_end + self.beam
        children: dict[int, Child] = {}  # by word
        ending = INFINITY  # the cost of ending here, and the state in which to end
        ends = -1
        for state, residual in zip(subset.states, subset.residuals, strict=True):
            if residual + self.final[state] < ending:
                ending = residual + self.final[state]
                ends = state
            for arc in range(self.offsets[state], self.offsets[state + 1]):
                word = self.words[arc]
                if word == EPSILON:
                    continue
                target = self.targets[arc]
                cost = residual + self.costs[arc]
                completion = cost + self.to_end[target]
                if not completion < limit:
                    self.pruned |= completion != INFINITY
                    continue
                child = children.get(word)
                if child is None:
                    children[word] = Child(completion, {target: (cost, arc)})
                    continue
                assert child.reached is not None  # it is a word, not the end
                if completion < child.cost:
                    child.cost = completion
                if target not in child.reached or cost < child.reached[target][0]:
                    child.reached[target] = cost, arc
        continuations = list(children.values())
        if ending < limit:
            continuations.append(Child(ending, None, ends))
        elif ending != INFINITY:
            self.pruned = True
        continuations.sort(key=lambda child: child.cost)
        return continuations

    def follow(self, node: Node | None, child: Child) -> Node | None:
        """The word sequence of ``node`` with one more word; None if rounding errors exceed the beam."""
        assert child.reached is not None  # nothing follows the end
        if child.subset is None:
            if self.epsilon_arcs:
                self.follow_epsilons(child.reached, child.cost + self.beam)
            child.step, child.subset = self.subset(child.reached)
            if child.subset is None:
                self.pruned = True
                return None
        so_far = 0.0 if node is None else node[1]
        return child.subset, so_far + child.step, node, child.reached

    def follow_epsilons(self, states: Reached, limit: float) -> None:
        """Add the states that epsilon arcs reach within ``limit``, each with its cheapest path.

        States are visited in topological order, and so each of them once.
        """
        waiting = [self.place[state] for state in states if state in self.epsilon_arcs]
        heapq.heapify(waiting)
        while waiting:
            state = self.order[heapq.heappop(waiting)]
            cost = states[state][0]
            for arc in self.epsilon_arcs[state]:
                target = self.targets[arc]
                through = cost + self.costs[arc]
                completion = through + self.to_end[target]
                if not completion < limit:
                    self.pruned |= completion != INFINITY
                    continue
                if target not in states:
                    states[target] = through, arc
                    if target in self.epsilon_arcs:
                        heapq.heappush(waiting, self.place[target])
                elif through < states[target][0]:
                    states[target] = through, arc

    def subset(self, reached: Reached) -> tuple[float, Subset | None]:
        """The least cost of the states from which a word or the end can follow, and their subset."""
        key: tuple[tuple[int, ...], tuple[float, ...]]
        if len(reached) == 1:  # always so in a determinized lattice
            ((state, (least, _)),) = reached.items()
            key = (state,), (0.0,)
        else:
            entries = sorted((state, cost) for state, (cost, _) in reached.items() if self.leads_on(state))
            least = min((cost for _, cost in entries), default=INFINITY)
            if least == INFINITY:
                return least, None
            key = tuple(state for state, _ in entries), tuple(cost - least for _, cost in entries)
        subset = self.subsets.get(key)
        if subset is None:
            to_end = min(residual + self.to_end[state] for state, residual in zip(*key, strict=True))
            subset = Subset(*key, to_end)
            self.subsets[key] = subset
        return least, subset

    def leads_on(self, state: int) -> bool:
        """Whether a word or the end of the sentence can follow the state."""
        arcs = self.offsets[state + 1] - self.offsets[state]
        return self.final[state] < INFINITY or arcs > len(self.epsilon_arcs.get(state, ()))

    def path(self, node: Node, state: int) -> Path:
        """The path of a word sequence that ends in ``state``."""
        final_state = state
        arcs: list[int] = []
        step: Node | None = node
        while step is not None:
            arc = step[3][state][1]
            if arc != NO_ARC:
                arcs.append(arc)
                state = self.sources[arc]
            if arc == NO_ARC or self.words[arc] != EPSILON:
                step = step[2]
        arcs.reverse()
        return Path.along(self.lattice, arcs, final_state)
