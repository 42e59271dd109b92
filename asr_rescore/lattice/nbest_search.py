"""The N cheapest word sequences of a lattice: exact, lazy, and distinct even where the lattice is not determinized."""

from __future__ import annotations

import heapq
from collections import defaultdict
from itertools import count

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.paths import Path, costs_to_end

# How an entry of a subset came about: (entry of the subset before, arcs since).
Link = tuple[int, tuple[int, ...]]


class Subset:
    """A state of the lattice determinized on the fly: the states that one word sequence leads to.

    Attributes:
        states: lattice states, closed under epsilons.
        residuals: what each costs beyond the cheapest of them.
        to_end: the cheapest way from here to an end.
        children: see :meth:`_Search.expand`; None until they are asked for.
    """

    __slots__ = ("children", "residuals", "states", "to_end")

    def __init__(self, states: tuple[int, ...], residuals: tuple[float, ...], to_end: float):
        self.states, self.residuals, self.to_end = states, residuals, to_end
        self.children: list[Child] | None = None


# (cost of the best completion through it, cost of the step, subset behind it or None for ending here, links).
# Where the sentence ends here, the one link's entry is the one to end at.
Child = tuple[float, float, "Subset | None", tuple[Link, ...]]
# A word sequence: (subset, cost so far, the sequence one word shorter, links to it).
Node = tuple[Subset, float, "Node | None", tuple[Link, ...]]


def n_best(lattice: Lattice, n: int, acoustic_scale: float) -> list[Path]:
    """The ``n`` cheapest distinct word sequences, each by its cheapest path, cheapest first.

    Where the lattice is determinized this is Kaldi's lattice-to-nbest; where it is not, that program repeats
    sequences and this one does not.

    Args:
        lattice: any acyclic one.
        n: at most so many.
        acoustic_scale: paths are ordered by graph + ``acoustic_scale`` · acoustic.

    Returns:
        Fewer than ``n`` only where the lattice has no more sequences.
    """
    return _Search(lattice, acoustic_scale).run(n)


class _Search:
    """Best-first search over word sequences with the exact cost to the end: it never opens one it does not need."""

    def __init__(self, lattice: Lattice, acoustic_scale: float):
        self.lattice = lattice
        self.costs = lattice.arc_costs(acoustic_scale).tolist()
        self.final = lattice.final_costs(acoustic_scale).tolist()
        self.offsets, self.targets = lattice.arc_offsets.tolist(), lattice.target.tolist()
        self.words = lattice.word.tolist()
        self.to_end = costs_to_end(lattice, acoustic_scale)
        self.epsilon_arcs: dict[int, list[int]] = defaultdict(list)
        for arc in np.flatnonzero(lattice.word == EPSILON).tolist():
            self.epsilon_arcs[int(lattice.source[arc])].append(arc)
        self.subsets: dict[tuple[tuple[int, ...], tuple[float, ...]], Subset] = {}

    def run(self, n: int) -> list[Path]:
        start = self.lattice.start
        if start < 0 or self.to_end[start] == float("inf"):
            return []
        _, root, links = self.close({start: (0.0, (0, ()))})
        found: list[Path] = []
        ticket = count()  # of equal costs, the one found first
        heap: list[tuple[float, int, Node, int]] = []
        self.push(heap, ticket, (root, 0.0, None, links), 0)
        while heap and len(found) < n:
            _, _, node, index = heapq.heappop(heap)
            while True:  # down to the best completion, whose cost is the one just popped
                self.push(heap, ticket, node, index + 1)
                _, step, subset, links = node[0].children[index]
                if subset is None:
                    found.append(self.path(node, links[0][0]))
                    break
                node, index = (subset, node[1] + step, node, links), 0
                if subset.children is None:
                    subset.children = self.expand(subset)
        return found

    def push(self, heap: list[tuple[float, int, Node, int]], ticket: count, node: Node, index: int) -> None:
        """Queue a node's ``index``-th child, if it has so many; its later siblings wait behind it."""
        subset, cost = node[0], node[1]
        if subset.children is None:
            subset.children = self.expand(subset)
        if index < len(subset.children):
            heapq.heappush(heap, (cost + subset.children[index][0], next(ticket), node, index))

    def expand(self, subset: Subset) -> list[Child]:
        """All ways on from a subset, the one with the best completion first."""
        reached: dict[int, dict[int, tuple[float, Link]]] = {}  # word → state → (cost, link)
        ending, ends = float("inf"), -1
        for entry, (state, residual) in enumerate(zip(subset.states, subset.residuals, strict=True)):
            if residual + self.final[state] < ending:
                ending, ends = residual + self.final[state], entry
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
        """Add what epsilons reach; (least cost, the subset beyond it, links)."""
        if self.epsilon_arcs:
            self.follow_epsilons(states)
        if len(states) == 1:  # in a determinized lattice, always
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
            subset = self.subsets[key] = Subset(*key, to_end)
        return least, subset, links

    def follow_epsilons(self, states: dict[int, tuple[float, Link]]) -> None:
        waiting = [state for state in states if state in self.epsilon_arcs]
        while waiting:
            state = waiting.pop()
            cost, (entry, arcs) = states[state]
            for arc in self.epsilon_arcs[state]:
                target, through = self.targets[arc], cost + self.costs[arc]
                if self.to_end[target] == float("inf") or (target in states and states[target][0] <= through):
                    continue
                states[target] = through, (entry, (*arcs, arc))
                if target in self.epsilon_arcs:
                    waiting.append(target)

    def path(self, node: Node, entry: int) -> Path:
        """The path of a word sequence that ends in the ``entry``-th state of its subset."""
        final_state = node[0].states[entry]
        pieces: list[tuple[int, ...]] = []
        step: Node | None = node
        while step is not None:
            entry, arcs = step[3][entry]
            pieces.append(arcs)
            step = step[2]
        return Path.along(self.lattice, [arc for arcs in reversed(pieces) for arc in arcs], final_state)
