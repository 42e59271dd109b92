"""N-best search in lattices with many epsilon arcs: linear work, little memory, and a result that no beam changes."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore.lattice import Lattice, best_path, n_best, nbest_search
from lattices import all_paths, lattice_of, random_lattices


def layered(frames: int, width: int, epsilons: float, seed: int) -> Lattice:
    """A state-level lattice: each state has two arcs from the frame before, most of them without a word."""
    choose = random.Random(seed)
    arcs = []
    before = [0]
    for frame in range(frames):
        states = [1 + frame * width + place for place in range(width)]
        for state in states:
            for origin in choose.sample(before, min(2, len(before))):
                word = 0 if choose.random() < epsilons else choose.randint(1, 50)
                arcs.append((origin, state, word, choose.uniform(0, 3), choose.uniform(0, 30)))
        before = states
    return lattice_of(arcs, dict.fromkeys(before, (0, 0)), 1 + frames * width)


def test_each_epsilon_arc_improves_all_states_after_it():
    """Relaxed last in, first out, this lattice takes 2 ** 60 steps."""
    steps = 60
    arcs = []
    for step in range(steps):
        arcs += [(2 * step, 2 * step + 1, 0, 0, 0), (2 * step + 1, 2 * step + 2, 0, 0, 0)]
        arcs.append((2 * step, 2 * step + 2, 0, 2.0 ** (steps - step - 1), 0))
    arcs.append((2 * steps, 2 * steps + 1, 7, 1, 1))
    (path,) = n_best(lattice_of(arcs, {2 * steps + 1: (0, 0)}, 2 * steps + 2), 2, 0.1)
    assert path.words == (7,)
    assert path.graph + 0.1 * path.acoustic == 1.1


def test_a_chain_of_epsilons_takes_memory_in_proportion_to_its_length():
    chain = lattice_of([(i, i + 1, 0, 0.5, 0.5) for i in range(20_000)], {20_000: (0, 0)}, 20_001)
    tracemalloc.start()
    (path,) = n_best(chain, 1, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(path.arcs) == 20_000
    assert peak < 40e6


@pytest.mark.parametrize("epsilons", [0.5, 0.9, 1.0])
def test_a_state_level_lattice(epsilons):
    lattice = layered(200, 6, epsilons, seed=1)
    paths = n_best(lattice, 100, 0.1)
    best = best_path(lattice, 0.1)
    assert paths[0].words == best.words and paths[0].graph == best.graph
    assert len(paths) == (1 if epsilons == 1.0 else 100)
    assert len({path.words for path in paths}) == len(paths)
    totals = [path.graph + 0.1 * path.acoustic for path in paths]
    assert totals == pytest.approx(sorted(totals), abs=1e-9)


@given(
    random_lattices(max_states=7), st.integers(1, 12), st.sampled_from([(0.0, 1.0, float("inf")), (2.0, 4.0, 1e300)])
)
def test_the_beams_do_not_change_the_result(lattice, n, beams):
    expected = n_best(lattice, n, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nbest_search, "BEAMS", beams)
        patch.setattr(nbest_search, "SLACK", 0.25)
        found = n_best(lattice, n, 1.0)
    assert [(path.words, path.graph, path.acoustic) for path in found] == [
        (path.words, path.graph, path.acoustic) for path in expected
    ]


@given(random_lattices(max_states=7))
def test_costs_that_exceed_any_beam_by_rounding_do_not_lose_a_path(lattice):
    huge = lattice_of(
        [
            (int(source), int(target), int(word), 1e18 * float(graph), 0.0)
            for source, target, word, graph in zip(
                lattice.source, lattice.target, lattice.word, lattice.graph, strict=True
            )
        ],
        {int(state): (0.0, 0.0) for state in lattice.is_final.nonzero()[0]},
        lattice.num_states,
        lattice.start,
    )
    found = {path.words for path in n_best(huge, 100, 1.0)}
    assert found == {words for words, *_ in all_paths(huge)}
