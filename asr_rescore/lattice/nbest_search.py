"""The N cheapest distinct word sequences of a lattice, by an exact and lazy search."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from itertools import count

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.paths import Path, costs_to_end

# How an entry of a subset is reached: (entry of the subset before, arcs from there).
Link = tuple[int, tuple[int, ...]]


class Subset:
    """A state of the lattice that is determinized on the fly: all lattice states to which a word sequence leads.

    Attributes:
        states: lattice states, including those that are reached by epsilon arcs.
        residuals: the cost of each state minus that of the cheapest.
        to_end: the cost of the cheapest path from here to an end.
        children: see :meth:`_Search.expand`; None until they are needed.
    """

    __slots__ = ("children", "residuals", "states", "to_end")

    def __init__(self, states: tuple[int, ...], residuals: tuple[float, ...], to_end: float):
        self.states = states
        self.residuals = residuals
        self.to_end = to_end
        self.children: list[Child] | None = None


# One more word, or the end of the sentence: (cost of the best completion through it, cost of the step, next subset or
# None for the end, links). At the end there is one link, and its entry is the state in which the sentence ends.
Child = tuple[float, float, "Subset | None", tuple[Link, ...]]
# A word sequence: (subset, cost so far, the sequence without its last word, links to it).
Node = tuple[Subset, float, "Node | None", tuple[Link, ...]]


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
    return _Search(lattice, acoustic_scale).run(n)


class _Search:
    """A best-first search over word sequences. The cost to the end is exact, so no sequence is extended in vain."""

    def __init__(self, lattice: Lattice, acoustic_scale: float):
        self.lattice = lattice
        self.costs = lattice.arc_costs(acoustic_scale).tolist()
        self.final = lattice.final_costs(acoustic_scale).tolist()
        self.offsets = lattice.arc_offsets.tolist()
        self.targets = lattice.target.tolist()
        self.words = lattice.word.tolist()
        self.to_end = costs_to_end(lattice, acoustic_scale)
        self.epsilon_arcs: dict[int, list[int]] = defaultdict(list)
        for arc in np.flatnonzero(lattice.word == EPSILON).tolist():
            self.epsilon_arcs[int(lattice.source[arc])].append(arc)
        self.subsets: dict[tuple[tuple[int, ...], tuple[float, ...]], Subset] = {}

    def run(self, n: int) -> list[Path]:
        """The paths of the ``n`` cheapest word sequences."""
        start = self.lattice.start
        if start < 0 or self.to_end[start] == float("inf"):
            return []
        _, root, links = self.close({start: (0.0, (0, ()))})
        found: list[Path] = []
        ticket = count()  # orders sequences of equal cost by when they were found
        heap: list[tuple[float, int, Node, int]] = []
        self.push(heap, ticket, (root, 0.0, None, links), 0)
        while heap and len(found) < n:
            _, _, node, index = heapq.heappop(heap)
            while True:  # follow the best completion, which costs what was just popped, to its end
                self.push(heap, ticket, node, index + 1)
                _, step, subset, links = self.children(node[0])[index]
                if subset is None:
                    found.append(self.path(node, links[0][0]))
                    break
                node = (subset, node[1] + step, node, links)
                index = 0
        return found

    def push(self, heap: list[tuple[float, int, Node, int]], ticket: Iterator[int], node: Node, index: int) -> None:
        """Queue the child of ``node`` with this index, if there is one. Later children are queued when it is popped."""
        children = self.children(node[0])
        if index < len(children):
            heapq.heappush(heap, (node[1] + children[index][0], next(ticket), node, index))

    def children(self, subset: Subset) -> list[Child]:
        """The children of a subset, which are computed when they are needed for the first time."""
        if subset.children is None:
            subset.children = self.expand(subset)
        return subset.children

    def expand(self, subset: Subset) -> list[Child]:
        """All continuations of a subset, ordered by the cost of their best completion."""
        reached: dict[int, dict[int, tuple[float, Link]]] = {}  # word → state → (cost, link)
        ending = float("inf")  # the cost of ending here, and the entry that ends
        ends = -1
        for entry, (state, residual) in enumerate(zip(subset.states, subset.residuals, strict=True)):
            if residual + self.final[state] < ending:
                ending = residual + self.final[state]
                ends = entry
            for arc in range(self.offsets[state], self.offsets[state + 1]):
                target = self.targets[arc]
                if self.words[arc] == EPSILON or self.to_end[target] == float("inf"):
                    continue
                states = reached.setdefault(self.words[arc], {})
                cost = residual + self.costs[arc]
                if target not in states or cost < states[target][0]:
                    states[target] = cost, (entry, (arc,))
        children: list[Child] = []
        for states in reached.values():
            step, following, links = self.close(states)
            children.append((step + following.to_end, step, following, links))
        if ends >= 0:
            children.append((ending, ending, None, ((ends, ()),)))
        children.sort(key=lambda child: child[0])
        return children

    def close(self, states: dict[int, tuple[float, Link]]) -> tuple[float, Subset, tuple[Link, ...]]:
        """Follow epsilon arcs and make a subset of all states; returns (least cost, subset, links)."""
        if self.epsilon_arcs:
            self.follow_epsilons(states)
        key: tuple[tuple[int, ...], tuple[float, ...]]
        links: tuple[Link, ...]
        if len(states) == 1:  # always so in a determinized lattice
            ((state, (least, link)),) = states.items()
            key = (state,), (0.0,)
            links = (link,)
        else:
            least = min(cost for cost, _ in states.values())
            entries = sorted((state, cost - least, link) for state, (cost, link) in states.items())
            key = tuple(state for state, _, _ in entries), tuple(residual for _, residual, _ in entries)
            links = tuple(link for _, _, link in entries)
        subset = self.subsets.get(key)
        if subset is None:
            to_end = min(residual + self.to_end[state] for state, residual in zip(*key, strict=True))
            subset = Subset(*key, to_end)
            self.subsets[key] = subset
        return least, subset, links

    def follow_epsilons(self, states: dict[int, tuple[float, Link]]) -> None:
        """Add the states that epsilon arcs reach, each with its cheapest path."""
        waiting = [state for state in states if state in self.epsilon_arcs]
        while waiting:
            state = waiting.pop()
            cost, (entry, arcs) = states[state]
            for arc in self.epsilon_arcs[state]:
                target = self.targets[arc]
                through = cost + self.costs[arc]
                if self.to_end[target] == float("inf") or (target in states and states[target][0] <= through):
                    continue
                states[target] = through, (entry, (*arcs, arc))
                if target in self.epsilon_arcs:
                    waiting.append(target)

    def path(self, node: Node, entry: int) -> Path:
        """The path of a word sequence that ends in the state with index ``entry`` of its subset."""
        final_state = node[0].states[entry]
        pieces: list[tuple[int, ...]] = []
        step: Node | None = node
        while step is not None:
            entry, arcs = step[3][entry]
            pieces.append(arcs)
            step = step[2]
        return Path.along(self.lattice, [arc for arcs in reversed(pieces) for arc in arcs], final_state)
