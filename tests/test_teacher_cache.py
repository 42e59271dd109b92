"""A cache holds the distributions of its teacher; samples represent them without bias."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr_rescore.errors import InputError, RescoreError, UsageError
from asr_rescore.lm.streams import Streams
from asr_rescore.objectives import SoftLabels
from asr_rescore.training import (
    CacheConfig,
    CachedTeacher,
    CacheJob,
    TeacherCache,
    build_cache,
    teacher_cache,
    train,
)
from asr_rescore.training.cache_job import JoinedRows
from asr_rescore.training.top_samples import top_and_samples
from training_runs import CPU, SIZE, TRAIN, log_of, make_run, make_teacher, network, state_of, text

TEACHERS = ["a hash"]


def build(directory, words=TRAIN, **options) -> TeacherCache:
    build_cache(directory, make_teacher().model, words, TEACHERS, CacheConfig(**options), CPU)
    return TeacherCache.open(directory, words, TEACHERS)


def straight(words=TRAIN) -> torch.Tensor:
    """ln Q of the teacher that reads from the first token to the last, (tokens, vocabulary)."""
    teacher = make_teacher()
    teacher.start([1])
    chunk = Streams(words.ids, 1, CPU).chunk(slice(None), slice(None))
    with torch.no_grad():
        return teacher.model(chunk.inputs, teacher.states[0]).log_probs[:, 0]


def rows(cache: TeacherCache) -> torch.Tensor:
    return torch.from_numpy(cache.weights).float() / teacher_cache.SCALE


class TestDense:
    def test_rows_are_the_teachers_distributions(self, tmp_path):
        cache = build(tmp_path / "cache", streams=1)
        expected = straight()
        torch.testing.assert_close(rows(cache), expected.exp(), rtol=2**-11, atol=0)
        label = expected.gather(1, torch.from_numpy(TRAIN.ids).unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(torch.from_numpy(cache.label), label)

    @pytest.mark.parametrize("streams", [2, 7, 32, 10_000])
    def test_streams_change_nothing_but_the_context(self, tmp_path, streams):
        """This small network forgets within 60 tokens, so a warm-up of 60 tokens gives it its context."""
        cache = build(tmp_path / "cache", streams=streams, warmup=60)
        torch.testing.assert_close(rows(cache), straight().exp(), rtol=2e-2, atol=1e-4)
        length = max(60, len(TRAIN) // streams)
        torch.testing.assert_close(
            rows(cache)[:length], straight()[:length].exp(), rtol=1e-3, atol=0
        )  # the first stream has no text before it

    def test_a_small_budget_changes_nothing(self, tmp_path, monkeypatch):
        whole = build(tmp_path / "whole", streams=3)
        monkeypatch.setattr(teacher_cache, "CHUNK_BYTES", 1)
        pieces = build(tmp_path / "pieces", streams=3)
        torch.testing.assert_close(rows(pieces), rows(whole), rtol=2**-10, atol=0)

    def test_precision_reaches_small_probabilities(self):
        probs = torch.tensor([1.0, 0.3, 1e-4, 1e-6, 1e-8])
        kept = (probs * teacher_cache.SCALE).half().float() / teacher_cache.SCALE
        torch.testing.assert_close(kept, probs, rtol=2**-11, atol=0)


class TestTopAndSamples:
    def test_by_hand(self):
        probs = torch.tensor([[0.1, 0.6, 0.0, 0.3]])
        weights, words = top_and_samples(probs, 2, 3, torch.Generator().manual_seed(1))
        assert words.tolist() == [[1, 3, 0, 0, 0]]
        torch.testing.assert_close(weights, torch.tensor([[0.6, 0.3, 0.1 / 3, 0.1 / 3, 0.1 / 3]]))

    def test_without_a_rest(self):
        weights, _ = top_and_samples(torch.tensor([[0.4, 0.6, 0.0]]), 2, 4, torch.Generator().manual_seed(1))
        assert weights.tolist() == [[pytest.approx(0.6), pytest.approx(0.4), 0, 0, 0, 0]]

    def test_the_rarest_words_are_drawn_as_often_as_they_should_be(self):
        """10,000 of 40,000 words with 3.3e-8 each, drawn 200,000 times: 66 draws, give or take 8."""
        rare = torch.full((10_000,), 3.3e-8)
        others = torch.full((30_000,), (1 - float(rare.double().sum())) / 30_000)
        probs = torch.cat([others, rare]).unsqueeze(0)
        _, words = top_and_samples(probs, 1, 200_000, torch.Generator().manual_seed(1))
        assert 40 < int((words >= 30_000).sum()) < 92

    def test_loss_and_gradient_are_unbiased(self):
        """Over many draws, each coordinate of their mean is within four standard errors of that of the whole
        distribution; that of the top words alone is far outside."""
        draw = torch.Generator().manual_seed(3)
        teacher = torch.randn(1, 50, generator=draw).double().softmax(-1)
        logits = torch.randn(1, 50, generator=draw).double().requires_grad_()

        def gradient(weights, words=None):
            logits.grad = None
            loss = SoftLabels(weights, torch.zeros(1), words).cross_entropy(logits.log_softmax(-1)).sum()
            loss.backward()
            return torch.cat([loss.detach().unsqueeze(0), logits.grad[0]])

        exact = gradient(teacher)
        drawn = torch.stack([gradient(*top_and_samples(teacher, 5, 4, draw)) for _ in range(4000)])
        error = drawn.std(0) / 4000**0.5
        assert ((drawn.mean(0) - exact).abs() <= 4 * error + 1e-12).all()
        top, words = teacher.topk(5)
        biased = gradient(top, words)
        assert ((biased - exact).abs() > 10 * error).sum() > 25

    def test_a_cache_of_them(self, tmp_path):
        cache = build(tmp_path / "cache", streams=1, top=3, samples=2)
        expected = straight().exp()
        words = torch.from_numpy(cache.words).long()
        torch.testing.assert_close(rows(cache)[:, :3], expected.topk(3).values, rtol=2**-10, atol=0)
        torch.testing.assert_close(expected.gather(1, words)[:, :3], expected.topk(3).values, rtol=1e-4, atol=0)
        torch.testing.assert_close(rows(cache).sum(1), torch.ones(len(TRAIN)), rtol=1e-3, atol=0)

    def test_more_than_there_is(self, tmp_path):
        with pytest.raises(UsageError, match="`top` 5 and `samples` 16 are more than the 7 words"):
            build(tmp_path / "cache", top=5)


class TestTraining:
    def test_a_student_cannot_tell(self, tmp_path):
        """With one stream read from zero in each epoch, online and cached teacher see the same context."""
        online = make_run(tmp_path / "online", kind="trust", batch=1, bptt=40)
        cached = replace(online, directory=tmp_path / "cached")
        train(online, network(online), CPU, make_teacher())
        train(cached, network(cached), CPU, CachedTeacher(build(tmp_path / "cache", streams=1), CPU))
        for one, other in zip(log_of(online), log_of(cached), strict=True):
            assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
            assert other["valid_ppl"] == pytest.approx(one["valid_ppl"], rel=1e-3)

    def test_groups_and_rotations_find_their_rows(self, tmp_path):
        teacher = CachedTeacher(build(tmp_path / "cache", streams=1), CPU)
        streams = Streams(TRAIN.ids, 4, CPU)
        streams.rotate(torch.tensor([3, 0, 11, 7]))
        chunk = streams.chunk(slice(5, 9), slice(1, 3))
        soft = teacher.soft_labels(chunk, 0)
        expected = straight()[chunk.positions.flatten()]
        torch.testing.assert_close(soft.weights.float() * soft.scale, expected.exp(), rtol=2**-10, atol=0)
        hot = SoftLabels.from_log_probs(expected, chunk.labels.flatten()).softened(2.0)
        torch.testing.assert_close(soft.softened(2.0).weights, hot.weights, rtol=2**-10, atol=0)
        torch.testing.assert_close(soft.label, expected.gather(1, chunk.labels.flatten().unsqueeze(1)).squeeze(1))

    def test_a_temperature_needs_all_words(self, tmp_path):
        teacher = CachedTeacher(build(tmp_path / "cache", top=2, samples=2), CPU)
        soft = teacher.soft_labels(Streams(TRAIN.ids, 4, CPU).chunk(slice(0, 2), slice(None)), 0)
        with pytest.raises(UsageError, match="needs the teacher's distribution over all words, found"):
            soft.softened(2.0)


class TestResume:
    @pytest.mark.parametrize("options", [{}, {"top": 2, "samples": 3}], ids=["dense", "samples"])
    @pytest.mark.parametrize("after", [1, 2, 4])
    def test_a_stopped_build_ends_like_one_that_went_through(self, tmp_path, monkeypatch, options, after):
        monkeypatch.setattr(teacher_cache, "CHUNK_BYTES", 3 * 5 * SIZE * 4)
        monkeypatch.setattr(teacher_cache, "SAVE_EVERY", -1.0)
        whole = build(tmp_path / "whole", streams=3, warmup=20, **options)
        read = teacher_cache._Builder._read
        calls = []

        def stop(self, *arguments):
            calls.append(arguments)
            if len(calls) > after:
                raise KeyboardInterrupt
            return read(self, *arguments)

        monkeypatch.setattr(teacher_cache._Builder, "_read", stop)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "cache", streams=3, warmup=20, **options)
        with pytest.raises(InputError, match="make it with cache_teacher, which also continues an unfinished one"):
            TeacherCache.open(tmp_path / "cache", TRAIN, TEACHERS)
        monkeypatch.setattr(teacher_cache._Builder, "_read", read)
        again = build(tmp_path / "cache", streams=3, warmup=20, **options)
        for name in ("weights", "label", "words"):
            one = getattr(whole, name)
            other = getattr(again, name)
            assert (one is None and other is None) or np.array_equal(one, other)
        assert not (tmp_path / "cache" / teacher_cache.STATE_FILE).exists()

    def test_a_finished_one_is_left_alone(self, tmp_path, monkeypatch):
        build(tmp_path / "cache")
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir()}
        assert len(before) == 3
        monkeypatch.setattr(teacher_cache, "_Builder", None)
        build(tmp_path / "cache")
        after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir()}
        assert after == before


class TestRefusals:
    def test_another_text_or_teacher(self, tmp_path):
        build(tmp_path / "cache")
        with pytest.raises(UsageError, match=r"cache holds another cache \(different: text\); remove it"):
            TeacherCache.open(tmp_path / "cache", text(61), TEACHERS)
        with pytest.raises(UsageError, match=r"\(different: teachers\)"):
            TeacherCache.open(tmp_path / "cache", TRAIN, ["another"])
        with pytest.raises(UsageError, match=r"another cache \(different: options.top, options.samples\); remove it"):
            build(tmp_path / "cache", top=3, samples=1)

    def test_a_cut_file(self, tmp_path):
        build(tmp_path / "cache")
        with (tmp_path / "cache/weights.f16").open("ab") as stream:
            stream.truncate(100)
        with pytest.raises(InputError, match=r"weights.f16: found 100 bytes, expected \d+ bytes"):
            TeacherCache.open(tmp_path / "cache", TRAIN, TEACHERS)

    @pytest.mark.parametrize(
        ("name", "kind", "value", "found"),
        [
            ("weights.f16", np.float16, 0, "probabilities that do not sum to 1"),
            ("weights.f16", np.float16, np.nan, "probabilities that do not sum to 1"),
            ("words.i32", np.int32, SIZE, "a word that is not in the vocabulary"),
            ("words.i32", np.int32, -1, "a word that is not in the vocabulary"),
        ],
    )
    def test_a_damaged_row(self, tmp_path, name, kind, value, found):
        build(tmp_path / "cache", top=2, samples=2)
        rows = np.memmap(tmp_path / "cache" / name, kind, "r+")
        rows[4:8] = value  # the second row
        rows.flush()
        teacher = CachedTeacher(TeacherCache.open(tmp_path / "cache", TRAIN, TEACHERS), CPU)
        streams = Streams(TRAIN.ids, 4, CPU)
        with pytest.raises(InputError, match=f"{name}: found {found}"):
            teacher.soft_labels(streams.chunk(slice(0, 5), slice(None)), 0)
        teacher.soft_labels(streams.chunk(slice(5, 10), slice(None)), 0)

    @pytest.mark.parametrize(
        ("part", "other", "found"),
        [
            (r".{20}$", "", "found .*invalid JSON"),
            (r".+", "", r"found '', invalid JSON \(Expecting value"),
            (r".+", "[]", r"found \[\], expected a mapping"),
            ('"text"', '"texts"', "text: found no such key"),
            ('"options"', '"option"', "options: found no such key, expected a mapping"),
            ('"warmup"', '"warm"', "options.warm: found 100, expected none but top, samples"),
            ('"top": 0,', "", "options.top: found no such key"),
            ('"top": 0', '"top": 0.5', "options.top: found 0.5, expected an integer"),
            ('"top": 0', '"top": -1', "options.top: found -1, expected an integer"),
            (r'_size": \d+', '_size": "7"', "vocabulary_size: found '7', expected an integer"),
        ],
    )
    def test_a_damaged_description(self, tmp_path, part, other, found):
        build(tmp_path / "cache")
        path = tmp_path / "cache/cache.json"
        path.write_text(re.sub(part, other, path.read_text(), count=1, flags=re.DOTALL))
        message = f"cache.json: {found}.*the description of a teacher's cache; remove the file and run cache_teacher"
        for read in (lambda: build(path.parent), lambda: TeacherCache.open(path.parent, TRAIN, TEACHERS)):
            with pytest.raises(InputError, match=message):
                read()
        path.unlink()
        build(path.parent)

    def test_what_a_larger_cache_left_is_cut(self, tmp_path):
        """The files remain if a damaged description is removed, and the next cache may be smaller."""
        build(tmp_path / "cache")
        (tmp_path / "cache/cache.json").unlink()
        (tmp_path / "cache/weights.f16").write_bytes(b"x" * (1 << 20))
        cache = build(tmp_path / "cache", top=2, samples=2)
        expected = build(tmp_path / "new", top=2, samples=2)
        assert np.array_equal(cache.weights, expected.weights)

    def test_a_full_disk(self, tmp_path, monkeypatch):
        def refuse(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        with pytest.raises(
            RescoreError, match=r"cannot reserve [\d,]+ bytes \(No space left on device\); free some space"
        ):
            build(tmp_path / "cache")


def test_a_run_with_a_cache_remembers_it(tmp_path):
    """A run cannot be continued with another cache or without one."""
    cache = build(tmp_path / "cache")
    run = replace(make_run(tmp_path / "student", kind="kl"), facts={"teacher_cache": cache.config.to_dict()})
    train(run, network(run), CPU, CachedTeacher(cache, CPU))
    assert state_of(run)[1]["run"]["teacher_cache"]["top"] == 0


class TestJobs:
    def make(self, directory, jobs, only=(), **options):
        for job in CacheJob.all(jobs):
            if not only or job.number in only:
                config = CacheConfig(**options)
                build_cache(directory, make_teacher().model, TRAIN, TEACHERS, config, CPU, job)

    @pytest.mark.parametrize(("tokens", "jobs"), [(10, 1), (10, 3), (3, 3), (1000, 7)])
    def test_every_token_is_one_jobs(self, tokens, jobs):
        assert [token for job in CacheJob.all(jobs) for token in job.tokens(tokens)] == list(range(tokens))

    @pytest.mark.parametrize("number", [0, 4])
    def test_a_job_that_is_none(self, number):
        with pytest.raises(UsageError, match=f"`job` is {number}, expected"):
            CacheJob(number, 3)

    @pytest.mark.parametrize("jobs", [2, 5])
    def test_together_they_are_one_cache(self, tmp_path, jobs):
        """The network forgets within 60 tokens; see TestDense."""
        self.make(tmp_path / "jobs", jobs, warmup=60, streams=2)
        cache = TeacherCache.open(tmp_path / "jobs", TRAIN, TEACHERS)
        everything = np.arange(len(TRAIN))
        found = torch.from_numpy(cache.weights[everything]).float() / teacher_cache.SCALE
        torch.testing.assert_close(found, straight().exp(), rtol=2e-2, atol=1e-4)
        first = len(CacheJob(1, jobs).tokens(len(TRAIN))) // 2
        torch.testing.assert_close(found[:first], straight()[:first].exp(), rtol=1e-3, atol=0)  # nothing before it
        expected = build(tmp_path / "one", streams=1)
        np.testing.assert_allclose(cache.label[everything], expected.label, rtol=1e-2)

    def test_a_student_reads_them(self, tmp_path):
        self.make(tmp_path / "jobs", 3, top=3, samples=2)
        teacher = CachedTeacher(TeacherCache.open(tmp_path / "jobs", TRAIN, TEACHERS), CPU)
        chunk = Streams(TRAIN.ids, 4, CPU).chunk(slice(5, 25), slice(None))
        soft = teacher.soft_labels(chunk, 0)
        parts = [np.fromfile(tmp_path / f"jobs/job.{job}/weights.f16", np.float16).reshape(-1, 5) for job in (1, 2, 3)]
        assert np.array_equal(soft.weights.numpy(), np.concatenate(parts)[chunk.positions.flatten()])
        assert soft.words.dtype == torch.int64 and len(soft.label) == len(soft.words) == 80

    def test_joined_rows(self):
        table = JoinedRows([np.arange(6).reshape(3, 2), np.arange(6, 8).reshape(1, 2), np.arange(8, 12).reshape(2, 2)])
        assert (len(table), table.nbytes) == (6, 96)
        rows = np.array([5, 0, 3, 3, 2, 4])
        assert table[rows].tolist() == np.arange(12).reshape(6, 2)[rows].tolist()

    def test_unfinished_jobs_are_named(self, tmp_path):
        self.make(tmp_path / "jobs", 4, only=(1, 3))
        with pytest.raises(
            InputError, match="found 2 of 4 jobs unfinished.*run the missing jobs with cache_teacher: 2, 4"
        ):
            TeacherCache.open(tmp_path / "jobs", TRAIN, TEACHERS)

    def test_a_stopped_job_continues(self, tmp_path, monkeypatch):
        monkeypatch.setattr(teacher_cache, "CHUNK_BYTES", 1)
        monkeypatch.setattr(teacher_cache, "SAVE_EVERY", -1.0)
        self.make(tmp_path / "whole", 2, top=3, samples=2)
        read = teacher_cache._Builder._read
        left = iter(range(40))

        def stop(self, *arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return read(self, *arguments)

        monkeypatch.setattr(teacher_cache._Builder, "_read", stop)
        with pytest.raises(KeyboardInterrupt):
            self.make(tmp_path / "jobs", 2, only=(2,), top=3, samples=2)
        monkeypatch.setattr(teacher_cache._Builder, "_read", read)
        assert (tmp_path / "jobs/job.2" / teacher_cache.STATE_FILE).exists()
        self.make(tmp_path / "jobs", 2, top=3, samples=2)
        for name in (
            "job.1/weights.f16",
            "job.2/weights.f16",
            "job.2/words.i32",
            "job.2/label.f32",
            "job.2/cache.json",
        ):
            assert (tmp_path / "jobs" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

    def test_a_finished_job_is_checked(self, tmp_path):
        self.make(tmp_path / "jobs", 2)
        self.make(tmp_path / "jobs", 2)
        path = tmp_path / "jobs/job.2/label.f32"
        path.write_bytes(b"\0" + path.read_bytes()[1:])
        with pytest.raises(InputError, match=r"job.2/label.f32: found bytes that have changed.*make the cache again"):
            self.make(tmp_path / "jobs", 2)

    def test_other_numbers_of_jobs_do_not_mix(self, tmp_path):
        self.make(tmp_path / "jobs", 3)
        with pytest.raises(UsageError, match=r"job.1 holds another cache \(different: jobs\)"):
            self.make(tmp_path / "jobs", 2)
        self.make(tmp_path / "one", 1)
        with pytest.raises(UsageError, match="one holds a cache that was made as one"):
            self.make(tmp_path / "one", 2)

    def test_more_jobs_than_tokens(self, tmp_path):
        with pytest.raises(UsageError, match=r"`nj` is 1000, but the text has only \d+ tokens"):
            self.make(tmp_path / "jobs", 1000, only=(1,))
