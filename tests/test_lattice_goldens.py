"""Comparison with Kaldi's lattice-to-nbest, lattice-best-path, lattice-oracle and lattice-prune."""

from pathlib import Path

import pytest

from asr_rescore import kaldi
from asr_rescore.files import read_lines
from asr_rescore.lattice import Lattice, best_paths, n_best, oracle, prune

GOLDENS = Path(__file__).parent / "goldens"
SCALE = 0.083333
POINTS = [(lmwt, wip) for lmwt in (7, 12, 17) for wip in (0.0, 0.5, 1.0)]


@pytest.fixture(scope="module")
def lattices():
    return dict(kaldi.read_lattices(GOLDENS / "formats" / "compact.ark"))


@pytest.fixture(scope="module")
def words(mini):
    return kaldi.read_words(mini / "lang_bd_tgpr" / "words.txt")


def column(path: Path) -> dict[str, list[str]]:
    return {key: rest for key, *rest in (line.split() for _, line in read_lines(path))}


def test_n_best_as_lattice_to_nbest(lattices):
    folder = GOLDENS / "nbest"
    sequences = column(folder / "words.gz")
    graph = column(folder / "lmwt.withlm.gz")
    acoustic = column(folder / "acwt.gz")
    seen = 0
    agreed = 0
    for utt, lattice in lattices.items():
        paths = n_best(lattice, 1000, SCALE)
        kaldi_keys = [key for key in sequences if key.rpartition("-")[0] == utt]
        assert len(paths) == len(kaldi_keys)
        by_words = {tuple(map(int, sequences[key])): key for key in kaldi_keys}
        for rank, path in enumerate(paths, 1):
            # The ranks, or the ends of the lists, differ only if the rounding of Kaldi's floats makes a tie.
            total = path.graph + SCALE * path.acoustic
            there = f"{utt}-{rank}"
            assert total == pytest.approx(float(graph[there][0]) + SCALE * float(acoustic[there][0]), rel=5e-7)
            key = by_words.get(path.words)
            if key is None:
                last = f"{utt}-1000"
                assert total == pytest.approx(float(graph[last][0]) + SCALE * float(acoustic[last][0]), rel=5e-7)
                continue
            assert path.graph == pytest.approx(float(graph[key][0]), abs=1e-3)
            assert path.acoustic == pytest.approx(float(acoustic[key][0]), rel=1e-6)  # Kaldi printed seven digits
            agreed += 1
        seen += len(paths)
    assert seen == len(sequences) == 4117
    assert agreed >= 4115


def test_odd_lattices_give_each_word_sequence_once():
    folder = GOLDENS / "formats"
    sequences = column(folder / "odd.nbest.words")
    graph = column(folder / "odd.nbest.lmwt")
    acoustic = column(folder / "odd.nbest.acwt")
    expected: dict[tuple[str, tuple[str, ...]], tuple[float, float]] = {}
    for key, row in sequences.items():  # Kaldi repeats sequences, the cheapest path first
        costs = float(graph[key][0]), float(acoustic[key][0])
        expected.setdefault((key.rpartition("-")[0], tuple(row)), costs)
    found = {
        (utt, tuple(map(str, path.words))): (path.graph, path.acoustic)
        for utt, lattice in kaldi.read_lattices(folder / "odd.ark")
        for path in n_best(lattice, 10, 0.1)
    }
    assert found == expected


def test_best_paths_as_lattice_best_path(lattices, words):
    expected = [kaldi.read_table(GOLDENS / "lattice" / f"best_path.lmwt{lmwt}.wip{wip}.txt") for lmwt, wip in POINTS]
    for utt, lattice in lattices.items():
        paths = best_paths(lattice, [1 / lmwt for lmwt, _ in POINTS], [wip for _, wip in POINTS])
        for path, texts in zip(paths, expected, strict=True):
            assert [words.word(index) for index in path.words] == list(texts[utt])


def test_oracle_as_lattice_oracle(lattices, words):
    references = kaldi.read_table(GOLDENS / "lattice" / "ref.txt")
    errors = [oracle(lattice, [words.get(word) for word in references[utt]])[1] for utt, lattice in lattices.items()]
    assert sum(errors) == 3  # oracle.wer: 3 / 159
    assert sum(map(len, references.values())) == 159


def test_oracle_of_a_whole_set(mini, words):
    references = kaldi.read_table(mini / "data" / "dev" / "text")
    lattices = kaldi.read_lattices(mini / "exp" / "decode_bd_tgpr_dev")
    errors = [oracle(lattice, [words.get(word) for word in references[utt]])[1] for utt, lattice in lattices]
    assert (len(errors), sum(errors)) == (120, 36)  # oracle_mini_bd_tgpr_dev.wer: 36 / 1721


def sentence_costs(lattice: Lattice) -> dict[tuple[int, ...], tuple[float, float]]:
    return {path.words: (path.graph, path.acoustic) for path in n_best(lattice, 10**6, SCALE)}


def test_prune_as_lattice_prune(lattices):
    pruned = dict(kaldi.read_lattices(GOLDENS / "lattice" / "pruned_beam4.txt.gz"))
    for utt, lattice in lattices.items():
        ours = prune(lattice, 4.0, SCALE)
        assert (ours.num_states, ours.num_arcs) == (pruned[utt].num_states, pruned[utt].num_arcs)
        # Kaldi may renumber the states, so sentences are compared.
        sentences = sentence_costs(ours)
        expected = sentence_costs(pruned[utt])
        assert sentences.keys() == expected.keys()
        for words, costs in sentences.items():
            assert costs == pytest.approx(expected[words], rel=1e-5)  # Kaldi printed six digits
