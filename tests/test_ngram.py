"""Costs under the old LM, compared with Kaldi and with all paths of small random grammars."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.errors import RescoreError
from asr_rescore.ngram import Grammar, WordFst

GOLDENS = Path(__file__).parent / "goldens" / "nbest"
BACKOFF = 9


def costs_of(name: str) -> dict[str, float]:
    with gzip.open(GOLDENS / name, "rt") as stream:
        return {key: float(cost) for key, cost in map(str.split, stream)}


@pytest.mark.parametrize(("failure", "golden"), [(False, "lmwt.nolm.gz"), (True, "lmwt.nolm.phi.gz")])
def test_the_old_lm_is_removed_as_by_kaldi(mini, failure, golden):
    grammar = Grammar(kaldi.read_grammar(mini / "lang_bd_tgpr"), failure=failure)
    with_lm = costs_of("lmwt.withlm.gz")
    without = costs_of(golden)
    with gzip.open(GOLDENS / "words.gz", "rt") as stream:
        sentences = {key: tuple(map(int, words)) for key, *words in map(str.split, stream)}
    ours = np.array([with_lm[key] for key in sentences]) - grammar.costs(list(sentences.values()))
    np.testing.assert_allclose(ours, [without[key] for key in sentences], atol=1e-3)


def fst(arcs: list[tuple[int, int, int, float]], final: dict[int, float], states: int) -> WordFst:
    """A grammar of arcs (source, target, word or BACKOFF, cost)."""
    arcs = sorted(arcs)
    source, target, label, cost = (
        (np.array(column) for column in zip(*arcs, strict=True)) if arcs else [np.empty(0)] * 4
    )
    integers = [column.astype(np.int32) for column in (source, target, label)]
    output = np.where(integers[2] == BACKOFF, 0, integers[2])
    finals = np.array([final.get(state, np.inf) for state in range(states)])
    return WordFst(0, integers[0], integers[1], integers[2], output, np.asarray(cost, dtype=np.float64), finals)


@st.composite
def grammars(draw: st.DrawFn) -> WordFst:
    """Random grammars: back-off arcs lead to states with higher numbers, word arcs to any state."""
    states = 5
    costs = st.integers(0, 20).map(float)
    arcs = [
        (draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(1, 3)), draw(costs))
        for _ in range(draw(st.integers(0, 12)))
    ]
    arcs += [(s, draw(st.integers(s + 1, 4)), BACKOFF, draw(costs)) for s in range(4) if draw(st.booleans())]
    return fst(arcs, draw(st.dictionaries(st.integers(0, 4), costs, max_size=3)), states)


def brute_force(grammar: WordFst, words: tuple[int, ...], failure: bool) -> float:
    def walk(state: int, rest: tuple[int, ...]) -> float:
        arcs = np.flatnonzero(grammar.source == state)
        here = [grammar.final[state]] if not rest else []
        here += [
            grammar.cost[arc] + walk(int(grammar.target[arc]), rest[1:])
            for arc in arcs
            if rest and grammar.olabel[arc] == rest[0]
        ]
        known = any(rest and grammar.olabel[arc] == rest[0] for arc in arcs) or (
            not rest and np.isfinite(grammar.final[state])
        )
        if not (failure and known):
            here += [
                grammar.cost[arc] + walk(int(grammar.target[arc]), rest) for arc in arcs if grammar.olabel[arc] == 0
            ]
        return min(here, default=np.inf)

    return walk(0, words)


@given(grammars(), st.lists(st.lists(st.integers(1, 3), max_size=4).map(tuple), min_size=1, max_size=5), st.booleans())
def test_equal_to_all_paths(grammar, sentences, failure):
    expected = [brute_force(grammar, words, failure) for words in sentences]
    assert Grammar(grammar, failure=failure).costs(sentences).tolist() == expected
    assert [Grammar(grammar, failure=failure).cost(words) for words in sentences] == expected


def test_by_hand():
    # A bigram: after word 1, word 2 costs 1 directly and 0.5 + 3 through back-off; word 3 only through back-off.
    bigram = fst([(0, 1, 1, 2.0), (1, 1, 2, 1.0), (1, 2, BACKOFF, 0.5), (2, 2, 2, 3.0), (2, 2, 3, 4.0)], {2: 0.25}, 3)
    grammar = Grammar(bigram)
    assert grammar.cost([1]) == 2.0 + 0.5 + 0.25
    assert grammar.cost([1, 2]) == 2.0 + 1.0 + 0.5 + 0.25
    assert grammar.cost([1, 3]) == 2.0 + 0.5 + 4.0 + 0.25
    assert grammar.cost([3]) == np.inf
    # The end is reached through back-off, which is part of the last entry.
    assert grammar.word_costs([1, 2]).tolist() == [2.0, 1.0, 0.5 + 0.25]
    assert grammar.word_costs([1, 3, 1]).tolist() == [2.0, 0.5 + 4.0, np.inf, np.inf]


def test_failure_arcs_hide_a_cheaper_back_off():
    cheap_backoff = fst([(0, 1, 1, 5.0), (0, 1, BACKOFF, 0.0), (1, 1, 1, 1.0)], {1: 0.0}, 2)
    assert Grammar(cheap_backoff).cost([1]) == 1.0
    assert Grammar(cheap_backoff, failure=True).cost([1]) == 5.0


def test_an_empty_grammar_has_no_sentence():
    empty = fst([], {}, 1)
    assert Grammar(empty).cost([]) == Grammar(empty).cost([1]) == np.inf


@pytest.mark.parametrize("failure", [False, True])
@pytest.mark.parametrize("back", [0, 1], ids=["two states", "a loop"])
def test_a_cycle_of_back_off_arcs_with_a_negative_cost_is_refused(failure, back):
    arcs = [(0, 1, BACKOFF, 1.0), (1, back, BACKOFF, -1.5), (1, 1, 1, 1.0)]
    with pytest.raises(RescoreError, match=f"from state 1 to state {back} costs -1.5 and is on a cycle.*arpa2fst"):
        Grammar(fst(arcs, {1: 0.0}, 2), failure=failure)


@pytest.mark.parametrize("failure", [False, True])
def test_other_cycles_of_back_off_arcs_change_nothing(failure):
    # Negative arcs lead to the cycle of states 1 and 2 and away from it.
    arcs = [(0, 1, BACKOFF, -3.0), (1, 2, BACKOFF, 0.5), (2, 1, BACKOFF, 0.0), (2, 2, BACKOFF, 0.25)]
    arcs += [(2, 3, BACKOFF, -0.25), (3, 3, 1, 2.0)]
    grammar = Grammar(fst(arcs, {3: 1.0}, 4), failure=failure)
    assert grammar.cost([1]) == -3.0 + 0.5 - 0.25 + 2.0 + 1.0
    assert grammar.cost([2]) == np.inf  # no state has this word
    assert grammar.cost([]) == -3.0 + 0.5 - 0.25 + 1.0


@pytest.mark.parametrize("failure", [False, True])
def test_many_ways_to_back_off_take_as_many_steps_as_there_are_arcs(failure):
    """Followed last in, first out, or way by way, these back-off arcs take 2 ** 60 steps."""
    steps = 60
    arcs = []
    for step in range(steps):
        arcs += [(2 * step, 2 * step + 1, BACKOFF, 0.0), (2 * step + 1, 2 * step + 2, BACKOFF, 0.0)]
        arcs.append((2 * step, 2 * step + 2, BACKOFF, 2.0 ** (steps - step - 1)))
    arcs.append((2 * steps, 2 * steps, 1, 1.0))
    grammar = Grammar(fst(arcs, {2 * steps: 0.5}, 2 * steps + 1), failure=failure)
    assert grammar.costs([[1], [], [1, 1], [2]]).tolist() == [1.5, 0.5, 2.5, np.inf]
