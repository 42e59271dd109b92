"""Test sets of any size: what is held for each utterance is small, and what need not be held is not."""

import sys
import tracemalloc
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import pytest

from asr_rescore import kaldi, word_errors
from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import SystemReport, write_details
from asr_rescore.rescoring.chosen_texts import ChosenTexts
from asr_rescore.statistics import bootstrap
from asr_rescore.statistics.bootstrap import confidence
from asr_rescore.word_errors import ErrorCount, errors_by_utterance, wer, wers
from lattices import lattice_of

UTTERANCES = 1000
WORDS = [f"word{number}" for number in range(15)]


@pytest.fixture
def utts() -> list[str]:
    # Interned now, as some of the measured code does: a thousand new names can make Python enlarge its table of all
    # interned strings, which has megabytes late in a run of all tests, and would count as memory of the code.
    return [sys.intern(f"speaker-{number:06d}") for number in range(UTTERANCES)]


def bytes_of(work: Callable[[], object], peak: bool = False) -> float:
    """Bytes for each utterance that are held by what ``work`` returns; or the most that it holds at a time."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = work()
        after, most = tracemalloc.get_traced_memory()
        del result
        return ((most if peak else after) - before) / UTTERANCES
    finally:
        tracemalloc.stop()


def test_chosen_texts(utts):
    """Three texts of 15 words under 33 choices; as strings in tuples they would take more than a kilobyte."""
    spoken = [WORDS, WORDS[:-1], WORDS[::-1]]

    def hold() -> ChosenTexts:
        texts = ChosenTexts()
        for utt in utts:
            texts.add(utt, [spoken[choice // 11] for choice in range(33)])
        return texts

    assert bytes_of(hold) < 500
    texts = hold()
    assert texts.of(10)[utts[7]] == tuple(WORDS)
    assert texts.of(32)[utts[7]] == tuple(WORDS[::-1])


def test_error_counts_are_shared(utts):
    hypotheses = {utt: [*WORDS, utt] for utt in utts}
    counts = errors_by_utterance(dict.fromkeys(utts, WORDS), hypotheses)
    assert len({id(count) for count in counts.values()}) == 1


def test_words_of_tables_are_held_once(tmp_path, utts):
    kaldi.write_table(tmp_path / "text", dict.fromkeys(utts, WORDS))
    kaldi.write_table(tmp_path / "utt2spk", dict.fromkeys(utts, ["the-speaker"]))
    speakers = kaldi.read_table(tmp_path / "utt2spk")
    assert bytes_of(lambda: kaldi.read_table(tmp_path / "text")) < 350
    for one, other in zip(speakers, kaldi.read_table(tmp_path / "text"), strict=True):
        assert one is other


def test_an_archive_without_an_scp_remembers_nothing(utts):
    """Keys are long, so that what is remembered of them would be much."""
    lattice = lattice_of([(0, 1, 3, 1.0, 2.0)], {1: (0.5, 0.0)}, 2)
    entries = ((utt + "x" * 1000, lattice) for utt in utts)
    assert bytes_of(lambda: kaldi.write_lattices("/dev/null", entries), peak=True) < 300


def test_details_are_written_utterance_by_utterance(tmp_path, utts, monkeypatch):
    monkeypatch.setattr(bootstrap, "REPLICATIONS", 100)
    monkeypatch.setattr(bootstrap, "DRAWN", UTTERANCES)
    references = dict.fromkeys(utts, WORDS)
    hypotheses = dict.fromkeys(utts, WORDS[1:])
    speakers = dict.fromkeys(utts, "the-speaker")
    write_details(tmp_path, {"u": ["a"]}, {"u": ["a"]}, speakers)  # loads what it needs
    assert bytes_of(lambda: write_details(tmp_path, references, hypotheses, speakers), peak=True) < 400
    assert len((tmp_path / "per_utt").read_text().splitlines()) == 4 * UTTERANCES


def test_a_report_is_written_utterance_by_utterance(tmp_path, utts):
    counts = dict.fromkeys(utts, ErrorCount(1, 0, 2, 15, 1, 1))
    point = OperatingPoint(12, 0.5)
    report = SystemReport("lm", "decode", "data", (), (), point, point, "given", "N 2", counts, counts, None, None)
    assert bytes_of(lambda: report.save(tmp_path), peak=True) < 200
    assert SystemReport.load(tmp_path) == report


def test_the_bootstrap_is_drawn_in_portions(utts, monkeypatch):
    monkeypatch.setattr(bootstrap, "REPLICATIONS", 100)
    counts = [ErrorCount(0, 0, number % 3, 15, 1, int(number % 3 > 0)) for number in range(UTTERANCES)]
    whole = confidence(counts)
    monkeypatch.setattr(bootstrap, "DRAWN", 7 * UTTERANCES)
    assert confidence(counts) == whole
    assert bytes_of(lambda: confidence(counts), peak=True) < 500


def test_equal_hypotheses_of_an_utterance_are_aligned_once(monkeypatch):
    """However many utterances lie between them in another order."""
    monkeypatch.setattr(word_errors, "_count", lru_cache(maxsize=1)(word_errors._count.__wrapped__))
    aligned: list[Iterable[str]] = []
    align = word_errors.align
    monkeypatch.setattr(word_errors, "align", lambda *texts: aligned.append(texts[1]) or align(*texts))
    references = {"a": ["x", "y"], "b": ["z"], "c": ["x"]}
    system = {"a": ["x"], "b": ["q"]}
    other = {**system, "b": ["z", "z"]}
    assert wers(references, [system, system, other]) == [
        ErrorCount(0, 2, 1, 4, 3, 3, 1),
        ErrorCount(0, 2, 1, 4, 3, 3, 1),
        ErrorCount(1, 2, 0, 4, 3, 3, 1),
    ]
    assert aligned == [("x",), ("q",), ("z", "z"), ()]


def test_a_total_is_the_sum():
    counts = [ErrorCount(1, 2, 3, 10, 2, 1, 0), ErrorCount(10, 20, 30, 100, 20, 10, 1), ErrorCount(1, 2, 3, 10, 2, 1)]
    assert ErrorCount.total(counts) == ErrorCount(12, 24, 36, 120, 24, 12, 1)
    assert ErrorCount.total([]) == ErrorCount()


def test_no_system_has_no_errors():
    assert wers({"u": ["a"]}, []) == []
    assert wer({}, {"u": ["a"]}) == ErrorCount()
    assert np.isnan(wer({}, {}).wer)
