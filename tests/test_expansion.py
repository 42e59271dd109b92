"""Lattices expanded by histories, compared with the costs of all their paths, computed one by one."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.errors import UsageError
from asr_rescore.lattice import EPSILON, START, CostsToEnd, Expansion, ExpansionLimits, Lattice, best_path
from asr_rescore.lattice.paths import costs_to_end
from lattices import all_paths, lattice_of, random_lattices

NO_BEAM = float("inf")
Model = Callable[[tuple[int, ...], int], float]  # (words before, word or 0 for the end) → cost; inf: it has none


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
    """What the model adds to a path; nothing if it has no cost for one of the words."""
    added = sum(costs(words[:place], word) for place, word in enumerate((*words, 0)))
    return added if added < float("inf") else 0.0


def gaps(history: tuple[int, ...], word: int) -> float:
    """A model that has no cost for about a third of the words, nor for as many sentence ends."""
    digest = hashlib.blake2b(repr((word, history)).encode(), digest_size=1).digest()[0]
    return float("inf") if digest < 80 else model(history, word)


def described(lattice: Lattice, costs: Model) -> list[tuple]:
    """All paths as (words, graph cost including the model's, acoustic cost, transition ids)."""
    found = []
    for words, graph, acoustic, arcs in all_paths(lattice):
        frames = tuple(int(frame) for arc in arcs for frame in lattice.alignment[arc])
        found.append((words, graph + path_costs(words, costs), acoustic, frames))
    return sorted(found)


def nothing(history: tuple[int, ...], word: int) -> float:
    return 0.0


BOTH = pytest.mark.parametrize("costs", [model, gaps])


@BOTH
@given(lattice=random_lattices())
def test_with_unlimited_order_each_path_has_its_own_cost(lattice, costs):
    expanded = grow(lattice, costs, ExpansionLimits(0, NO_BEAM)).lattice()
    assert described(expanded, nothing) == described(lattice, costs)
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


@BOTH
@given(
    lattice=random_lattices(),
    order=st.integers(0, 4),
    beam=st.sampled_from([0.0, 1.0, 6.0, NO_BEAM]),
    max_arcs=st.integers(1, 20),
)
def test_the_best_path_has_a_true_cost_whatever_the_limits(lattice, costs, order, beam, max_arcs):
    limits = ExpansionLimits(order, beam, max_arcs)
    expanded = grow(lattice, costs, limits, acoustic_scale=0.25, word_penalty=0.5).lattice()
    assert expanded.num_arcs <= max(max_arcs, lattice.num_arcs)
    path = best_path(expanded, 0.25, 0.5)
    true = [total(graph, acoustic, words) for words, graph, acoustic, _ in described(lattice, costs)]
    assert (path is None) == (not true)
    if path is not None:  # the history of each node is that of the cheapest path
        assert total(path.graph, path.acoustic, path.words) in true


@BOTH
@given(lattice=random_lattices())
def test_without_limits_the_best_path_is_found(lattice, costs):
    expanded = grow(lattice, costs, ExpansionLimits(0, NO_BEAM), acoustic_scale=0.25, word_penalty=0.5).lattice()
    path = best_path(expanded, 0.25, 0.5)
    true = [total(graph, acoustic, words) for words, graph, acoustic, _ in described(lattice, costs)]
    assert [total(path.graph, path.acoustic, path.words)] == [min(true)] if path else not true


@given(random_lattices())
def test_costs_to_the_end(lattice):
    of_order_one = grow(lattice, nothing, ExpansionLimits(1, NO_BEAM), acoustic_scale=0.25, word_penalty=0.5)
    reached = {lattice.start, *lattice.target[np.isin(lattice.source, [lattice.start])].tolist()}
    expected = costs_to_end(lattice, 0.25, 0.5)
    found = of_order_one.costs_to_end()
    assert found.plain == expected
    assert all(found.known[state] == expected[state] for state in reached)
    assert set(found.unknown) <= {NO_BEAM}


def unigram(history: tuple[int, ...], word: int) -> float:
    """A model without history that has no cost for word 2."""
    return {0: 0.5, 1: 3.0, 2: NO_BEAM, 3: -1.0}[word]


@given(random_lattices(), st.sampled_from([0.0, 1.0]))
def test_with_exact_estimates_a_beam_keeps_the_best_path_known_or_not(lattice, beam):
    """The costs to the end from an expansion of order 1 are exact for a model without history."""
    scales = {"acoustic_scale": 0.25, "word_penalty": 0.5}
    to_end = grow(lattice, unigram, ExpansionLimits(1, NO_BEAM), **scales).costs_to_end()
    expanded = grow(lattice, unigram, ExpansionLimits(0, beam), to_end=to_end, **scales).lattice()
    path = best_path(expanded, 0.25, 0.5)
    true = [total(graph, acoustic, words) for words, graph, acoustic, _ in described(lattice, unigram)]
    assert [total(path.graph, path.acoustic, path.words)] == [min(true)] if path else not true


@given(random_lattices())
def test_all_paths_are_unknown_only_if_each_is(lattice):
    expansion = grow(lattice, gaps, ExpansionLimits(0, NO_BEAM))
    words = [words for words, *_ in all_paths(lattice)]
    unknown = [sum(gaps(path[:place], word) for place, word in enumerate((*path, 0))) == NO_BEAM for path in words]
    assert expansion.all_unknown == (bool(words) and all(unknown))


def test_a_path_without_the_models_cost_keeps_its_own_and_no_other_path_does():
    """1 or 2, then 3 or 4. The model adds 8 to 1, 16 to 2, 1 to 3 and 4, and 2 to the end; it has no cost for 2 4.

    The arc of 4 after 2 takes back the 16 that the model added to 2 before.
    """
    arcs = [(0, 1, 1, 1.0, 0.0), (0, 1, 2, 2.0, 0.0), (1, 2, 3, 4.0, 0.0), (1, 2, 4, 8.0, 0.0)]
    table = {((), 1): 8.0, ((), 2): 16.0, ((2,), 4): NO_BEAM}

    def costs(history, word):
        return table.get((history, word), 1.0 if word else 2.0)

    lattice = lattice_of(arcs, {2: (0.0, 0.0)}, 3)
    expansion = grow(lattice, costs, ExpansionLimits(0, NO_BEAM))
    found = {words: graph for words, graph, *_ in described(expansion.lattice(), nothing)}
    assert found == {(1, 3): 16.0, (1, 4): 20.0, (2, 3): 25.0, (2, 4): 10.0}
    assert (expansion.words_unknown, expansion.words_asked, expansion.all_unknown) == ([4], 9, False)
    merged = grow(lattice, costs, ExpansionLimits(1, NO_BEAM))  # 4 is looked up after 1, the cheaper word
    assert not merged.words_unknown


@pytest.mark.parametrize("cheap", [1, 2])
def test_known_and_unknown_nodes_of_one_depth(cheap):
    """Whichever of the two is cheaper, known (1) or unknown (2), the arcs of the result are ordered by their states."""
    arcs = [(0, 1, 1, 1.0, 0.0), (0, 1, 2, 1.0, 0.0), (1, 2, 3, 4.0, 0.0), (1, 2, 1, 4.0, 0.0)]
    lattice = lattice_of([(0, 1, cheap, 0.0, 0.0), *arcs], {2: (0.0, 0.0)}, 3)
    expanded = grow(lattice, unigram, ExpansionLimits(0, NO_BEAM)).lattice()
    assert described(expanded, nothing) == described(lattice, unigram)


def test_a_beam_keeps_what_will_be_unknown_at_the_cost_that_it_will_have():
    """1 2 is unknown and costs 0. 3 3 costs 3 and −2 more in the model and 0.5 for its end, thus 1.5."""
    arcs = [(0, 1, 1, 0.0, 0.0), (0, 2, 3, 3.0, 0.0), (1, 3, 2, 0.0, 0.0), (2, 3, 3, 0.0, 0.0)]
    lattice = lattice_of(arcs, {3: (0.0, 0.0)}, 4)
    to_end = grow(lattice, unigram, ExpansionLimits(1, NO_BEAM)).costs_to_end()
    assert to_end == CostsToEnd([0.0] * 4, [1.5, NO_BEAM, -0.5, 0.5], [0.0, 0.0, NO_BEAM, NO_BEAM])
    for beam, expected in ((1.0, {(1, 2): 0.0}), (2.0, {(1, 2): 0.0, (3, 3): 1.5})):
        expanded = grow(lattice, unigram, ExpansionLimits(0, beam), to_end=to_end).lattice()
        assert {words: graph for words, graph, *_ in described(expanded, nothing)} == expected


def test_what_is_cut_by_the_beam_is_not_taken_for_unknown():
    """2 is unknown and by far the cheapest, so 1 is cut when the states after the first words are expanded."""
    lattice = lattice_of([(0, 1, 1, 90.0, 0.0), (0, 1, 2, 2.0, 0.0), (1, 2, 3, 0.0, 0.0)], {2: (0.0, 0.0)}, 3)
    expansion = grow(lattice, unigram, ExpansionLimits(0, 6.0))
    assert [words for words, *_ in described(expansion.lattice(), nothing)] == [(2, 3)]
    assert not expansion.all_unknown


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
    to_end = CostsToEnd([9.0, 0.0, 0.0], [9.0, 0.0, 0.0], [NO_BEAM] * 3)
    given = grow(lattice, lambda history, word: 2.0 * (word == 1), ExpansionLimits(0, 0.0), to_end=to_end)
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
