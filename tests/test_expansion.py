"""Lattices expanded by histories, compared with the costs of all their paths, computed one by one."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.errors import UsageError
from asr_rescore.lattice import EPSILON, START, Expansion, ExpansionLimits, Lattice, best_path
from asr_rescore.lattice.paths import costs_to_end
from lattices import all_paths, lattice_of, random_lattices

NO_BEAM = float("inf")
Model = Callable[[tuple[int, ...], int], float]  # (words before, word or 0 for the end) → cost


def model(history: tuple[int, ...], word: int) -> float:
    """A cost from −4 to 4, exact in binary, that depends on all words before."""
    return hashlib.blake2b(repr((history, word)).encode(), digest_size=1).digest()[0] / 32 - 4


def grow(lattice: Lattice, costs: Model, limits: ExpansionLimits, **options) -> Expansion:
    expansion = Expansion(lattice, limits, **options)
    histories = {START: ()}
    for level in iter(expansion.level, None):
        assert level.nodes
        for node in level.nodes:
            histories[node.number] = histories[node.before] + ((node.word,) if node.word != EPSILON else ())
        asked = [histories[level.nodes[place].number] for place in level.asked]
        expansion.advance([costs(*pair) for pair in zip(asked, level.words, strict=True)])
        assert expansion.contexts <= histories.keys()
    return expansion


def path_costs(words: tuple[int, ...], costs: Model) -> float:
    return sum(costs(words[:place], word) for place, word in enumerate((*words, 0)))


def described(lattice: Lattice, costs: Model) -> list[tuple]:
    """All paths as (words, graph cost including the model's, acoustic cost, transition ids)."""
    found = []
    for words, graph, acoustic, arcs in all_paths(lattice):
        frames = tuple(int(frame) for arc in arcs for frame in lattice.alignment[arc])
        found.append((words, graph + path_costs(words, costs), acoustic, frames))
    return sorted(found)


def nothing(history: tuple[int, ...], word: int) -> float:
    return 0.0


@given(random_lattices())
def test_with_unlimited_order_each_path_has_its_own_cost(lattice):
    expanded = grow(lattice, model, ExpansionLimits(0, NO_BEAM)).lattice()
    assert described(expanded, nothing) == described(lattice, model)
    assert np.all(expanded.target > expanded.source)


@given(random_lattices(), st.integers(0, 4))
def test_a_model_that_adds_nothing_changes_nothing(lattice, order):
    expanded = grow(lattice, nothing, ExpansionLimits(order, NO_BEAM)).lattice()
    assert described(expanded, nothing) == described(lattice, nothing)


@given(random_lattices(), st.integers(1, 4))
def test_the_order_is_exact_for_a_model_with_a_shorter_history(lattice, order):
    def short(history, word):
        return model(history[len(history) - order + 1 :] if len(history) >= order else history, word)

    expanded = grow(lattice, short, ExpansionLimits(order, NO_BEAM)).lattice()
    assert described(expanded, nothing) == described(lattice, short)


def total(graph: float, acoustic: float, words: tuple[int, ...]) -> float:
    return graph + 0.25 * acoustic + 0.5 * len(words)


@given(random_lattices(), st.integers(0, 4), st.sampled_from([0.0, 1.0, 6.0, NO_BEAM]), st.integers(1, 20))
def test_the_best_path_has_a_true_cost_whatever_the_limits(lattice, order, beam, max_arcs):
    limits = ExpansionLimits(order, beam, max_arcs)
    expanded = grow(lattice, model, limits, acoustic_scale=0.25, word_penalty=0.5).lattice()
    assert expanded.num_arcs <= max(max_arcs, lattice.num_arcs)
    path = best_path(expanded, 0.25, 0.5)
    true = [total(graph, acoustic, words) for words, graph, acoustic, _ in described(lattice, model)]
    assert (path is None) == (not true)
    if path is not None:  # the history of each node is that of the cheapest path
        assert total(path.graph, path.acoustic, path.words) in true


@given(random_lattices())
def test_without_limits_the_best_path_is_found(lattice):
    expanded = grow(lattice, model, ExpansionLimits(0, NO_BEAM), acoustic_scale=0.25, word_penalty=0.5).lattice()
    path = best_path(expanded, 0.25, 0.5)
    true = [total(graph, acoustic, words) for words, graph, acoustic, _ in described(lattice, model)]
    assert [total(path.graph, path.acoustic, path.words)] == [min(true)] if path else not true


@given(random_lattices())
def test_costs_to_the_end(lattice):
    of_order_one = grow(lattice, nothing, ExpansionLimits(1, NO_BEAM), acoustic_scale=0.25, word_penalty=0.5)
    reached = {lattice.start, *lattice.target[np.isin(lattice.source, [lattice.start])].tolist()}
    expected = costs_to_end(lattice, 0.25, 0.5)
    found = of_order_one.costs_to_end()
    assert all(found[state] == expected[state] for state in reached)


def test_each_arc_has_the_models_cost_of_its_word():
    """a or b, then c. With order 2 the two paths are merged before the end, with order 3 they are not."""
    lattice = lattice_of([(0, 1, 1, 1.0, 4.0), (0, 1, 2, 2.0, 4.0), (1, 2, 3, 0.0, 8.0)], {2: (0.5, 0.0)}, 3)
    table = {((), 1): 3.0, ((), 2): 1.0, ((1,), 3): 1.0, ((2,), 3): 5.0, ((1, 3), 0): 0.25, ((2, 3), 0): 0.75}
    of_three = grow(lattice, lambda *key: table[key], ExpansionLimits(3)).lattice()
    assert of_three.graph.tolist() == [4.0, 3.0, 5.0, 1.0] or of_three.graph.tolist() == [4.0, 3.0, 1.0, 5.0]
    assert sorted(of_three.final_graph[of_three.is_final]) == [0.75, 1.25]
    of_two = grow(lattice, lambda *key: table[key], ExpansionLimits(2)).lattice()
    assert of_two.final_graph[of_two.is_final].tolist() == [0.75]  # in the cheaper history, a c


def test_a_beam_of_zero_keeps_the_path_with_the_best_estimate():
    lattice = lattice_of([(0, 1, 1, 1.0, 0.0), (0, 1, 2, 2.0, 0.0), (1, 2, 3, 0.0, 0.0)], {2: (0.0, 0.0)}, 3)
    narrow = grow(lattice, nothing, ExpansionLimits(0, 0.0)).lattice()
    assert [words for words, *_ in described(narrow, nothing)] == [(1, 3)]
    # With given estimates, which are the same for both paths after the first word, the model decides.
    given = grow(lattice, lambda history, word: 2.0 * (word == 1), ExpansionLimits(0, 0.0), to_end=[9.0, 0.0, 0.0])
    assert [words for words, *_ in described(given.lattice(), nothing)] == [(2, 3)]


@pytest.mark.parametrize("wrong", [{"order": -1}, {"beam": -0.5}, {"beam": float("nan")}, {"max_arcs": 0}])
def test_limits_are_checked(wrong):
    with pytest.raises(UsageError, match="expected"):
        ExpansionLimits(**wrong)


def test_a_lattice_without_a_path():
    empty = lattice_of([], {}, 0, start=-1)
    assert grow(empty, model, ExpansionLimits()).lattice().num_states == 0
    no_end = lattice_of([(0, 1, 1, 0.0, 0.0)], {}, 2)
    assert grow(no_end, model, ExpansionLimits()).lattice().num_states == 0
