"""The grid search against a search written out in full, and its choice among equals."""

import numpy as np
import pytest

from asr_rescore.errors import UsageError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NEURAL, OLD_LM, NBest
from asr_rescore.ranking import OperatingPoint, Weights, best_hypothesis
from asr_rescore.tuning import MOST_LM_WEIGHTS, lm_weight_grid, tune
from asr_rescore.word_errors import edit_distances

POINTS = tuple(OperatingPoint(lmwt, wip) for wip in (0.0, 0.5, 1.0) for lmwt in range(7, 18))


def random_lists(models: int, seed: int = 3) -> tuple[list[NBest], dict[str, list[str]]]:
    random = np.random.default_rng(seed)
    lists, references = [], {}
    for number in range(8):
        words = tuple(tuple(random.choice(list("abc"), size=random.integers(0, 6))) for _ in range(12))
        columns = {ACOUSTIC: random.normal(300, 40, 12)}
        for name in (GRAPH, OLD_LM, *[NEURAL, NEURAL + "2"][:models]):
            columns[name] = random.normal(20, 4, 12)
        lists.append(NBest(f"utt{number}", words, columns))
        references[f"utt{number}"] = list(random.choice(list("abc"), size=5))
    return lists, references


@pytest.mark.parametrize("models", [1, 2])
def test_no_point_of_the_grid_has_fewer_errors(models):
    lists, references = random_lists(models)

    def errors(weights: Weights) -> int:
        return sum(
            int(edit_distances(references[nbest.utt], [nbest.words[best_hypothesis(nbest, weights)]])[0])
            for nbest in lists
        )

    points = POINTS[::4]
    tuning = tune(lists, references, models, points)
    everywhere = [errors(Weights(lm, point)) for lm in lm_weight_grid(models) for point in points]
    assert tuning.errors == min(everywhere) == errors(tuning.weights)
    assert tuning.errors < max(everywhere)
    first_pass = [errors(Weights((0.0,) * models, point)) for point in points]
    assert tuning.first_pass_errors == min(first_pass) == errors(Weights((0.0,) * models, tuning.first_pass))


def test_the_words_of_a_reference_without_a_list_are_errors():
    """So the plots of a grid show the error rates of the tables, which count them, too."""
    lists, references = random_lists(1)
    all_of_them = tune(lists, references, 1, POINTS)
    more = tune(lists, {**references, "failed": ["seven", "words", "that", "no", "list", "can", "have"]}, 1, POINTS)
    np.testing.assert_array_equal(more.by_weights, all_of_them.by_weights + 7)
    assert (more.errors, more.weights) == (all_of_them.errors + 7, all_of_them.weights)


def test_the_middle_of_a_plateau_is_chosen():
    # The neural LM is right; any weight above 0.2 at any point shows it, so the middle of what is left is taken.
    nbest = NBest(
        "u",
        (("wrong",), ("right",)),
        {
            ACOUSTIC: np.zeros(2),
            GRAPH: np.array([0.0, 1.0]),
            OLD_LM: np.zeros(2),
            NEURAL: np.array([4.9, 0.0]),
        },
    )
    tuning = tune([nbest], {"u": ["right"]}, 1, POINTS)
    assert tuning.errors == 0
    assert tuning.first_pass_errors == 1
    assert tuning.weights.lm[0] in (0.6, 0.65)  # of 0.25 … 1.0
    assert tuning.weights.point == OperatingPoint(12, 0.5)


@pytest.mark.parametrize(("models", "step", "size"), [(0, None, 1), (1, 0.05, 21), (2, 0.05, 231), (3, 0.1, 286)])
def test_grid_covers_the_simplex(models, step, size):
    grid = lm_weight_grid(models)
    assert len(grid) == len(set(grid)) == size <= MOST_LM_WEIGHTS
    assert all(sum(weights) <= 1 + 1e-9 for weights in grid)
    if models:
        assert sorted({weights[0] for weights in grid})[1] == pytest.approx(step)


def test_lists_without_reference_are_passed_over_but_not_all_of_them():
    lists, references = random_lists(1)
    some = dict(list(references.items())[:3])
    assert tune(lists, some, 1, POINTS).errors == tune(lists[:3], some, 1, POINTS).errors
    with pytest.raises(UsageError, match="no utterance"):
        tune(lists, {}, 1, POINTS)
