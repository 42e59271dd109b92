"""Posteriors, compared with all paths of small random lattices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.errors import RescoreError
from asr_rescore.lattice import posteriors, scale, topological_order
from lattices import lattice_of, path_probabilities, random_lattices

SCALES = st.sampled_from([0.0, 0.25, 1.0])
PENALTIES = st.sampled_from([0.0, 1.5, -2.0])


@given(random_lattices(), SCALES, PENALTIES)
def test_posteriors_equal_brute_force(lattice, acoustic_scale, penalty):
    paths, probabilities, total = path_probabilities(lattice, acoustic_scale, penalty)
    found = posteriors(lattice, acoustic_scale, penalty)
    if not paths:
        assert found is None
        return
    arc = np.zeros(lattice.num_arcs)
    final = np.zeros(lattice.num_states)
    for (*_, arcs), probability in zip(paths, probabilities, strict=True):
        np.add.at(arc, list(arcs), probability)
        final[lattice.target[arcs[-1]] if arcs else lattice.start] += probability
    np.testing.assert_allclose(found.arc, arc, atol=1e-12)
    np.testing.assert_allclose(found.final, final, atol=1e-12)
    assert found.total == pytest.approx(total)


@given(random_lattices(), SCALES)
def test_arcs_across_a_cut_sum_to_one(lattice, acoustic_scale):
    found = posteriors(lattice, acoustic_scale)
    if found is None:
        return
    assert found.final.sum() == pytest.approx(1)
    order = topological_order(lattice)
    for states in range(1, len(order) + 1):
        before = np.isin(np.arange(lattice.num_states), order[:states])
        if before[lattice.start]:
            crossing = found.arc[before[lattice.source] & ~before[lattice.target]].sum()
            assert crossing + found.final[before].sum() == pytest.approx(1)


def test_two_paths_by_hand():
    # Costs 1 + 0.5 · 2 = 2 and 3 + 0.5 · 0 + ln 2 (final) = 3.69: weights e^−2 and e^−3 / 2.
    lattice = lattice_of([(0, 1, 1, 1, 2), (0, 2, 2, 3, 0)], {1: (0, 0), 2: (np.log(2), 0)}, 3)
    found = posteriors(lattice, 0.5)
    first = 1 / (1 + np.exp(-1) / 2)
    np.testing.assert_allclose(found.arc, [first, 1 - first])
    np.testing.assert_allclose(found.final, [0, first, 1 - first])
    # A penalty has no effect if all paths have equally many words. Halving all costs flattens the distribution.
    np.testing.assert_allclose(posteriors(lattice, 0.5, 7.0).arc, found.arc)
    assert 0.5 < posteriors(scale(lattice, 0.5, 0.5), 0.5).arc[0] < first


def test_an_arc_into_the_start_is_on_no_path():
    lattice = lattice_of([(1, 0, 1, 0, 0), (0, 2, 1, 0, 0), (2, 3, 1, 0, 0)], {2: (0, 0)}, 4)
    found = posteriors(lattice, 1.0)
    np.testing.assert_allclose(found.arc, [1, 0, 0])
    np.testing.assert_allclose(found.final, [0, 0, 1, 0])


def test_costs_of_thousands_do_not_underflow():
    lattice = lattice_of([(0, 1, 1, 9000, 0), (0, 1, 2, 9000, 0), (0, 1, 3, 20000, 0)], {1: (5000, 0)}, 2)
    found = posteriors(lattice, 1.0)
    np.testing.assert_allclose(found.arc, [0.5, 0.5, 0])
    assert found.total == pytest.approx(np.log(2) - 14000)


@pytest.mark.parametrize(
    "lattice", [lattice_of([], {}, 0, start=-1), lattice_of([(0, 1, 1, 0, 0)], {}, 2)], ids=["no states", "no end"]
)
def test_a_lattice_without_a_path(lattice):
    assert posteriors(lattice, 1.0) is None


def test_a_cycle_is_an_error():
    with pytest.raises(RescoreError, match="cycle"):
        posteriors(lattice_of([(0, 1, 1, 0, 0), (1, 0, 2, 0, 0)], {1: (0, 0)}, 2), 1.0)
