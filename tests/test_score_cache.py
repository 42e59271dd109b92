"""The score cache: the same costs, nothing scored twice, jobs that share it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore import models
from asr_rescore.config import ModelConfig
from asr_rescore.errors import InputError, RescoreError
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.lm import score_cache
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.lm.score_cache import CachedScorer, digest
from asr_rescore.vocab import Vocabulary

MODEL = Fingerprint({"model": "a"})
VOCABULARY = Vocabulary.from_counts({"a": 5, "b": 4, "c": 3})
TEXTS = [["a", "b"], [], ["a"], ["a", "b"], ["c", "zebra"]]


class Counting:
    """A scorer that remembers what it was asked."""

    def __init__(self):
        torch.manual_seed(1)
        model = models.build(ModelConfig(embedding=4, hidden=(5,), experts=2, embedding_init=1.0), len(VOCABULARY))
        self.scorer, self.asked = NeuralScorer(model, VOCABULARY, "cpu"), []

    def costs(self, sentences):
        self.asked.append([tuple(words) for words in sentences])
        return self.scorer.costs(sentences)


def test_costs_are_the_scorers_and_each_sentence_is_scored_once(tmp_path):
    counting = Counting()
    expected = counting.scorer.costs(TEXTS)
    cached = CachedScorer(counting, tmp_path, MODEL)
    for _ in range(2):
        np.testing.assert_allclose(cached.costs(TEXTS), expected, rtol=1e-6)
    assert counting.asked == [[("a", "b"), (), ("a",), ("c", "zebra")]]
    assert cached.costs([]).tolist() == []


def test_another_process_finds_them_and_adds_its_own(tmp_path):
    first = CachedScorer(Counting(), tmp_path, MODEL)
    costs = first.costs(TEXTS)
    beside, other = Counting(), Counting()
    second = CachedScorer(beside, tmp_path, MODEL)
    assert np.array_equal(second.costs([*TEXTS, ["b"]])[:-1], costs) and beside.asked == [[("b",)]]
    CachedScorer(other, tmp_path, Fingerprint({"model": "another"})).costs(TEXTS[:1])
    assert other.asked == [[("a", "b")]]
    again = Counting()
    assert np.array_equal(CachedScorer(again, tmp_path, MODEL).costs(TEXTS), costs) and not again.asked


def test_what_is_known_stays_known_when_it_is_sorted(monkeypatch):
    """Sentences that come one by one, in batches, twice and in between, against a dict."""
    monkeypatch.setattr(score_cache, "LEAST_TO_SORT", 5)
    keys = [digest([str(number)]) for number in range(200)]
    keys[7] = bytes(16)  # whose bytes are all zero, as those at the end of some keys
    keys[8] = bytes(15) + b"\1"
    expected: dict[bytes, float] = dict.fromkeys(keys[:20], 1.5)
    records = np.array([(key, 0.5) for key in keys[:10]] + list(expected.items()), score_cache.RECORD)
    known = score_cache.KnownCosts(records)  # the first ten twice
    draw = np.random.default_rng(1)
    for turn in range(60):
        fresh = {keys[index]: float(turn) for index in draw.integers(200, size=4)}
        known.add(fresh)
        expected |= fresh
        asked = [keys[index] for index in draw.integers(200, size=9)]
        assert known.of(asked) == {key: expected[key] for key in asked if key in expected}
    assert known.of([]) == {}
    assert known.of(keys) == expected
    assert score_cache.KnownCosts(np.empty(0, score_cache.RECORD)).of(keys) == {}


class Numbers:
    """A scorer of sentences that are a number, from which anybody can tell their cost."""

    def costs(self, sentences):
        return np.array([int(number) / 7 for (number,) in sentences])


def turn(number: int) -> list[list[str]]:
    """Sentences of which half are the next turn's too."""
    return [[str(number)] for number in range(1000 * number, 1000 * number + 2000)]


def job(directory: Path, first: int, start: Barrier) -> None:
    start.wait(timeout=3600)  # one that died before must not hang the others for ever
    for number in range(first, first + 8):
        cached = CachedScorer(Numbers(), directory, MODEL)
        assert np.array_equal(cached.costs(turn(number)), Numbers().costs(turn(number)))


@pytest.mark.slow
def test_jobs_that_read_and_write_at_once_lose_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    jobs = [spawn.Process(target=job, args=(tmp_path, first, start)) for first in range(3)]
    for process in jobs:
        process.start()
    for process in jobs:
        process.join()
    assert [process.exitcode for process in jobs] == [0, 0, 0]
    after = CachedScorer(None, tmp_path, MODEL)
    for number in range(10):
        assert np.array_equal(after.costs(turn(number)), Numbers().costs(turn(number)))


def test_words_are_kept_apart():
    assert len({digest(words) for words in ([], ["a"], ["a", "b"], ["ab"], ["b", "a"])}) == 5


def test_a_failure_keeps_nothing(tmp_path):
    class Broken:
        def costs(self, sentences):
            raise RescoreError("no finite cost")

    with pytest.raises(RescoreError):
        CachedScorer(Broken(), tmp_path, MODEL).costs(TEXTS)
    assert not list(tmp_path.rglob("*.costs"))


def test_a_damaged_file_is_named(tmp_path):
    CachedScorer(Counting(), tmp_path, MODEL).costs(TEXTS)
    (path,) = tmp_path.rglob("*.costs")
    content = path.read_bytes()
    damages = {
        content[:-1]: r"found 119 bytes, expected 24 bytes and records of 24 bytes; remove the file",
        b"": "found 0 bytes",
        bytes(len(content)): r"found a file that begins with b'\\x00",
        content[:-8] + bytes(8): "found costs that have changed since they were written",
        content[:8] + bytes(len(content) - 8): "found costs that have changed",
        content[:-24]: "found costs that have changed",
    }
    for damaged, message in damages.items():
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"\.costs: {message}"):
            CachedScorer(Counting(), tmp_path, MODEL)
