"""Tests of the difference of two systems, against NIST's sc_stats and by hand."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.statistics.matched_pairs import holm, mapsswe, mcnemar, segments
from asr_rescore.word_alignment import ALIGN_TEXT, COMPUTE_WER, SCLITE, align
from conftest import GOLDENS

SCORING = GOLDENS / "scoring"


def golden(kind: str) -> list[list[str]]:
    lines = (GOLDENS / "sctk/mini_dev.txt").read_text().splitlines()
    return [line.split()[1:] for line in lines if line.startswith(kind)]


@pytest.fixture(scope="module")
def references():
    return kaldi.read_table(SCORING / "mini_dev.ref.txt")


@pytest.fixture(scope="module")
def hypotheses():
    return {path.name[13:-4]: kaldi.read_table(path) for path in SCORING.glob("mini_dev.hyp.*.txt")}


def aligned(references, hypotheses, rule):
    return {utt: align(words, hypotheses.get(utt, ()), rule) for utt, words in references.items()}


def test_counts_as_sclite(references, hypotheses):
    for name, *found in golden("sclite"):
        pairs = [pair for pairs in aligned(references, hypotheses[name], SCLITE).values() for pair in pairs]
        numbers = dict(zip(found[::2], map(int, found[1::2]), strict=True))
        assert sum(said == heard for said, heard in pairs) == numbers["corr"]
        assert sum(said is None for said, _ in pairs) == numbers["ins"]
        assert sum(heard is None for _, heard in pairs) == numbers["del"]


@pytest.mark.parametrize("rule", [SCLITE, COMPUTE_WER], ids=["sclite", "Kaldi"])
def test_mapsswe_as_sc_stats(references, hypotheses, rule):
    alignments = {name: aligned(references, words, rule) for name, words in hypotheses.items()}
    compared = golden("mapsswe")
    assert len(compared) == len(list(itertools.combinations(hypotheses, 2)))
    for first, second, _, number, _, _, _, _, _, z in compared:
        result = mapsswe(alignments[first], alignments[second])
        assert (result.pairs, f"{result.statistic:.3f}") == (int(number), z), (first, second)
        opposite = mapsswe(alignments[second], alignments[first])
        assert (opposite.statistic, opposite.p) == (-result.statistic, result.p)


def test_mcnemar_as_sc_stats(references, hypotheses):
    right = {
        name: [tuple(words) == tuple(found.get(utt, ())) for utt, words in references.items()]
        for name, found in hypotheses.items()
    }
    for first, second, _, _, _, only_first, _, _, _, _, _, p in golden("mcnemar"):
        result = mcnemar(right[first], right[second])
        assert (result.statistic, result.pairs) == (int(only_first), len(references))
        assert result.p == pytest.approx(float(p), abs=5e-4), (first, second)


@pytest.mark.parametrize(
    ("reference", "first", "second", "found"),
    [
        ("a b c d e", "a b c d e", "a b c d e", []),
        ("a b c d e", "x b c d e", "a b c d x", [(1, 0), (0, 1)]),
        ("a b c d e", "x b c d e", "a b x d e", [(1, 1)]),  # one word between the errors is too few
        ("a b c d", "a b x c d", "a b c d", [(1, 0)]),
        ("a b c d", "a b c d", "a b c d x", [(0, 1)]),
        ("a b c d", "x a b c d", "a b c d x", [(1, 0), (0, 1)]),
        ("a b", "", "a b", [(2, 0)]),
        ("", "a b", "a", [(2, 1)]),
    ],
)
def test_segments_by_hand(reference, first, second, found):
    words = reference.split()
    assert list(segments(align(words, first.split()), align(words, second.split()))) == found


def test_z_and_p_by_hand():
    """Differences 1, 1, 1, −1: mean 1/2, standard deviation 1, thus Z = 1."""
    right = ["a", "b", "c"]
    wrong = align(right, ["x", "b", "c"])
    perfect = align(right, right)
    first = {"1": wrong, "2": wrong, "3": wrong, "4": perfect}
    second = {"1": perfect, "2": perfect, "3": perfect, "4": wrong}
    result = mapsswe(first, second)
    assert (result.pairs, result.statistic) == (4, pytest.approx(1))
    assert result.p == pytest.approx(math.erfc(1 / math.sqrt(2)))


def test_systems_without_a_difference():
    same = {"1": align(["a"], ["b"])}
    assert (mapsswe(same, same).statistic, mapsswe(same, same).p) == (0, 1)
    assert mapsswe({}, {}).pairs == 0
    assert mcnemar([], []).p == 1


def test_mcnemar_by_hand():
    """Five sentences that only one has right, none of the other kind: 2 · (1/2)⁵."""
    assert mcnemar([True] * 5 + [True], [False] * 5 + [True]).p == pytest.approx(2 / 32)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@given(WORDS, WORDS, WORDS)
def test_segments_hold_all_errors(reference, first, second):
    alignments = [align(reference, words) for words in (first, second)]
    found = list(segments(*alignments))
    for place, alignment in enumerate(alignments):
        assert sum(pair[place] for pair in found) == sum(said != heard for said, heard in alignment)
    assert all(pair != (0, 0) for pair in found)


@given(WORDS, WORDS)
def test_sclite_has_no_fewer_errors(reference, hypothesis):
    errors = {rule: sum(a != b for a, b in align(reference, hypothesis, rule)) for rule in (SCLITE, ALIGN_TEXT)}
    assert errors[SCLITE] >= errors[ALIGN_TEXT]
