"""Lattice algorithms, compared with all paths of small random lattices, and named corner cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.errors import RescoreError
from asr_rescore.lattice import (
    Lattice,
    Ragged,
    best_path,
    best_path_of,
    best_paths,
    connect,
    from_paths,
    n_best,
    oracle,
    prune,
    scale,
    topological_order,
)
from lattices import all_paths, edit_distance, lattice_of, random_lattices

SCALES = st.sampled_from([0.0, 0.25, 1.0])


def same_paths(left: list, right: list) -> bool:
    return sorted(path[:3] for path in left) == sorted(path[:3] for path in right)


@given(random_lattices())
def test_topological_order(lattice):
    order = topological_order(lattice).tolist()
    assert sorted(order) == list(range(lattice.num_states))
    place = {state: index for index, state in enumerate(order)}
    assert all(place[s] < place[t] for s, t in zip(lattice.source.tolist(), lattice.target.tolist(), strict=True))


@pytest.mark.parametrize("back", [0, 1], ids=["to the start", "to itself"])
def test_a_cycle_is_an_error(back):
    lattice = lattice_of([(0, 1, 1, 0, 0), (1, back, 2, 0, 0)], {1: (0, 0)}, 2)
    with pytest.raises(RescoreError, match="cycle"):
        topological_order(lattice)


@given(random_lattices())
def test_connect_keeps_all_paths_and_nothing_else(lattice):
    connected = connect(lattice)
    assert same_paths(all_paths(connected), all_paths(lattice))
    on_paths = {arc for path in all_paths(connected) for arc in path[3]}
    assert on_paths == set(range(connected.num_arcs))


@given(random_lattices(), st.lists(st.tuples(SCALES, st.sampled_from([0.0, 1.5, -2.0])), min_size=1, max_size=4))
def test_best_paths_are_the_cheapest_of_all(lattice, points):
    paths = best_paths(lattice, *zip(*points, strict=True))
    for (acoustic_scale, penalty), path in zip(points, paths, strict=True):
        totals = [graph + acoustic_scale * ac + penalty * len(words) for words, graph, ac, _ in all_paths(lattice)]
        if not totals:
            assert path is None
            continue
        assert path.graph + acoustic_scale * path.acoustic + penalty * len(path.words) == min(totals)
        assert (path.words, path.graph, path.acoustic) in [entry[:3] for entry in all_paths(lattice)]


@given(random_lattices(), SCALES, st.lists(st.integers(1, 3), max_size=3))
def test_the_best_path_of_a_sentence_is_the_cheapest_with_its_words(lattice, acoustic_scale, others):
    for sentence in {tuple(others), *(words for words, *_ in all_paths(lattice))}:
        totals = [graph + acoustic_scale * ac for words, graph, ac, _ in all_paths(lattice) if words == sentence]
        path = best_path_of(lattice, sentence, acoustic_scale)
        if not totals:
            assert path is None
            continue
        assert path.graph + acoustic_scale * path.acoustic == min(totals)
        assert (path.words, path.graph, path.acoustic, tuple(path.arcs)) in all_paths(lattice)


@given(random_lattices(), SCALES, st.integers(1, 12))
def test_n_best_equals_brute_force(lattice, acoustic_scale, n):
    cheapest: dict[tuple[int, ...], float] = {}
    for words, graph, acoustic, _ in all_paths(lattice):
        total = graph + acoustic_scale * acoustic
        cheapest[words] = min(total, cheapest.get(words, np.inf))
    paths = n_best(lattice, n, acoustic_scale)
    totals = [path.graph + acoustic_scale * path.acoustic for path in paths]
    assert totals == sorted(cheapest.values())[:n]
    assert [cheapest[path.words] for path in paths] == totals
    assert len({path.words for path in paths}) == len(paths)
    assert all((path.words, path.graph, path.acoustic, tuple(path.arcs)) in all_paths(lattice) for path in paths)


@given(random_lattices(), SCALES)
def test_a_shorter_list_is_the_beginning_of_a_longer_one(lattice, acoustic_scale):
    long = [path.words for path in n_best(lattice, 100, acoustic_scale)]
    assert [path.words for path in n_best(lattice, 3, acoustic_scale)] == long[:3]


@given(random_lattices(), SCALES, st.sampled_from([0.0, 1.0, 4.0, 100.0]))
def test_prune_keeps_what_is_on_a_path_within_the_beam(lattice, acoustic_scale, beam):
    paths = all_paths(lattice)
    totals = [graph + acoustic_scale * acoustic for _, graph, acoustic, _ in paths]
    pruned = prune(lattice, beam, acoustic_scale)
    if not paths:
        assert pruned.num_states == 0
        return
    within = {arc for path, total in zip(paths, totals, strict=True) if total <= min(totals) + beam for arc in path[3]}
    assert pruned.num_arcs == len(within)
    kept = {path[:3] for path in all_paths(pruned)}
    assert {path[:3] for path, total in zip(paths, totals, strict=True) if total <= min(totals) + beam} <= kept
    assert kept <= {path[:3] for path in paths}


@given(random_lattices(), st.lists(st.integers(0, 4), max_size=4).map(tuple))
def test_oracle_equals_brute_force(lattice, reference):
    distances = [edit_distance(reference, words) for words, *_ in all_paths(lattice)]
    found = oracle(lattice, reference)
    if not distances:
        assert found is None
        return
    path, errors = found
    assert errors == min(distances) == edit_distance(reference, path.words)
    assert (path.words, path.graph, path.acoustic, tuple(path.arcs)) in all_paths(lattice)


@given(random_lattices(), st.randoms(use_true_random=False))
def test_from_paths_has_the_given_costs(lattice, random):
    paths = n_best(lattice, 5, 1.0)
    costs = [random.randrange(0, 400) / 4 for _ in paths]
    tree = from_paths(lattice, paths, costs)
    expected = sorted((path.words, cost, path.acoustic) for path, cost in zip(paths, costs, strict=True))
    assert sorted(path[:3] for path in all_paths(tree)) == expected

    def aligned(graph: Lattice, arcs: np.ndarray, final: int) -> list[int]:
        return [tid for arc in arcs for tid in graph.alignment[arc]] + graph.final_alignment[final].tolist()

    again = {path.words: aligned(tree, path.arcs, path.final_state) for path in n_best(tree, 5, 1.0)}
    assert again == {path.words: aligned(lattice, path.arcs, path.final_state) for path in paths}


@given(random_lattices())
def test_scale(lattice):
    assert same_paths(all_paths(scale(lattice)), all_paths(lattice))
    doubled = [(words, 2 * graph, 0.5 * acoustic) for words, graph, acoustic, _ in all_paths(lattice)]
    assert same_paths(all_paths(scale(lattice, graph=2, acoustic=0.5)), doubled)


EMPTY = lattice_of([], {}, 0, start=-1)
NO_END = lattice_of([(0, 1, 1, 0, 0)], {}, 2)


@pytest.mark.parametrize("lattice", [EMPTY, NO_END], ids=["no states", "no final state"])
def test_a_lattice_without_a_sentence(lattice):
    assert best_path(lattice, 1.0) is None
    assert n_best(lattice, 10, 1.0) == []
    assert oracle(lattice, [1]) is None
    assert connect(lattice).num_states == prune(lattice, 1.0, 1.0).num_states == 0
    assert from_paths(lattice, [], []).num_arcs == 0


def test_an_empty_hypothesis_is_a_hypothesis():
    only_final = lattice_of([], {0: (4.5, 1200.25)}, 1)
    (path,) = n_best(only_final, 10, 0.1)
    assert (path.words, path.graph, path.acoustic) == ((), 4.5, 1200.25)
    assert oracle(only_final, [7, 8])[1] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graph": np.array([np.nan])}, "graph cost NaN"),
        ({"target": np.array([2])}, "touches state 2"),
        ({"target": np.array([0, 1])}, "2 entries in target"),
        ({"start": 5}, "start state 5"),
        ({"final_graph": np.array([np.nan, 0.0])}, "final cost is NaN"),
    ],
)
def test_an_invalid_lattice_is_refused(change, message):
    valid = vars(lattice_of([(0, 1, 1, 0.5, 2.0)], {1: (0, 0)}, 2))
    with pytest.raises(RescoreError, match=message):
        Lattice(**{**valid, **change})


@given(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=6), st.data())
def test_items_of_a_ragged_list(lists, data):
    taken = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)) if lists else []
    packed = Ragged.from_lists(lists).take(np.array(taken, dtype=np.int64))
    assert [packed[place].tolist() for place in range(len(packed))] == [lists[item] for item in taken]
    assert packed.values.dtype == np.int32
    assert packed.offsets.dtype == np.int64
