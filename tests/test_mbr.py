"""MBR decoding, compared with Kaldi, with all paths of small random lattices, and with results by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import kaldi
from asr_rescore.errors import RescoreError
from asr_rescore.lattice import Lattice, Ragged, best_path, from_paths, mbr, mbr_decode, n_best, prune
from lattices import all_paths, edit_distance, lattice_of, path_probabilities, random_lattices

GOLDENS = Path(__file__).parent / "goldens"
KALDI_SCALE = 1 / 12
SCALES = st.sampled_from([0.0, 0.25, 1.0])
WORDS = st.lists(st.integers(1, 4), max_size=4).map(tuple)


def expected_errors(lattice: Lattice, hypothesis: tuple[int, ...], acoustic_scale: float) -> float:
    """The expected number of errors of a hypothesis, over all paths."""
    paths, probabilities, _ = path_probabilities(lattice, acoustic_scale, 0.0)
    return sum(p * edit_distance(path[0], hypothesis) for path, p in zip(paths, probabilities, strict=True))


def prefix_tree(lattice: Lattice) -> Lattice:
    """The prefix tree of the 20 best word sequences, with their costs."""
    paths = n_best(lattice, 20, 1.0)
    return from_paths(lattice, paths, [path.graph for path in paths])


@given(random_lattices(), WORDS, SCALES)
def test_risk_is_an_upper_bound(lattice, hypothesis, acoustic_scale):
    found = mbr_decode(lattice, acoustic_scale, hypothesis=hypothesis, refine=False)
    if not all_paths(lattice):
        assert found is None
        return
    assert found.words == hypothesis
    assert found.risk >= expected_errors(lattice, hypothesis, acoustic_scale) - 1e-9


@given(random_lattices(), WORDS, SCALES)
def test_risk_is_exact_on_a_prefix_tree(lattice, hypothesis, acoustic_scale):
    if not all_paths(lattice):
        return
    tree = prefix_tree(lattice)
    found = mbr_decode(tree, acoustic_scale, hypothesis=hypothesis, refine=False)
    assert found.risk == pytest.approx(expected_errors(tree, hypothesis, acoustic_scale), abs=1e-9)


@given(random_lattices(), WORDS, SCALES)
def test_refining_never_increases_the_risk(lattice, hypothesis, acoustic_scale):
    before = mbr_decode(lattice, acoustic_scale, hypothesis=hypothesis, refine=False)
    if before is None:
        return
    after = mbr_decode(lattice, acoustic_scale, hypothesis=hypothesis)
    assert after.risk <= before.risk
    again = mbr_decode(lattice, acoustic_scale, hypothesis=after.words)
    assert (again.words, again.risk) == (after.words, after.risk)


@given(random_lattices(), SCALES)
def test_bins_are_distributions_and_contain_the_confidences(lattice, acoustic_scale):
    found = mbr_decode(lattice, acoustic_scale)
    if found is None:
        return
    assert len(found.bins) == 2 * len(found.words) + 1
    for entries in found.bins:
        assert sum(probability for _, probability in entries) == pytest.approx(1)
        assert list(entries) == sorted(entries, key=lambda entry: -entry[1])
    for word, confidence, entries in zip(found.words, found.confidences, found.bins[1::2], strict=True):
        assert confidence == pytest.approx(dict(entries)[word])
    assert all(entries[0][0] == 0 for entries in found.bins[::2])
    assert np.all(np.diff(found.times.ravel()) >= 0)


@given(random_lattices())
def test_one_path_is_certain(lattice):
    if not all_paths(lattice):
        return
    path = best_path(lattice, 1.0)
    found = mbr_decode(from_paths(lattice, [path], [path.graph]), 1.0)
    assert found.words == path.words
    np.testing.assert_allclose(found.confidences, 1)
    assert found.risk == pytest.approx(0, abs=1e-9)
    # Each arc of lattice_of is two frames long.
    ends = 2 * (np.flatnonzero(lattice.word[path.arcs]) + 1)
    np.testing.assert_allclose(found.times, np.stack([ends - 2, ends], axis=1).reshape(-1, 2))


def sentences(*rows: tuple[tuple[int, ...], float]) -> Lattice:
    """A lattice with one separate path for each (words, probability); each word is two frames long."""
    arcs = []
    finals = {}
    states = 1
    for words, probability in rows:
        state = 0
        for word in words:
            arcs.append((state, states, word, 0.0, 0.0))
            state = states
            states += 1
        finals[state] = (-np.log(probability), 0.0)
    return lattice_of(arcs, finals, states)


A = 1
B = 2
C = 3
D = 4


@pytest.mark.parametrize(
    ("lattice", "best", "words", "confidences", "risk"),
    [
        pytest.param(
            sentences(((A, B), 0.4), ((C, D), 0.35), ((C, B), 0.25)),
            (A, B),
            (C, B),
            [0.6, 0.65],
            0.4 + 0.35,
            id="words from two sentences",
        ),
        pytest.param(
            sentences(((A, B), 0.4), ((A, C, B), 0.35), ((D, C, B), 0.25)),
            (A, B),
            (A, C, B),
            [0.75, 0.6, 1.0],
            0.4 + 0.25,
            id="one word more than the best path",
        ),
        pytest.param(
            sentences(((A, B), 0.4), ((A,), 0.35), ((), 0.25)),
            (A, B),
            (A,),
            [0.75],
            0.4 + 0.25,
            id="one word less than the best path",
        ),
        pytest.param(
            sentences(((A, B), 0.4), ((A, C), 0.3), ((A,), 0.3)), (A, B), (A, B), [1.0, 0.4], 0.6, id="the best path"
        ),
        pytest.param(sentences(((), 0.6), ((A,), 0.4)), (), (), [], 0.4, id="no words"),
    ],
)
def test_by_hand(lattice, best, words, confidences, risk):
    assert best_path(lattice, 1.0).words == best
    found = mbr_decode(lattice, 1.0)
    assert found.words == words
    np.testing.assert_allclose(found.confidences, confidences)
    assert found.risk == pytest.approx(risk)
    kept = mbr_decode(lattice, 1.0, refine=False)
    assert kept.words == best
    assert kept.risk >= found.risk


def test_times_are_means_over_the_words_occurrences():
    # A is in frames 0–2 with probability 0.75 and, after a silence, in frames 2–4 with 0.25. There is no B.
    lattice = lattice_of(
        [(0, 1, A, np.log(4 / 3), 0), (0, 2, 0, np.log(4), 0), (2, 3, A, 0, 0)], {1: (0, 0), 3: (0, 0)}, 4
    )
    found = mbr_decode(lattice, 1.0)
    assert found.words == (A,)
    np.testing.assert_allclose(found.times, [[0.25 * 2, 0.75 * 2 + 0.25 * 4]])
    absent = mbr_decode(lattice, 1.0, hypothesis=[A, B], refine=False)
    np.testing.assert_allclose(absent.confidences, [1, 0])
    np.testing.assert_allclose(absent.times, [[0.5, 2.5], [2.5, 2.5]])


def test_words_whose_mean_times_overlap_meet_halfway():
    # A ends at 6 or 4, on average at 16/3. B begins at 2 or 4, on average at 8/3. They meet at 4.
    lattice = sentences(((A, B), 0.2), ((A, D), 0.4), ((C, B), 0.4))
    lengths = [4, 6, 2, 4, 2, 6]  # frames of the three first words, then of the three second words
    frames = Ragged.from_lists([[1] * length for length in lengths])
    lattice = replace(lattice, alignment=frames, final_alignment=Ragged.from_lists([[]] * lattice.num_states))
    found = mbr_decode(lattice, 1.0, hypothesis=[A, B])
    assert found.words == (A, B)
    np.testing.assert_allclose(found.confidences, 0.6)
    np.testing.assert_allclose(found.times, [[0, 4], [4, 8]])


@pytest.mark.parametrize(
    "lattice", [lattice_of([], {}, 0, start=-1), lattice_of([(0, 1, 1, 0, 0)], {}, 2)], ids=["no states", "no end"]
)
def test_a_lattice_without_a_path(lattice):
    assert mbr_decode(lattice, 1.0) is None
    assert mbr_decode(lattice, 1.0, hypothesis=[1]) is None


def kaldi_sausages() -> dict[str, list[dict[int, float]]]:
    """``utt [ word probability … ] [ … ] …``."""
    sausages = {}
    for utt, rest in kaldi.read_table(GOLDENS / "lattice" / "mbr_sausage_lmwt12.txt").items():
        bins = [part.rstrip("] ").split() for part in " ".join(rest).split("[")[1:]]
        sausages[utt] = [{int(word): float(p) for word, p in zip(row[::2], row[1::2], strict=True)} for row in bins]
    return sausages


@pytest.fixture(scope="module")
def decoded(mini):
    symbols = kaldi.read_words(mini / "lang_bd_tgpr" / "words.txt")
    lattices = kaldi.read_lattices(GOLDENS / "formats" / "compact.ark")
    return {utt: (mbr_decode(lattice, KALDI_SCALE), symbols) for utt, lattice in lattices}


def test_words_as_from_kaldi(decoded):
    golden = kaldi.read_table(GOLDENS / "lattice" / "mbr_lmwt12.txt")
    assert {utt: [symbols.word(index) for index in found.words] for utt, (found, symbols) in decoded.items()} == golden


def test_sausages_as_from_kaldi(decoded):
    """They agree to single precision, except for ties of alignments, which Kaldi leaves to rounding."""
    apart = {}
    for utt, golden in kaldi_sausages().items():
        bins = [dict(entries) for entries in decoded[utt][0].bins]
        assert len(bins) == len(golden)
        apart[utt] = max(
            abs(ours.get(word, 0) - theirs.get(word, 0))
            for ours, theirs in zip(bins, golden, strict=True)
            for word in ours.keys() | theirs.keys()
        )
    assert sum(difference < 1e-5 for difference in apart.values()) >= 8
    assert max(apart.values()) < 0.07


def test_times_and_confidences_as_from_kaldi(decoded):
    golden: dict[str, list[kaldi.TimedWord]] = {}
    for line in kaldi.read_ctm(GOLDENS / "lattice" / "conf_lmwt12.ctm"):
        golden.setdefault(line.recording, []).append(line)
    for utt, lines in golden.items():
        found, symbols = decoded[utt]
        assert [line.word for line in lines] == [symbols.word(index) for index in found.words]
        # Kaldi prints two decimals, and ties of alignments add to the difference.
        np.testing.assert_allclose(found.confidences, [line.confidence for line in lines], atol=0.03)
        np.testing.assert_allclose(0.01 * found.times, [(line.begin, line.end) for line in lines], atol=0.016)


@given(random_lattices(), st.integers(1, 60), st.sampled_from([0.0, 0.5]))
def test_a_lattice_with_too_many_arcs_is_pruned_first(lattice, cells, penalty):
    whole = mbr_decode(lattice, 1.0, penalty)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mbr, "MOST_CELLS", cells)
        try:
            found = mbr_decode(lattice, 1.0, penalty)
        except RescoreError as error:
            assert "on its best paths" in str(error)
            return
    if whole is None:
        assert found is None
        return
    most = cells // (2 * len(best_path(lattice, 1.0, penalty).words) + 1)
    if lattice.num_arcs <= most:
        assert found.beam == np.inf
        assert (found.words, found.risk, found.bins) == (whole.words, whole.risk, whole.bins)
        return
    penalised = replace(lattice, graph=lattice.graph + penalty * (lattice.word != 0))
    pruned = prune(penalised, found.beam, 1.0)
    assert pruned.num_arcs <= most
    expected = mbr_decode(pruned, 1.0)
    assert (found.words, found.risk, found.bins) == (expected.words, expected.risk, expected.bins)


def test_a_lattice_that_pruning_cannot_make_small_is_refused(monkeypatch):
    equal = lattice_of([(0, 1, word, 1, 1) for word in range(1, 6)], {1: (0, 0)}, 2)
    monkeypatch.setattr(mbr, "MOST_CELLS", 12)  # 4 arcs
    with pytest.raises(RescoreError, match=r"5 arcs, of which more than 4 are on its best paths"):
        mbr_decode(equal, 1.0)
