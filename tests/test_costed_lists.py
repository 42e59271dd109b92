"""The finish of a rescoring of N-best lists: what is chosen, and that its memory does not grow with the lists."""

import tracemalloc

import numpy as np
import pytest

from asr_rescore import kaldi
from asr_rescore.failures import Failures
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.nbest import ACOUSTIC, GRAPH, NEURAL, NO_LM, OLD_LM, NBest
from asr_rescore.ranking import OperatingPoint, Weights, best_hypothesis
from asr_rescore.rescoring.chosen_texts import ChosenTexts
from asr_rescore.rescoring.costed_lists import CostedLists, Winners
from asr_rescore.rescoring.weights import data_hash
from asr_rescore.tuning import tune
from asr_rescore.word_errors import edit_distances

POINTS = tuple(OperatingPoint(lmwt, wip) for wip in (0.0, 1.0) for lmwt in (7, 12, 17))


def lists(utterances, hypotheses, prefix="utt"):
    random = np.random.default_rng(5)
    for number in range(utterances):
        words = tuple(tuple(random.choice(list("abcde"), size=random.integers(1, 7))) for _ in range(hypotheses))
        columns = {name: random.normal(20, 4, hypotheses) for name in (GRAPH, OLD_LM, NO_LM, NEURAL)}
        yield NBest(f"{prefix}{number}", words, {**columns, ACOUSTIC: random.normal(300, 40, hypotheses)})


def test_the_best_hypotheses_are_those_of_the_whole_lists(tmp_path):
    made = list(lists(9, 30))
    kaldi.write_nbest(tmp_path, 1, made[:4])
    kaldi.write_nbest(tmp_path, 2, made[4:])
    references = {nbest.utt: ["a", "b", "c"] for nbest in made[1:]}
    weights = Weights((0.4,), OperatingPoint(12, 1.0))
    winners = Winners(weights, POINTS, OperatingPoint(9), references)
    for nbest in CostedLists(tmp_path, 2, 1, Failures()):
        winners.add(nbest, nbest.words)
    for point, texts in winners.at_points().items():
        expected = {nbest.utt: nbest.words[best_hypothesis(nbest, Weights((0.4,), point))] for nbest in made}
        assert dict(texts) == expected
    first = Weights((0.0,), OperatingPoint(9))
    assert dict(winners.of_first_pass()) == {nbest.utt: nbest.words[best_hypothesis(nbest, first)] for nbest in made}
    by_errors = winners.by_errors()
    assert by_errors.keys() == references.keys()
    for nbest in made[1:]:
        distances = edit_distances(references[nbest.utt], nbest.words)
        assert by_errors[nbest.utt] == nbest.words[distances.argmin()]


@pytest.mark.parametrize("filtered", [False, True])
def test_transcripts_are_what_was_recognised(filtered):
    weights = Weights((0.4,), POINTS[3])
    winners = Winners(weights, POINTS, OperatingPoint(9), {})
    made = list(lists(9, 30))
    for nbest in made:
        winners.add(nbest, [["filtered"]] * len(nbest) if filtered else nbest.words)
    assert dict(winners.transcripts()) == {nbest.utt: nbest.words[best_hypothesis(nbest, weights)] for nbest in made}
    assert set(winners.at_points()[POINTS[3]].values()) == (
        {("filtered",)} if filtered else set(winners.transcripts().values())
    )


def test_the_list_of_the_first_job_holds_each_time(tmp_path):
    made = list(lists(3, 4))
    other = NBest(made[0].utt, made[1].words, made[1].costs)
    kaldi.write_nbest(tmp_path, 1, made[:2])
    kaldi.write_nbest(tmp_path, 2, [other, made[2]])
    failures = Failures()
    costed = CostedLists(tmp_path, 2, 1, failures)
    for _ in range(2):
        assert [(nbest.utt, nbest.words) for nbest in costed] == [(nbest.utt, nbest.words) for nbest in made]
    assert list(failures.reasons) == [made[0].utt]


def test_texts_of_fewer_choices_are_left_out():
    texts = ChosenTexts()
    texts.add("u", [["a"], ["a"], []])
    texts.add("v", [["b"]])
    assert dict(texts.of(0)) == {"u": ("a",), "v": ("b",)}
    assert dict(texts.of(2)) == {"u": ()}
    assert (len(texts.of(1)), "v" in texts.of(1), texts.of(1).get("v")) == (1, False, None)


def test_memory_does_not_grow_with_the_lists(tmp_path):
    """Each list takes about 0.3 MB in memory."""
    references = {f"utt{number}": ["a", "b", "c"] for number in range(60)}
    peaks = []
    for utterances in (15, 60):
        folder = tmp_path / str(utterances)
        kaldi.write_nbest(folder, 1, lists(utterances, 500))
        tracemalloc.start()
        costed = CostedLists(folder, 1, 1, Failures())
        tuning = tune(costed, references, 1, POINTS)
        winners = Winners(tuning.weights, POINTS, tuning.first_pass, references)
        for nbest in costed:
            winners.add(nbest, nbest.words)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6


@pytest.mark.parametrize("references", [{}, {"u": []}, {"ü": ["l'été", "b"], "a": ["c", '"']}])
def test_the_hash_of_references_is_that_of_weights_written_before(references):
    joined = {utt: " ".join(words) for utt, words in references.items()}
    assert data_hash(references) == Fingerprint({"references": joined}).digest
