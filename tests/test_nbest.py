"""The N-best list."""

import numpy as np
import pytest

from asr_rescore.errors import RescoreError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NBest

LIST = NBest("utt-1", (("a", "b"), ()), {ACOUSTIC: [1, 2], GRAPH: [3.5, 4.5]})


def test_columns_become_float64():
    assert {column.dtype for column in LIST.costs.values()} == {np.dtype(np.float64)}
    assert LIST.word_counts.tolist() == [2, 0]
    assert len(LIST) == 2


def test_a_column_is_added_to_a_new_list():
    more = LIST.with_cost("lmwt.rnn", np.array([7.0, 8.0]))
    assert "lmwt.rnn" not in LIST.costs
    assert more.costs["lmwt.rnn"].tolist() == [7.0, 8.0]
    assert more.words is LIST.words


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0], "has shape \\(1,\\), expected one cost for each of the 2"),
        ([1.0, np.nan], "utt-1-2: column acwt holds nan"),
        ([-np.inf, 1.0], "utt-1-1: column acwt holds -inf"),
    ],
)
def test_a_column_without_one_number_per_hypothesis_is_refused(column, message):
    with pytest.raises(RescoreError, match=message):
        LIST.with_cost(ACOUSTIC, np.array(column))


def test_columns_cannot_be_replaced_in_place():
    with pytest.raises(TypeError):
        LIST.costs[ACOUSTIC] = np.zeros(2)
