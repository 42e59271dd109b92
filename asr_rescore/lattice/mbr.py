"""Minimum Bayes risk decoding: the words with the fewest expected errors, their confidences and their times.

H. Xu, D. Povey, L. Mangu, J. Zhu: Minimum Bayes Risk decoding and system combination based on a recursion for edit
distance, Computer Speech and Language 25(4), 2011. Kaldi: lattice-mbr-decode, lattice-to-ctm-conf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.paths import best_path, costs_from_start, costs_to_end
from asr_rescore.lattice.posteriors import Network
from asr_rescore.lattice.transform import prune

INFINITY = float("inf")
# The most cells, arcs × bins, of one array of the statistics: 268 MB of float64. Decoding takes about four times as
# much memory, and ten seconds. With 60 words, this is reached at 277,000 arcs.
MOST_CELLS = 1 << 25

# Differences up to TIE are rounding errors. Among alignments with equally many errors, those that put a word into the
# bin come first and those that insert it come second, so that bins are as full as possible. Kaldi adds 1e-5 to the cost
# of an insertion and otherwise leaves the choice to rounding.
TIE = 1e-9
# The moves of an alignment.
TAKE = 0  # the arc's word goes into the bin
STAY = 1  # the arc's word is inserted before the next bin
SKIP = 2  # the bin stays empty


@dataclass(frozen=True, eq=False)
class Decoding:
    """The chosen words and the sausage (the sequence of bins) from which they come.

    Attributes:
        words: word ids, (words,).
        confidences: float64 (words,), the probability of each word in its bin.
        times: float64 (words, 2), the begin and end of each word in frames from the start. They are means over all
            occurrences of the word in its bin, weighted by their posteriors. No word begins before the previous one
            ends. All times are 0 if the lattice has no transition ids. They are only as exact as the alignment of the
            lattice's words with its arcs, which Kaldi's lattice-align-words improves.
        bins: (2 · words + 1,). Each bin has pairs of a word id, or ``EPSILON``, and its probability, the most probable
            first; the probabilities sum to one. Bins 1, 3, … belong to the words. The others, before, between and
            after the words, are for insertions.
        risk: the expected number of word errors. It is exact if the lattice is a prefix tree, else an upper bound
            (Section 3 of the paper).
        beam: the beam with which the lattice was pruned because it has too many arcs; inf if it was not pruned.
    """

    words: tuple[int, ...]
    confidences: np.ndarray
    times: np.ndarray
    bins: tuple[tuple[tuple[int, float], ...], ...]
    risk: float
    beam: float = INFINITY


def mbr_decode(
    lattice: Lattice,
    acoustic_scale: float,
    word_penalty: float = 0.0,
    *,
    hypothesis: Sequence[int] | None = None,
    refine: bool = True,
) -> Decoding | None:
    """Improve a hypothesis word by word until the expected number of errors no longer falls.

    The result is a local optimum: if two adjacent words are missing, only one of them gets into the bin between their
    neighbours, and it may be the less probable one.

    Time and memory grow with arcs × (2 · words + 1). A lattice for which this product exceeds 2 ** 25 is first pruned
    to the arcs on its cheapest paths; ``Decoding.beam`` is then finite.

    Args:
        lattice: an acyclic lattice.
        acoustic_scale, word_penalty: as for :func:`posteriors`, which weight the lattice's paths.
        hypothesis: the word ids with which to begin; by default those of the best path.
        refine: if False, keep the hypothesis and compute its confidences, times and risk. A word that the lattice does
            not have at its place gets confidence 0 and zero duration.

    Returns:
        The words with their confidences and times, or None if the lattice has no path.

    Raises:
        RescoreError: the lattice has a cycle, or pruning cannot make it small enough.
    """
    if hypothesis is None:
        best = best_path(lattice, acoustic_scale, word_penalty)
        if best is None:
            return None
        hypothesis = best.words
    beam = INFINITY
    most_arcs = MOST_CELLS // (2 * len(hypothesis) + 1)
    if lattice.num_arcs > most_arcs:
        # The penalty becomes a part of the graph costs, because pruning knows no penalty.
        lattice = replace(lattice, graph=lattice.graph + word_penalty * (lattice.word != EPSILON))
        word_penalty = 0.0
        beam = _beam(lattice, acoustic_scale, most_arcs)
        lattice = prune(lattice, beam, acoustic_scale)
    network = Network.of(lattice, acoustic_scale, word_penalty)
    forward = network.forward()
    if not np.isfinite(forward[network.end]):
        return None
    live = network.only(network.arc_posteriors(forward) > 0)
    # The fraction of the paths to a state that come through each of its incoming arcs.
    fraction = np.exp(forward[live.source] + live.log_weight - forward[live.target])
    now = _Statistics.of(live, fraction, _with_gaps(hypothesis))
    while refine:
        better = now.most_probable()
        if np.array_equal(better, now.hypothesis):
            break
        following = _Statistics.of(live, fraction, _with_gaps(better))
        if following.risk >= now.risk:  # the difference was only rounding
            break
        now = following
    return now.decoding(live, beam)


def _beam(lattice: Lattice, acoustic_scale: float, most_arcs: int) -> float:
    """The widest beam within which at most ``most_arcs`` arcs are; inf if the lattice has no path.

    Raises:
        RescoreError: the best paths alone have more arcs.
    """
    to_end = np.array(costs_to_end(lattice, acoustic_scale))
    from_start = np.array(costs_from_start(lattice, acoustic_scale))
    if lattice.start < 0 or not np.isfinite(to_end[lattice.start]):
        return INFINITY
    costs = from_start[lattice.source] + lattice.arc_costs(acoustic_scale) + to_end[lattice.target]
    excess = np.sort(costs - to_end[lattice.start])
    within = excess[: most_arcs + 1]
    rounding = 1e-9 * (1 + abs(float(to_end[lattice.start])))
    kept = within[within < within[-1] - rounding]
    if not kept.size:
        raise RescoreError(
            f"lattice: {lattice.num_arcs} arcs, of which more than {most_arcs} are on its best paths, expected at most "
            f"{most_arcs} for this number of words; prune it with another scale, or decode shorter segments"
        )
    return float(kept[-1]) + rounding


def _with_gaps(words: Sequence[int] | np.ndarray) -> np.ndarray:
    """One bin per word, with empty bins for missing words before, between and after them, int64 (bins,)."""
    words = np.asarray(words, dtype=np.int64)
    words = words[words != EPSILON]
    bins = np.full(2 * len(words) + 1, EPSILON)
    bins[1::2] = words
    return bins


@dataclass(frozen=True, eq=False)
class _Statistics:
    """The statistics of Figure 5 of the paper: how the words of the lattice align with a hypothesis.

    Attributes:
        hypothesis: r in the paper, int64 (bins,).
        risk: L in the paper, the expected edit distance.
        words: int64 (distinct,), the distinct word ids of the lattice in ascending order, ``EPSILON`` first.
        gamma: float64 (distinct, bins), the probability of each word in each bin.
        taken: float64 (arcs, bins), the part of this probability that comes from each arc.
    """

    hypothesis: np.ndarray
    risk: float
    words: np.ndarray
    gamma: np.ndarray
    taken: np.ndarray

    @classmethod
    def of(cls, network: Network, fraction: np.ndarray, hypothesis: np.ndarray) -> _Statistics:
        """Compute the statistics: a forward pass for the distances and a backward pass for the probabilities.

        Args:
            network: the lattice, without arcs of probability 0.
            fraction: float64 (arcs,), the fraction of the paths to an arc's target that come through the arc.
            hypothesis: int64 (bins,).
        """
        bins = len(hypothesis)
        states = len(network.depth)
        # distance[s, q], α′ in the paper: mean edit distance of the paths to s against the first q bins.
        distance = np.zeros((states, bins + 1))
        distance[network.start, 1:] = np.cumsum(hypothesis != EPSILON)
        for layer in network.into:
            after, _ = _align(distance[network.source[layer.arcs]], network.word[layer.arcs], hypothesis)
            distance[layer.states] = np.add.reduceat(fraction[layer.arcs, None] * after, layer.starts)
        # mass[s, q], β′ in the paper: the probability of the paths that have filled the first q bins when they reach s.
        mass = np.zeros((states, bins + 1))
        mass[network.end, bins] = 1.0
        taken = np.zeros((len(network.source), bins))
        empty = np.zeros(bins)
        for layer in network.out_of:
            _, move = _align(distance[network.source[layer.arcs]], network.word[layer.arcs], hypothesis)
            flow = _through_skips(fraction[layer.arcs, None] * mass[network.target[layer.arcs]], move == SKIP)
            taken[layer.arcs] = np.where(move == TAKE, flow[:, 1:], 0.0)
            empty += np.where(move == SKIP, flow[:, 1:], 0.0).sum(axis=0)
            back = np.pad(np.where(move == STAY, flow[:, 1:], 0.0), ((0, 0), (1, 0)))
            back[:, :-1] += taken[layer.arcs]
            mass[layer.states] = np.add.reduceat(back, layer.starts)
        empty += np.cumsum(mass[network.start, :0:-1])[::-1]  # bins skipped before the first arc
        words, gamma = _by_word(network.word, taken)
        if words[0] != EPSILON:
            words = np.insert(words, 0, EPSILON)
            gamma = np.pad(gamma, ((1, 0), (0, 0)))
        gamma[0] += empty
        return cls(hypothesis, float(distance[network.end, bins]), words, gamma, taken)

    def most_probable(self) -> np.ndarray:
        """The most probable word of each bin, int64 (bins,). In a tie the word of the hypothesis is kept."""
        best = self.gamma.argmax(axis=0)
        return np.where(self.gamma.max(axis=0) > self._own_gamma() + TIE, self.words[best], self.hypothesis)

    def _own_gamma(self) -> np.ndarray:
        """The probability of the hypothesis's word in each bin, float64 (bins,)."""
        own: np.ndarray = np.where(self.words[:, None] == self.hypothesis, self.gamma, 0.0).sum(axis=0)
        return own

    def decoding(self, network: Network, beam: float) -> Decoding:
        """The hypothesis with its confidences, times, bins and risk. ``beam`` is only passed on."""
        chosen = np.flatnonzero(self.hypothesis != EPSILON)
        mine = np.where(network.word[:, None] == self.hypothesis[chosen], self.taken[:, chosen], 0.0)  # (arcs, words)
        frame = _state_times(network)
        sums = mine.sum(axis=0)
        with np.errstate(invalid="ignore"):
            times = np.stack([frame[network.source] @ mine / sums, frame[network.target] @ mine / sums], axis=1)
        bins = []
        for column in self.gamma.T:
            ranked = [int(row) for row in np.argsort(-column, kind="stable") if column[row] > 0]
            bins.append(tuple((int(self.words[row]), float(column[row])) for row in ranked))
        words = tuple(self.hypothesis[chosen].tolist())
        confidences = np.minimum(self._own_gamma()[chosen], 1.0)  # rounding can make them slightly larger than 1
        return Decoding(words, confidences, _in_order(times), tuple(bins), self.risk, beam)


def _align(before: np.ndarray, words: np.ndarray, hypothesis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute one row of the edit distance for each of several arcs.

    Args:
        before: α′ before each arc, (arcs, bins + 1).
        words: the word of each arc, (arcs,).
        hypothesis: (bins,).

    Returns:
        α′ after each arc, (arcs, bins + 1), and the move (``TAKE``, ``STAY`` or ``SKIP``) by which each bin was
        reached, (arcs, bins).
    """
    word = words[:, None]
    stay = before + (word != EPSILON)
    take = before[:, :-1] + (word != hypothesis)
    here = stay.copy()
    np.minimum(take, stay[:, 1:], out=here[:, 1:])
    # after[q] = min(here[q], after[q − 1] + cost of leaving bin q empty) for all q at once: subtract the summed costs
    # of empty bins, take the running minimum, and add the costs again.
    skipped = np.cumsum(hypothesis != EPSILON)
    here[:, 1:] -= skipped
    least = np.minimum.accumulate(here, axis=1)
    move = np.where(take <= stay[:, 1:] + TIE, TAKE, STAY)
    move[least[:, :-1] < here[:, 1:] - TIE] = SKIP
    least[:, 1:] += skipped
    return least, move


def _through_skips(flow: np.ndarray, skip: np.ndarray) -> np.ndarray:
    """Add to each place the flow of the places after it, as far as the bins between them were skipped.

    The recursion through[q] = flow[q] + skip[q] · through[q + 1] is computed as a difference of cumulative sums.

    Args:
        flow: (arcs, bins + 1).
        skip: bool (arcs, bins).

    Returns:
        (arcs, bins + 1).
    """
    places = flow.shape[1]
    from_here = np.zeros((len(flow), places + 1))  # the sum of the flow from each place to the last
    from_here[:, :-1] = np.cumsum(flow[:, ::-1], axis=1)[:, ::-1]
    stop = np.full(flow.shape, places)
    np.copyto(stop[:, :-1], np.arange(1, places), where=~skip)
    stop = np.minimum.accumulate(stop[:, ::-1], axis=1)[:, ::-1]
    through: np.ndarray = from_here[:, :-1] - np.take_along_axis(from_here, stop, axis=1)
    return through.clip(min=0.0)


def _by_word(word: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct words in ascending order, and for each the sum of the rows of its arcs."""
    order = np.argsort(word, kind="stable")
    starts = np.flatnonzero(np.diff(word[order], prepend=-1))
    return word[order[starts]], np.add.reduceat(taken[order], starts)


def _state_times(network: Network) -> np.ndarray:
    """The number of frames from the start to each state, float64 (states,); the maximum if paths differ."""
    times = np.zeros(len(network.depth))
    for layer in network.into:
        arrivals = times[network.source[layer.arcs]] + network.frames[layer.arcs]
        times[layer.states] = np.maximum.reduceat(arrivals, layer.starts)
    return times


def _in_order(times: np.ndarray) -> np.ndarray:
    """Make times ascend. Mean times may overlap if words of several paths share bins; such words then meet halfway.

    NaN, the time of a word that the lattice does not have, becomes the end of the word before.

    Args:
        times: (words, 2), the begin and end of each word.
    """
    begin = times[:, 0].copy()
    end = times[:, 1].copy()
    overlap = end[:-1] > begin[1:]
    middle = (end[:-1] + begin[1:]) / 2
    end[:-1][overlap] = middle[overlap]
    begin[1:][overlap] = middle[overlap]
    edges = np.concatenate([[0.0], np.stack([begin, end], axis=1).ravel()])
    ascending: np.ndarray = np.fmax.accumulate(edges)
    return ascending[1:].reshape(-1, 2)
