"""Minimum Bayes risk decoding: the words with the fewest expected errors, how sure each is, and when it was said.

H. Xu, D. Povey, L. Mangu, J. Zhu: Minimum Bayes Risk decoding and system combination based on a recursion for edit
distance, Computer Speech and Language 25(4), 2011. Kaldi: lattice-mbr-decode, lattice-to-ctm-conf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.lattice.graph import EPSILON, Lattice
from asr_rescore.lattice.paths import best_path
from asr_rescore.lattice.posteriors import Network

# Differences up to it are rounding. Of alignments with as many errors one with a word in the bin is taken, then one
# with it inserted, so that bins hold all they can; Kaldi makes insertions dearer by 1e-5, and goes by rounding.
TIE = 1e-9
TAKE, STAY, SKIP = range(3)  # an arc's word stands in a bin; is inserted before the next one; a bin stays empty


@dataclass(frozen=True, eq=False)
class Decoding:
    """The words that were chosen, and the sausage they come from.

    Attributes:
        words: word ids, (words,).
        confidences: float64 (words,), the probability of each word in its bin.
        times: float64 (words, 2), frames from the start at which each word begins and ends: the mean over all
            occurrences in its bin, weighted by their posteriors. Each begins no earlier than the one before it ends.
            All are 0 where the lattice has no transition ids, and as rough as the lattice where it has them anywhere
            on its words' arcs (Kaldi's lattice-align-words puts them straight).
        bins: (2 · words + 1,), between, before and behind the words those for insertions; each has (word id or
            ``EPSILON``, probability) pairs, most probable first, with a sum of one.
        risk: expected word errors: exact where the lattice is a prefix tree, else an upper bound (Section 3 of the
            paper).
    """

    words: tuple[int, ...]
    confidences: np.ndarray
    times: np.ndarray
    bins: tuple[tuple[tuple[int, float], ...], ...]
    risk: float


def mbr_decode(
    lattice: Lattice,
    acoustic_scale: float = 1.0,
    word_penalty: float = 0.0,
    *,
    hypothesis: Sequence[int] | None = None,
    refine: bool = True,
) -> Decoding | None:
    """Improve a hypothesis word by word until none can be improved; None where the lattice has no path.

    What is found is a local optimum: of two words that are missing side by side it can see the less probable one only.

    Args:
        lattice: any acyclic one.
        acoustic_scale, word_penalty: posteriors are those of :func:`posteriors`.
        hypothesis: word ids to begin with; default: the best path's.
        refine: False leaves the hypothesis as it is, and tells its confidences, times and risk. A word that the
            lattice does not have in its place has confidence 0 and lasts no time.
    """
    network = Network.of(lattice, acoustic_scale, word_penalty)
    forward = network.forward()
    if not np.isfinite(forward[network.end]):
        return None
    if hypothesis is None:
        hypothesis = best_path(lattice, acoustic_scale, word_penalty).words  # type: ignore[union-attr]
    live = network.only(network.arc_posteriors(forward) > 0)
    # What part of a state's paths came by each arc.
    share = np.exp(forward[live.source] + live.log_weight - forward[live.target])
    now = _Statistics.of(live, share, _with_gaps(hypothesis))
    while refine:
        better = now.most_probable()
        if np.array_equal(better, now.hypothesis):
            break
        following = _Statistics.of(live, share, _with_gaps(better))
        if following.risk >= now.risk:  # nothing but rounding was to be gained
            break
        now = following
    return now.decoding(live)


def _with_gaps(words: Sequence[int] | np.ndarray) -> np.ndarray:
    """One bin for each word and, around them, empty ones for what may have been left out, int64 (bins,)."""
    words = np.asarray(words, dtype=np.int64)
    words = words[words != EPSILON]
    bins = np.full(2 * len(words) + 1, EPSILON)
    bins[1::2] = words
    return bins


@dataclass(frozen=True, eq=False)
class _Statistics:
    """Figure 5 of the paper: where the lattice's words stand against a hypothesis.

    Attributes:
        hypothesis: r, int64 (bins,).
        risk: L, expected edit distance.
        words: int64 (distinct,), ids of the lattice's words in order, ``EPSILON`` first.
        gamma: float64 (distinct, bins), the probability of each word in each bin.
        taken: float64 (arcs, bins), that part of it which each arc has.
    """

    hypothesis: np.ndarray
    risk: float
    words: np.ndarray
    gamma: np.ndarray
    taken: np.ndarray

    @classmethod
    def of(cls, network: Network, share: np.ndarray, hypothesis: np.ndarray) -> _Statistics:
        """Run over the network forwards for the distances and back for the counts."""
        bins, states = len(hypothesis), len(network.depth)
        # distance[s, q], α′: mean edit distance of the ways to s against the first q bins, by the best alignment.
        distance = np.zeros((states, bins + 1))
        distance[network.start, 1:] = np.cumsum(hypothesis != EPSILON)
        for layer in network.into:
            before, words = distance[network.source[layer.arcs]], network.word[layer.arcs]
            after, _ = _align(before, words, hypothesis)
            distance[layer.states] = np.add.reduceat(share[layer.arcs, None] * after, layer.starts)
        # mass[s, q], β′: the probability of ways on which s is reached with the first q bins done.
        mass = np.zeros((states, bins + 1))
        mass[network.end, bins] = 1.0
        taken, empty = np.zeros((len(network.source), bins)), np.zeros(bins)
        for layer in network.out_of:
            before, words = distance[network.source[layer.arcs]], network.word[layer.arcs]
            _, move = _align(before, words, hypothesis)
            flow = _through_skips(share[layer.arcs, None] * mass[network.target[layer.arcs]], move == SKIP)
            taken[layer.arcs] = np.where(move == TAKE, flow[:, 1:], 0.0)
            empty += np.where(move == SKIP, flow[:, 1:], 0.0).sum(axis=0)
            back = np.pad(np.where(move == STAY, flow[:, 1:], 0.0), ((0, 0), (1, 0)))
            back[:, :-1] += taken[layer.arcs]
            mass[layer.states] = np.add.reduceat(back, layer.starts)
        empty += np.cumsum(mass[network.start, :0:-1])[::-1]  # bins passed over before the first arc
        words, gamma = _by_word(network.word, taken)
        if words[0] != EPSILON:
            words, gamma = np.insert(words, 0, EPSILON), np.pad(gamma, ((1, 0), (0, 0)))
        gamma[0] += empty
        return cls(hypothesis, float(distance[network.end, bins]), words, gamma, taken)

    def most_probable(self) -> np.ndarray:
        """The most probable word of each bin; where it is none the less as probable, the hypothesis's own."""
        best, own = self.gamma.argmax(axis=0), self._own_gamma()
        return np.where(self.gamma.max(axis=0) > own + TIE, self.words[best], self.hypothesis)

    def _own_gamma(self) -> np.ndarray:
        """The probability of the hypothesis in each bin."""
        return np.where(self.words[:, None] == self.hypothesis, self.gamma, 0.0).sum(axis=0)

    def decoding(self, network: Network) -> Decoding:
        """Words with their confidences, times and bins."""
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
        confidences = np.minimum(self._own_gamma()[chosen], 1.0)  # above it by rounding only
        return Decoding(words, confidences, _in_order(times), tuple(bins), self.risk)


def _align(before: np.ndarray, words: np.ndarray, hypothesis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One row of the edit distance for each of some arcs.

    Args:
        before: α′ of the arcs' sources, (arcs, bins + 1).
        words: (arcs,).
        hypothesis: (bins,).

    Returns:
        α′ behind each arc, (arcs, bins + 1), and how its last bins were come by, (arcs, bins).
    """
    word = words[:, None]
    stay = before + (word != EPSILON)
    take = before[:, :-1] + (word != hypothesis)
    here = stay.copy()
    np.minimum(take, stay[:, 1:], out=here[:, 1:])
    # min(here[q], after[q − 1] + cost of bin q left empty) for all q at once: a running minimum, without these costs.
    here[:, 1:] -= (skipped := np.cumsum(hypothesis != EPSILON))
    least = np.minimum.accumulate(here, axis=1)
    move = np.where(take <= stay[:, 1:] + TIE, TAKE, STAY)
    move[least[:, :-1] < here[:, 1:] - TIE] = SKIP
    least[:, 1:] += skipped
    return least, move


def _through_skips(flow: np.ndarray, skip: np.ndarray) -> np.ndarray:
    """What comes to each place itself and, where the bin behind it was skipped, by the places behind it.

    The recursion through[q] = flow[q] + skip[q] · through[q + 1], as a difference of cumulative sums.

    Args:
        flow: (arcs, bins + 1).
        skip: bool (arcs, bins).
    """
    places = flow.shape[1]
    behind = np.zeros((len(flow), places + 1))
    behind[:, :-1] = np.cumsum(flow[:, ::-1], axis=1)[:, ::-1]
    stop = np.full(flow.shape, places)
    np.copyto(stop[:, :-1], np.arange(1, places), where=~skip)
    stop = np.minimum.accumulate(stop[:, ::-1], axis=1)[:, ::-1]
    return np.maximum(behind[:, :-1] - np.take_along_axis(behind, stop, axis=1), 0.0)


def _by_word(word: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct words in order, and the sum of their arcs' rows."""
    order = np.argsort(word, kind="stable")
    starts = np.flatnonzero(np.diff(word[order], prepend=-1))
    return word[order[starts]], np.add.reduceat(taken[order], starts)


def _state_times(network: Network) -> np.ndarray:
    """Frames from the start to each state, float64 (states,); the longest way, should they differ."""
    times = np.zeros(len(network.depth))
    for layer in network.into:
        arrivals = times[network.source[layer.arcs]] + network.frames[layer.arcs]
        times[layer.states] = np.maximum.reduceat(arrivals, layer.starts)
    return times


def _in_order(times: np.ndarray) -> np.ndarray:
    """Mean times may overlap where words of several paths share bins: meet halfway, and never go back.

    NaN, of a word that never was, becomes the end of the word before.
    """
    begin, end = times[:, 0].copy(), times[:, 1].copy()
    overlap = end[:-1] > begin[1:]
    middle = (end[:-1] + begin[1:]) / 2
    end[:-1][overlap] = begin[1:][overlap] = middle[overlap]
    return np.fmax.accumulate(np.concatenate([[0.0], np.stack([begin, end], axis=1).ravel()]))[1:].reshape(-1, 2)
