"""Weighing by hand-computed numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.errors import UsageError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NEURAL, OLD_LM, NBest
from asr_rescore.ranking import OperatingPoint, Weights, best_hypothesis, graph_costs, neural_column, total_costs

LIST = NBest(
    "utt1",
    (("a", "b"), ("a",), ()),
    {
        ACOUSTIC: np.array([120.0, 132.0, 144.0]),
        GRAPH: np.array([10.0, 8.0, 9.0]),
        OLD_LM: np.array([6.0, 5.0, 4.0]),
        NEURAL: np.array([2.0, 7.0, 4.0]),
        "lmwt.rnn2": np.array([4.0, 1.0, 8.0]),
    },
)


def test_columns_of_several_models_have_names_of_their_own():
    assert [neural_column(index) for index in range(3)] == ["lmwt.rnn", "lmwt.rnn2", "lmwt.rnn3"]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((0.0,), [10.0, 8.0, 9.0]),  # the first pass
        ((1.0,), [6.0, 10.0, 9.0]),  # old LM gone: 4 + 2, 3 + 7, 5 + 4
        ((0.5,), [8.0, 9.0, 9.0]),  # 4 + 0.5·2 + 0.5·6 = 8, …
        ((0.5, 0.5), [7.0, 7.0, 11.0]),  # 4 + 1 + 2, 3 + 3.5 + 0.5, 5 + 2 + 4
        ((0.25, 0.5), [8.0, 6.5, 11.0]),  # 4 + 0.5 + 2 + 0.25·6 = 8, …
    ],
)
def test_graph_costs_by_hand(weights, expected):
    np.testing.assert_allclose(graph_costs(LIST, weights), expected)


def test_a_column_that_is_missing_is_named():
    with pytest.raises(UsageError, match="utt1: found the costs acwt, .* expected lmwt.rnn3; the costs of the new"):
        graph_costs(LIST, (0.1, 0.1, 0.1))
    assert best_hypothesis(LIST, Weights((0.5, 0.5, 0.0), OperatingPoint(12))) in range(3)


def test_total_costs_by_hand():
    totals = total_costs(LIST, graph_costs(LIST, (1.0,)), OperatingPoint(12, 0.5))
    np.testing.assert_allclose(totals, [10 + 6 + 1.0, 11 + 10 + 0.5, 12 + 9 + 0.0])


@pytest.mark.parametrize(
    ("weights", "point", "expected"),
    [
        ((0.0, 0.0), OperatingPoint(12), 1),  # 20, 19, 21
        ((1.0, 0.0), OperatingPoint(12), 0),  # 16, 21, 21
        ((0.0, 1.0), OperatingPoint(12), 1),  # 18, 15, 25
        ((0.0, 0.0), OperatingPoint(12, 4.0), 2),  # 28, 23, 21
    ],
)
def test_the_cheapest_wins(weights, point, expected):
    assert best_hypothesis(LIST, Weights(weights, point)) == expected


def test_of_equals_the_higher_in_the_first_pass_wins():
    flat = NBest("u", (("a",), ("b",)), {name: np.zeros(2) for name in (ACOUSTIC, GRAPH, OLD_LM, NEURAL)})
    assert best_hypothesis(flat, Weights((0.5,), OperatingPoint(12))) == 0


@given(
    st.lists(st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 3), min_size=1, max_size=20),
)
def test_weight_zero_changes_no_bit(rows):
    graph, old, neural = map(np.array, zip(*rows, strict=True))
    nbest = NBest("u", ((),) * len(rows), {GRAPH: graph, OLD_LM: old, NEURAL: neural})
    assert graph_costs(nbest, (0.0,)).tobytes() == nbest.costs[GRAPH].tobytes()


@pytest.mark.parametrize("weights", [(-0.1,), (1.1,), (0.6, 0.6)])
def test_weights_outside_the_simplex_are_refused(weights):
    with pytest.raises(UsageError, match="expected numbers from 0"):
        Weights(weights, OperatingPoint(12))


def test_lmwt_must_be_positive():
    with pytest.raises(UsageError, match="LMWT is 0"):
        OperatingPoint(0)
