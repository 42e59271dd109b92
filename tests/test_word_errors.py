"""Error counts against Kaldi's own, against hand-made alignments, and jiwer's distances against both."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import word_alignment
from asr_rescore.errors import RescoreError
from asr_rescore.kaldi import read_table
from asr_rescore.word_alignment import ALIGN_TEXT, COMPUTE_WER, AlignmentRule, align
from asr_rescore.word_errors import ErrorCount, count, edit_distances, errors_by_utterance, wer

GOLDENS = Path(__file__).parent / "goldens" / "scoring"
SENTENCES = st.lists(st.sampled_from("abcd"), max_size=9)
# Kaldi separates words by ASCII blanks only: wide ones, and whatever else is printed, may be a word or part of one.
ANY_WORDS = st.lists(
    st.one_of(st.sampled_from(["\u00a0", "\u3000", "a\u3000", "\u2028", "|", "***"]), st.text("ab\u00a0é", min_size=1)),
    max_size=6,
)


@pytest.mark.parametrize("mode", ["all", "present"])
def test_odd_cases_as_compute_wer_counts_them(mode):
    counted = wer(read_table(GOLDENS / "ref.txt"), read_table(GOLDENS / "hyp.txt"), mode)
    assert counted.lines() == (GOLDENS / f"wer.{mode}").read_text()


@pytest.mark.parametrize("wip", ["0.0", "1.0"])
@pytest.mark.parametrize("lmwt", [7, 12, 17])
def test_whole_sets_as_compute_wer_counts_them(lmwt, wip):
    counted = wer(read_table(GOLDENS / "mini_dev.ref.txt"), read_table(GOLDENS / f"mini_dev.hyp.{lmwt}.{wip}.txt"))
    assert counted.lines() == (GOLDENS / f"mini_dev.wer_{lmwt}_{wip}").read_text()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", (0, 0, 0, 0, 1, 0)),
        ("a b", "a b", (0, 0, 0, 2, 1, 0)),
        ("a b", "", (0, 2, 0, 2, 1, 1)),
        ("", "a b", (2, 0, 0, 0, 1, 1)),
        ("a b", "a c", (0, 0, 1, 2, 1, 1)),
        ("a b c d", "b c d e", (1, 1, 0, 4, 1, 1)),
        ("x y x y", "y x y x", (1, 1, 0, 4, 1, 1)),
        ("A", "a", (0, 0, 1, 1, 1, 1)),
    ],
    ids=["nothing", "right", "all deleted", "all inserted", "substituted", "shifted", "either way", "case counts"],
)
def test_one_utterance(reference, hypothesis, expected):
    assert count(reference.split(), hypothesis.split()) == ErrorCount(*expected)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # Two substitutions, or an insertion and a deletion around the common word: two errors either way.
        (COMPUTE_WER, [("a", None), ("b", "b"), (None, "a")]),
        (ALIGN_TEXT, [("a", "b"), ("b", "a")]),
        (AlignmentRule(("del", "sub", "ins")), [(None, "b"), ("a", "a"), ("b", None)]),
    ],
)
def test_ties_are_broken_as_asked(rule, expected):
    assert align(["a", "b"], ["b", "a"], rule) == expected


@given(SENTENCES, SENTENCES, st.permutations(COMPUTE_WER.ties))
def test_an_alignment_holds_both_sentences_and_ties_change_no_total(reference, hypothesis, ties):
    rule = AlignmentRule(tuple(ties))
    pairs = align(reference, hypothesis, rule)
    assert [said for said, _ in pairs if said is not None] == reference
    assert [heard for _, heard in pairs if heard is not None] == hypothesis
    assert (None, None) not in pairs
    assert sum(said != heard for said, heard in pairs) == count(reference, hypothesis).errors
    assert count(reference, hypothesis, rule).errors == count(hypothesis, reference).errors


def align_with_the_whole_table(reference, hypothesis, rule):
    """The definition, with all rows in memory."""
    gap, substitution = rule.gap, rule.substitution
    rows = [[gap * r for r in range(len(reference) + 1)]]  # rows[h][r]: the first h words against the first r
    for number, word in enumerate(hypothesis, 1):
        above = rows[-1]
        row = [gap * number]
        for place, said in enumerate(reference, 1):
            row.append(min(above[place - 1] + substitution * (word != said), row[-1] + gap, above[place] + gap))
        rows.append(row)

    def wrong(h, r):
        return hypothesis[h - 1] != reference[r - 1]

    pairs = []
    h, r = len(hypothesis), len(reference)
    while h or r:
        here = rows[h][r]
        steps = {
            "ins": h > 0 and rows[h - 1][r] + gap == here,
            "del": r > 0 and rows[h][r - 1] + gap == here,
            "sub": h > 0 and r > 0 and rows[h - 1][r - 1] + substitution * wrong(h, r) == here,
        }
        step = next(name for name in rule.ties if steps[name])
        pairs.append((None if step == "ins" else reference[r - 1], None if step == "del" else hypothesis[h - 1]))
        h -= step != "del"
        r -= step != "ins"
    return pairs[::-1]


LONGER = st.lists(st.sampled_from("abc"), max_size=40)


@given(LONGER, LONGER, st.permutations(COMPUTE_WER.ties), st.sampled_from([(1, 1), (2, 2), (3, 4)]))
def test_an_alignment_is_that_of_the_whole_table(reference, hypothesis, ties, costs):
    rule = AlignmentRule(tuple(ties), *costs)
    expected = align_with_the_whole_table(reference, hypothesis, rule)
    assert align(reference, hypothesis, rule) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_alignment, "LONG", 0)  # by waves, as long utterances are
        patch.setattr(word_alignment, "SHORT_RUN", 1)
        patch.setattr(word_alignment, "CHUNK", 2)
        assert align(reference, hypothesis, rule) == expected


def test_a_long_recording_is_aligned_in_little_memory():
    """50 minutes in one utterance; the whole table would take gigabytes."""
    random = np.random.default_rng(1)
    reference = [f"w{index}" for index in random.integers(2000, size=8000)]
    kept = [word for word in reference if random.random() > 0.03]
    hypothesis = [f"w{random.integers(2000)}" if random.random() < 0.1 else word for word in kept]
    tracemalloc.start()
    counted = count(reference, hypothesis)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counted.errors == edit_distances(reference, [hypothesis])[0]
    assert counted.deletions - counted.insertions == len(reference) - len(hypothesis)
    assert peak < 20e6
    doubled = AlignmentRule(COMPUTE_WER.ties, 2, 2)  # the same alignment, but not by waves
    assert counted == count(reference, hypothesis, doubled)


@given(ANY_WORDS, st.lists(ANY_WORDS, max_size=5))
def test_distances_are_the_errors_of_the_alignments(reference, hypotheses):
    distances = edit_distances(reference, hypotheses)
    assert distances.dtype == np.int64
    assert distances.tolist() == [count(reference, words).errors for words in hypotheses]


@pytest.mark.parametrize(
    ("reference", "hypotheses", "expected"),
    [
        ([], [[], ["a", "b"]], [0, 2]),
        (["a", "b"], [[], ["a", "b"], ["b"], ["x", "y", "z"]], [2, 0, 1, 3]),
        (["a"], [], []),
        (["a", "\u3000"], [["a"], ["a", "\u3000"]], [1, 0]),
    ],
    ids=["empty reference", "empty hypothesis", "no hypothesis", "a wide blank is a word"],
)
def test_distances_by_hand(reference, hypotheses, expected):
    assert edit_distances(reference, hypotheses).tolist() == expected


def test_a_missing_hypothesis_is_all_deletions_and_said():
    references = {"u1": ["a", "b"], "u2": ["c"], "silent": []}
    counts = errors_by_utterance(references, {"u2": ["c"], "nobody": ["x"]})
    assert counts == {
        "u1": ErrorCount(deletions=2, reference_words=2, sentences=1, wrong_sentences=1, missing=1),
        "u2": ErrorCount(reference_words=1, sentences=1),
        "silent": ErrorCount(sentences=1, missing=1),
    }
    assert errors_by_utterance(references, {"u2": ["c"]}, "present")["u1"] == ErrorCount(missing=1)
    assert wer(references, {}).lines() == (
        "%WER 100.00 [ 3 / 3, 0 ins, 3 del, 0 sub ] [PARTIAL]\n"
        "%SER 66.67 [ 2 / 3 ]\n"
        "Scored 3 sentences, 3 not present in hyp.\n"
    )


def test_utterances_are_paired_by_id_not_by_position():
    references = {"u1": ["a"], "u2": ["b"]}
    assert wer(references, {"u2": ["b"], "u1": ["a"]}).errors == 0
    assert wer(references, {"u2": ["a"], "u1": ["b"]}).errors == 2


def test_counts_add_up_field_by_field():
    total = ErrorCount(1, 2, 3, 10, 2, 1, 0) + ErrorCount(10, 20, 30, 100, 20, 10, 1)
    assert total == ErrorCount(11, 22, 33, 110, 22, 11, 1)
    assert total.errors == 66
    assert (total.wer, total.ser) == (pytest.approx(60.0), pytest.approx(50.0))


def test_without_words_there_is_no_rate():
    assert math.isnan(wer({"u": []}, {"u": []}).wer)
    assert wer({"u": []}, {"u": ["a", "b"]}).wer_line() == "%WER inf [ 2 / 0, 2 ins, 0 del, 0 sub ]"
    assert math.isnan(ErrorCount().ser)


@pytest.mark.parametrize(
    "wrong",
    [
        {"insertions": -1},
        {"deletions": 2, "substitutions": 2, "reference_words": 3},
        {"sentences": 1, "wrong_sentences": 2},
    ],
    ids=["negative", "more words wrong than said", "more sentences wrong than scored"],
)
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(RescoreError):
        ErrorCount(**wrong)
