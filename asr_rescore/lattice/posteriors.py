"""Posterior probabilities of arcs and final states: forward-backward, all states of one depth at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import depths


@dataclass(frozen=True, eq=False)
class Posteriors:
    """The posterior probabilities of a lattice. The probability of a path is proportional to exp(−cost).

    For any cut that separates the start from the rest, the arcs that cross the cut and the final states before it sum
    to one.

    Attributes:
        arc: float64 (arcs,), the probability that a path takes the arc.
        final: float64 (states,), the probability that a path ends in the state.
        total: ln of the sum of exp(−cost) over all paths.
    """

    arc: np.ndarray
    final: np.ndarray
    total: float


def posteriors(lattice: Lattice, acoustic_scale: float, word_penalty: float = 0.0) -> Posteriors | None:
    """Posterior probabilities with the path costs of :func:`best_path` (Kaldi: lattice-arc-post).

    Args:
        lattice: an acyclic lattice. Arcs and states on no path get 0.
        acoustic_scale: a path costs graph + ``acoustic_scale`` · acoustic + ``word_penalty`` · words. To flatten or
            sharpen the distribution, multiply all three: the graph costs with :func:`scale`, this scale and the
            penalty.
        word_penalty: added for each word.

    Returns:
        The posteriors, or None if the lattice has no path.

    Raises:
        RescoreError: the lattice has a cycle.
    """
    network = Network.of(lattice, acoustic_scale, word_penalty)
    forward = network.forward()
    if not np.isfinite(forward[network.end]):
        return None
    arc = network.arc_posteriors(forward)
    final = np.zeros(lattice.num_states)
    final[network.source[lattice.num_arcs :]] = arc[lattice.num_arcs :]
    return Posteriors(arc[: lattice.num_arcs], final, float(forward[network.end]))


@dataclass(frozen=True, eq=False)
class Layer:
    """Some states of the same depth and their arcs, in the form that ``ufunc.reduceat`` needs.

    Attributes:
        states: int64 (states,).
        arcs: int64 (arcs,), ordered like the states they belong to.
        starts: int64 (states,), where in ``arcs`` the arcs of each state begin.
    """

    states: np.ndarray
    arcs: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, eq=False)
class Network:
    """A lattice with a single end state. After the lattice's arcs there is an arc without a word per final weight.

    Attributes:
        start, end: states; ``end`` is the state that was added.
        depth: int64 (states,), the number of arcs on the longest path to each state.
        source, target, word, frames: int64 (arcs,); ``frames`` is the number of transition ids.
        log_weight: float64 (arcs,), −cost.
    """

    start: int
    end: int
    depth: np.ndarray
    source: np.ndarray
    target: np.ndarray
    word: np.ndarray
    frames: np.ndarray
    log_weight: np.ndarray

    @classmethod
    def of(cls, lattice: Lattice, acoustic_scale: float, word_penalty: float) -> Network:
        """The network of ``lattice``, with the path costs of :func:`best_path`.

        Raises:
            RescoreError: the lattice has a cycle.
        """
        finals = np.flatnonzero(lattice.is_final)
        end = lattice.num_states
        depth = depths(lattice)
        costs = lattice.arc_costs(acoustic_scale) + word_penalty * (lattice.word != EPSILON)
        return cls(
            lattice.start,
            end,
            np.array([*depth, max(depth, default=0) + 1], dtype=np.int64),
            np.concatenate([lattice.source, finals]),
            np.concatenate([lattice.target, np.full(len(finals), end)]),
            np.concatenate([lattice.word, np.full(len(finals), EPSILON)]),
            np.concatenate([np.diff(lattice.alignment.offsets), np.diff(lattice.final_alignment.offsets)[finals]]),
            -np.concatenate([costs, lattice.final_costs(acoustic_scale)[finals]]),
        )

    def only(self, arcs: np.ndarray) -> Network:
        """The network with only the arcs that ``arcs``, bool (arcs,), selects."""
        return replace(
            self,
            source=self.source[arcs],
            target=self.target[arcs],
            word=self.word[arcs],
            frames=self.frames[arcs],
            log_weight=self.log_weight[arcs],
        )

    @cached_property
    def into(self) -> list[Layer]:
        """The states and the arcs that enter them, ordered by depth."""
        return _layers(self.target, self.depth)

    @cached_property
    def out_of(self) -> list[Layer]:
        """The states and the arcs that leave them, ordered by depth, the deepest first."""
        return _layers(self.source, self.depth)[::-1]

    def forward(self) -> np.ndarray:
        """ln of the summed weight of all paths from the start to each state, float64 (states,)."""
        alpha = np.full(len(self.depth), -np.inf)
        if self.start < 0:
            return alpha
        alpha[self.start] = 0.0
        for layer in self.into:
            through = alpha[self.source[layer.arcs]] + self.log_weight[layer.arcs]
            alpha[layer.states] = np.logaddexp.reduceat(through, layer.starts)
            alpha[self.start] = 0.0  # arcs that enter the start are on no path
        return alpha

    def backward(self) -> np.ndarray:
        """ln of the summed weight of all paths from each state to the end, float64 (states,)."""
        beta = np.full(len(self.depth), -np.inf)
        beta[self.end] = 0.0
        for layer in self.out_of:
            through = self.log_weight[layer.arcs] + beta[self.target[layer.arcs]]
            beta[layer.states] = np.logaddexp.reduceat(through, layer.starts)
        return beta

    def arc_posteriors(self, forward: np.ndarray) -> np.ndarray:
        """The posterior of each arc, float64 (arcs,), from the result of :meth:`forward`, which must reach the end."""
        through = forward[self.source] + self.log_weight + self.backward()[self.target]
        posterior: np.ndarray = np.exp(through - forward[self.end])
        return posterior


def _layers(state: np.ndarray, depth: np.ndarray) -> list[Layer]:
    """Group arcs by their state and these groups by the depth of the state, ordered by depth.

    Args:
        state: int64 (arcs,), the source or target of each arc.
        depth: int64 (states,).
    """
    if not len(state):
        return []
    arcs = np.lexsort((state, depth[state]))
    layers = []
    for group in np.split(arcs, np.flatnonzero(np.diff(depth[state[arcs]])) + 1):
        starts = np.flatnonzero(np.diff(state[group], prepend=-1))
        layers.append(Layer(state[group[starts]], group, starts))
    return layers
