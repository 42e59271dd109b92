"""Paired differences: Student's t against its tables, and intervals worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asr_rescore.statistics.paired_differences import PairedDifferences, pair_up, percent_changes
from asr_rescore.statistics.student_t import t_quantile


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [  # the usual printed tables of t
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 4, 2.776),
        (0.975, 7, 2.365),
        (0.975, 8, 2.306),
        (0.975, 30, 2.042),
        (0.8, 7, 0.896),
        (0.8, 10, 0.879),
        (0.995, 5, 4.032),
        (0.5, 6, 0.0),
    ],
)
def test_quantiles_are_those_of_the_tables(probability, freedom, expected):
    assert t_quantile(probability, freedom) == pytest.approx(expected, abs=6e-4)


def test_three_pairs_by_hand():
    found = PairedDifferences((1.0, 2.0, 6.0))  # mean 3, deviation √7, standard error √(7/3) = 1.5275
    assert found.mean == 3
    assert found.deviation == pytest.approx(math.sqrt(7))
    assert found.half_width == pytest.approx(4.30265 * math.sqrt(7 / 3), rel=1e-5)
    assert found.interval == pytest.approx((3 - 6.57241, 3 + 6.57241), rel=1e-5)
    # With two degrees of freedom, P(|T| < t) = t / √(2 + t²).
    t = 3 / math.sqrt(7 / 3)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert found.detectable == pytest.approx((4.30265 + 1.06066) * math.sqrt(7 / 3), rel=1e-5)


def test_p_is_one_twentieth_at_the_end_of_the_interval():
    values = np.array([0.3, -0.2, 0.5, 0.1, 0.4, -0.3, 0.2, 0.6])
    half = PairedDifferences(tuple(values)).half_width
    assert PairedDifferences(tuple(values - values.mean() + half)).p == pytest.approx(0.05)


def test_the_detectable_difference_is_found_four_times_out_of_five():
    draw = np.random.default_rng(1)
    noise = draw.normal(size=(20_000, 8))
    true = (t_quantile(0.975, 7) + t_quantile(0.8, 7)) / math.sqrt(8)  # for a deviation of 1
    samples = noise + true
    errors = samples.std(axis=1, ddof=1) / math.sqrt(8)
    assert np.mean(samples.mean(axis=1) > t_quantile(0.975, 7) * errors) == pytest.approx(0.8, abs=0.015)


def test_one_pair_has_no_interval():
    found = PairedDifferences((1.5,))
    assert found.mean == 1.5
    assert all(math.isnan(value) for value in (found.deviation, found.half_width, found.p, found.detectable))


@pytest.mark.parametrize(("values", "p"), [((0.0, 0.0), 1.0), ((2.0, 2.0), 0.0)])
def test_pairs_that_all_differ_alike(values, p):
    assert (PairedDifferences(values).half_width, PairedDifferences(values).p) == (0.0, p)


def test_pairs_are_those_that_both_have_in_the_order_of_their_numbers():
    pairs = pair_up({"10": 1.0, "2": 2.0, "3": 3.0}, {"2": 5.0, "10": 4.0})
    assert list(pairs.items()) == [("2", (2.0, 5.0)), ("10", (1.0, 4.0))]


def test_changes_are_percent_of_the_second():
    assert percent_changes([(50.5, 50.0), (98.0, 100.0)]).values == pytest.approx((1.0, -2.0))
