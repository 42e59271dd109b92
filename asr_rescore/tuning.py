"""LM weights, LMWT and word insertion penalty tuned together, on a grid, for the fewest errors on a dev set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from asr_rescore.errors import UsageError
from asr_rescore.nbest import NBest
from asr_rescore.ranking import OperatingPoint, Weights, graph_costs, total_costs
from asr_rescore.word_errors import edit_distances

# A finer grid than this would tune on noise: on 1,700 words one error is 0.06 % WER.
MOST_LM_WEIGHTS = 300
Words = Sequence[str]
# Gets (list, utterance, texts of the utterance), yields (list, texts as they are compared): see scoring.Scoring.each.
Compare = Callable[[Iterable[tuple["_Winners", str, Sequence[Words]]]], Iterable[tuple["_Winners", Sequence[Words]]]]


@dataclass(frozen=True)
class Tuning:
    """The result of a grid search.

    Attributes:
        weights: the chosen grid point.
        errors: word errors at that point. As in every table of errors, the words of a reference without a list are
            missing, so they count as errors, which do not depend on the weights.
        first_pass: the best LMWT and WIP if all LM weights are 0.
        first_pass_errors: word errors there.
        grid: the LM weights that were searched.
        by_weights: word errors at each of them and each point, int64 (grid, points).
    """

    weights: Weights
    errors: int
    first_pass: OperatingPoint
    first_pass_errors: int
    grid: tuple[tuple[float, ...], ...] = field(repr=False, compare=False)
    by_weights: np.ndarray = field(repr=False, compare=False)


def lm_weight_grid(models: int) -> list[tuple[float, ...]]:
    """All weights of ``models`` LMs on a grid, with a sum of at most 1, as fine as ``MOST_LM_WEIGHTS`` allows."""
    for parts in (20, 10, 5, 4, 3, 2, 1):
        grid = [
            tuple(step / parts for step in steps)
            for steps in itertools.product(range(parts + 1), repeat=models)
            if sum(steps) <= parts
        ]
        if len(grid) <= MOST_LM_WEIGHTS:
            return grid
    raise UsageError(f"{models} language models are too many to tune together; combine some with ensemble_lm first")


def tune(
    lists: Iterable[NBest],
    references: Mapping[str, Sequence[str]],
    models: int,
    points: Sequence[OperatingPoint],
    *,
    compare: Compare | None = None,
) -> Tuning:
    """Search LM weights × LMWT × WIP for the fewest word errors.

    If several points are equally good, the one nearest to their middle is chosen: the middle of a plateau carries over
    to other data better than its edge.

    Args:
        lists: N-best lists of the dev set. A list without a reference is skipped.
        references: utterance → words.
        models: number of neural LMs whose costs are in the lists.
        points: the pairs of LMWT and WIP to search.
        compare: turns hypotheses into what is compared with the references, such as filtered words
            (:meth:`~asr_rescore.scoring.Scoring.each`); None: they are compared as they are.

    Raises:
        UsageError: no list has a reference, or there are too many LMs.
    """
    grid = lm_weight_grid(models)
    errors = np.zeros((len(grid), len(points)), dtype=np.int64)
    unseen = dict(references)
    winners = (_Winners.of(nbest, grid, points) for nbest in lists if nbest.utt in references and len(nbest))
    items = ((of_list, of_list.utt, of_list.texts) for of_list in winners)
    for of_list, texts in compare(items) if compare else ((of_list, texts) for of_list, _, texts in items):
        errors += edit_distances(references[of_list.utt], texts)[of_list.place]
        unseen.pop(of_list.utt, None)
    if len(unseen) == len(references):
        raise UsageError("no utterance to tune on has a reference; check the data directory's text")
    errors += sum(map(len, unseen.values()))
    best, chosen = _middle_of_best(errors, grid, points)
    zero = grid.index((0.0,) * models)
    _, first = _middle_of_best(errors[zero : zero + 1], grid[zero : zero + 1], points)
    return Tuning(
        Weights(grid[best], points[chosen]),
        int(errors[best, chosen]),
        points[first],
        int(errors[zero, first]),
        tuple(grid),
        errors,
    )


@dataclass(frozen=True, eq=False)
class _Winners:
    """The cheapest hypotheses of a list.

    Attributes:
        utt: the utterance.
        texts: their words, each once.
        place: which of the texts is the cheapest at each pair of LM weights and point, int64 (grid, points).
    """

    utt: str
    texts: tuple[Words, ...]
    place: np.ndarray

    @classmethod
    def of(cls, nbest: NBest, grid: Sequence[tuple[float, ...]], points: Sequence[OperatingPoint]) -> _Winners:
        graph = np.stack([graph_costs(nbest, weights) for weights in grid])  # (grid, hypotheses)
        winners = np.stack([np.argmin(total_costs(nbest, graph, point), axis=1) for point in points], axis=1)
        distinct, place = np.unique(winners, return_inverse=True)
        return cls(nbest.utt, tuple(nbest.words[k] for k in distinct), place.reshape(winners.shape))


def _middle_of_best(
    errors: np.ndarray, grid: Sequence[tuple[float, ...]], points: Sequence[OperatingPoint]
) -> tuple[int, int]:
    """Indices (grid, point) of the point that has the fewest errors and is nearest to the mean of all such points."""
    tied = np.argwhere(errors == errors.min())
    # One step of LMWT, one of WIP and one of an LM weight get about the same length.
    lmwts = sorted({point.lmwt for point in points})
    step = min((higher - lower for lower, higher in itertools.pairwise(lmwts)), default=1.0)
    axes = np.array([[*(20 * weight for weight in grid[g]), points[p].lmwt / step, 2 * points[p].wip] for g, p in tied])
    nearest = np.argmin(((axes - axes.mean(axis=0)) ** 2).sum(axis=1))
    return int(tied[nearest][0]), int(tied[nearest][1])
