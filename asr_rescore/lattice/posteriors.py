"""Posterior probabilities of arcs and ends: forward-backward over a lattice, all states of one depth at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.order import depths


@dataclass(frozen=True, eq=False)
class Posteriors:
    """How probable each part of a lattice is, paths having probabilities ∝ exp(−cost).

    The arcs across any cut between the start and the ends, with the ends before the cut, sum to one.

    Attributes:
        arc: float64 (arcs,), that a path takes the arc.
        final: float64 (states,), that it ends in the state.
        total: ln of the sum of exp(−cost) over all paths.
    """

    arc: np.ndarray
    final: np.ndarray
    total: float


def posteriors(lattice: Lattice, acoustic_scale: float = 1.0, word_penalty: float = 0.0) -> Posteriors | None:
    """Posteriors at the costs of :func:`best_path`; None without any path (Kaldi: lattice-arc-post).

    Args:
        lattice: any acyclic one; what is on no path gets 0.
        acoustic_scale: a path costs graph + ``acoustic_scale`` · acoustic + ``word_penalty`` · words. To flatten or
            sharpen the whole, :func:`scale` the graph costs, and this and the penalty with them.
        word_penalty: the cost of a word.
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
    """Some states of one depth with their arcs, as ``ufunc.reduceat`` wants them.

    Attributes:
        states: int64 (states,).
        arcs: int64 (arcs,), those of the first state first.
        starts: int64 (states,), where in ``arcs`` those of each state begin.
    """

    states: np.ndarray
    arcs: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, eq=False)
class Network:
    """A lattice with a single end: behind its arcs stands one more, without a word, for each final weight.

    Attributes:
        start, end: states; ``end`` is the one added.
        depth: int64 (states,), arcs of the longest way that leads to a state.
        source, target, word, frames: int64 (arcs,); ``frames`` counts transition ids.
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
        """Close ``lattice``, at the costs of :func:`best_path`.

        Raises:
            RescoreError: there is a cycle.
        """
        finals, end = np.flatnonzero(lattice.is_final), lattice.num_states
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
        """The same with some of the arcs, a bool mask."""
        return replace(self, **{name: getattr(self, name)[arcs] for name in _OF_ARCS})

    @cached_property
    def into(self) -> list[Layer]:
        """States with the arcs that enter them, the start's end of the network first."""
        return _layers(self.target, self.depth)

    @cached_property
    def out_of(self) -> list[Layer]:
        """States with the arcs that leave them, the end first."""
        return _layers(self.source, self.depth)[::-1]

    def forward(self) -> np.ndarray:
        """ln of the summed weight of all ways from the start to each state, float64 (states,)."""
        alpha = np.full(len(self.depth), -np.inf)
        if self.start < 0:
            return alpha
        alpha[self.start] = 0.0
        for layer in self.into:
            ways = alpha[self.source[layer.arcs]] + self.log_weight[layer.arcs]
            alpha[layer.states] = np.logaddexp.reduceat(ways, layer.starts)
            alpha[self.start] = 0.0  # whatever leads into the start is on no path
        return alpha

    def backward(self) -> np.ndarray:
        """The same from each state to the end."""
        beta = np.full(len(self.depth), -np.inf)
        beta[self.end] = 0.0
        for layer in self.out_of:
            ways = self.log_weight[layer.arcs] + beta[self.target[layer.arcs]]
            beta[layer.states] = np.logaddexp.reduceat(ways, layer.starts)
        return beta

    def arc_posteriors(self, forward: np.ndarray) -> np.ndarray:
        """Posterior of each arc, float64 (arcs,), given what :meth:`forward` says, which must reach the end."""
        ways = forward[self.source] + self.log_weight + self.backward()[self.target]
        return np.exp(ways - forward[self.end])


_OF_ARCS = ("source", "target", "word", "frames", "log_weight")


def _layers(state: np.ndarray, depth: np.ndarray) -> list[Layer]:
    """Arcs grouped by a state of each, and those groups by the state's depth, shallow first."""
    if not len(state):
        return []
    arcs = np.lexsort((state, depth[state]))
    layers = []
    for group in np.split(arcs, np.flatnonzero(np.diff(depth[state[arcs]])) + 1):
        starts = np.flatnonzero(np.diff(state[group], prepend=-1))
        layers.append(Layer(state[group[starts]], group, starts))
    return layers
