"""The parts of the training loop."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_rescore import models
from asr_rescore.config import ModelConfig, TrainConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import UsageError
from asr_rescore.interrupts import Interrupt
from asr_rescore.lm import NeuralScorer
from asr_rescore.lm.streams import Chunk, Streams
from asr_rescore.lm.text_cost import evaluate_sentences, evaluate_text, perplexity, stream_cost
from asr_rescore.models import Ensemble
from asr_rescore.training.chunks import chunk_length, column_groups
from asr_rescore.training.log import TrainingLog
from asr_rescore.training.optimizer import ParameterMean, averaging_starts, learning_rate, nonmonotone
from asr_rescore.training.teacher import OnlineTeacher
from asr_rescore.vocab import Vocabulary
from training_runs import in_the_foreground

CPU = torch.device("cpu")
SIZE = 7


def network(seed: int = 1, **options) -> models.LanguageModel:
    torch.manual_seed(seed)
    config = ModelConfig(embedding=4, hidden=(6, 5), experts=2, embedding_init=1.0, **options)
    return models.build(config, SIZE)


def random_ids(tokens: int, seed: int = 1) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, SIZE, tokens)
    ids[-1] = 0
    return ids


class TestStreams:
    def test_each_label_follows_its_input(self):
        streams = Streams(
            np.array([5, 1, 2, 3, 4, 6, 0]), 2, CPU
        )  # the last of the 7 tokens fills no row and is left out
        whole = streams.chunk(slice(None), slice(None))
        assert whole.labels.tolist() == [[5, 3], [1, 4], [2, 6]]
        assert whole.inputs.tolist() == [[0, 2], [5, 3], [1, 4]]  # the first word follows a sentence end
        assert len(streams) == 3

    @given(st.integers(2, 60), st.integers(1, 20))
    def test_the_text_stands_in_the_columns(self, tokens, batch):
        ids = np.arange(tokens)
        if tokens // batch < 2:
            with pytest.raises(UsageError, match=f"{tokens} tokens do not fill {batch} streams; lower train.batch"):
                Streams(ids, batch, CPU)
            return
        streams = Streams(ids, batch, CPU)
        kept = len(streams) * batch
        assert tokens - kept < batch
        whole = streams.chunk(slice(None), slice(None))
        assert whole.labels.t().flatten().tolist() == list(range(kept))
        assert whole.inputs.t().flatten().tolist() == [tokens - 1, *range(kept - 1)]

    def test_rotated_streams_wrap_around(self):
        streams = Streams(np.array([5, 1, 2, 3, 4, 6, 0]), 2, CPU)
        streams.rotate(torch.tensor([2, 1]))
        whole = streams.chunk(slice(None), slice(None))
        assert whole.labels.tolist() == [[2, 4], [5, 6], [1, 3]]
        assert whole.inputs.tolist() == [[1, 3], [0, 4], [5, 2]]  # each label still follows its own input
        assert whole.positions.tolist() == [[2, 4], [0, 5], [1, 3]]


class TestChunks:
    def draw(self, number: int, seed: int = 1, **options) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return [chunk_length(TrainConfig(**options), generator) for _ in range(number)]

    def test_lengths_are_the_references(self):
        lengths = np.array(self.draw(4000))
        halved = lengths < 52.5
        assert halved.mean() == pytest.approx(0.05, abs=0.012)
        # int() cuts off half a token on average.
        assert lengths[~halved].mean() == pytest.approx(69.5, abs=0.4)
        assert lengths[halved].mean() == pytest.approx(34.5, abs=1.5)
        assert lengths[~halved].std() == pytest.approx(5, abs=0.3)

    def test_lengths_keep_their_bounds(self):
        assert set(self.draw(300, bptt=70, bptt_deviation=1000)) > {5, 110}
        assert min(self.draw(300, bptt=70, bptt_deviation=1000)) == 5
        assert max(self.draw(300, bptt=70, bptt_deviation=1000)) == 110
        assert min(self.draw(300, bptt=6)) == 5

    def test_lengths_can_be_fixed(self):
        assert self.draw(3, bptt=3, bptt_deviation=0, bptt_half=0) == [3, 3, 3]

    def test_a_seed_gives_the_same_lengths(self):
        assert self.draw(50) == self.draw(50) != self.draw(50, seed=2)

    @pytest.mark.parametrize(
        ("batch", "small", "groups"),
        [(5, 0, [(0, 5)]), (5, 2, [(0, 2), (2, 4), (4, 5)]), (4, 4, [(0, 4)]), (1, 1, [(0, 1)])],
    )
    def test_groups_of_streams(self, batch, small, groups):
        assert [(group.start, group.stop) for group in column_groups(slice(0, batch), small)] == groups


class TestOptimizer:
    @pytest.mark.parametrize(("done", "rate"), [(0, 2.0), (0.5, 1.01), (1.0, 0.02)])
    def test_cosine(self, done, rate):
        assert learning_rate(TrainConfig(lr=2.0, schedule="cosine"), done) == pytest.approx(rate)

    def test_constant(self):
        assert learning_rate(TrainConfig(lr=2.0), 0.7) == 2.0

    @pytest.mark.parametrize(
        ("costs", "nonmono", "starts"),
        [
            ([5, 4, 3, 3.5], 1, False),  # above the best, but not above min(5, 4)
            ([5, 4, 3, 4.5], 1, True),
            ([5, 3, 4, 3.5], 1, True),  # above the 3 of two epochs before
            ([3, 4], 1, False),  # too early to tell
            ([3, 4, 4], 1, True),
            ([3, 3, 3], 1, False),
            ([3, 9, 9, 9, 9, 9], 5, False),
            ([3, 9, 9, 9, 9, 9, 9], 5, True),
        ],
    )
    def test_the_trigger_of_averaging(self, costs, nonmono, starts):
        assert nonmonotone(costs, nonmono) is starts
        assert averaging_starts(TrainConfig(nonmono=nonmono), len(costs), costs) is starts

    def test_the_mean_is_asgds(self):
        torch.manual_seed(1)
        ours, theirs = (torch.nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
        sgd = torch.optim.SGD([ours], lr=0.5, weight_decay=0.1)
        asgd = torch.optim.ASGD([theirs], lr=0.5, weight_decay=0.1, t0=0, lambd=0)
        mean = ParameterMean([ours])
        seen = []
        for step in range(6):
            gradient = torch.randn(5, dtype=torch.float64)
            ours.grad = gradient.clone()
            theirs.grad = gradient.clone()
            sgd.step()
            asgd.step()
            seen.append(ours.detach().clone())
            if step:  # ASGD leaves out the first step
                mean.update()
        torch.testing.assert_close(mean.means[0], asgd.state[theirs]["ax"])
        torch.testing.assert_close(mean.means[0], torch.stack(seen[1:]).mean(0))

    def test_swapping_twice_changes_nothing(self):
        weight = torch.nn.Parameter(torch.zeros(3))
        mean = ParameterMean([weight])
        with torch.no_grad():
            weight.fill_(4.0)
        mean.update()
        with torch.no_grad():
            weight.fill_(2.0)
        mean.update()
        mean.swap()
        assert (weight.tolist(), mean.means[0].tolist()) == ([3.0] * 3, [2.0] * 3)
        mean.swap()
        assert (weight.tolist(), mean.means[0].tolist()) == ([2.0] * 3, [3.0] * 3)


class TestStreamCost:
    def test_every_token_is_predicted_once_from_all_before_it(self):
        model = network().double().eval()
        ids = random_ids(30)
        state = model.initial_state(1)
        cost = 0.0
        left = 0
        for label in ids:
            output = model(torch.tensor([[left]]), state)
            cost -= output.log_probs[0, 0, label].item()
            state = output.state
            left = int(label)
        assert stream_cost(model, ids, CPU) == pytest.approx(cost, rel=1e-12)

    @pytest.mark.parametrize("chunk", [1, 7, 30, 100])
    def test_chunks_do_not_matter(self, chunk):
        model = network().double()
        ids = random_ids(30)
        assert stream_cost(model, ids, CPU, chunk) == pytest.approx(stream_cost(model, ids, CPU, 13), rel=1e-12)

    def test_dropout_is_off_for_the_while(self):
        model = network(dropout_output=0.5)
        ids = random_ids(30)
        assert model.training
        assert stream_cost(model, ids, CPU) == stream_cost(model, ids, CPU)
        assert model.training

    def test_a_uniform_model(self):
        model = network()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert stream_cost(model, random_ids(30), CPU) == pytest.approx(30 * math.log(SIZE))
        assert perplexity(stream_cost(model, random_ids(30), CPU) / 30) == pytest.approx(SIZE)

    @pytest.mark.parametrize(
        ("cost", "expected"), [(0.0, 1.0), (math.log(58.1), pytest.approx(58.1)), (710.0, math.inf)]
    )
    def test_perplexity(self, cost, expected):
        assert perplexity(cost) == expected


class TestTextCost:
    WORDS = Vocabulary.from_counts({"a": 6, "b": 5, "c": 4, "d": 3, "e": 2}, size=5)
    SENTENCES = [["a", "b"], ["c", "e"], ["d"]]  # d and e are outside the vocabulary

    def test_a_running_text(self):
        model = network()
        text = TokenStream.encode(self.SENTENCES, self.WORDS)
        assert text.class_cost > 0
        cost = evaluate_text(model, text, CPU)
        assert cost.tokens == len(text) == 8
        assert cost.total == stream_cost(model, text.ids, CPU) + text.class_cost
        assert cost.ppl == pytest.approx(math.exp(cost.total / 8))

    @pytest.mark.parametrize("at_once", [1, 2, 1000])
    def test_sentences_by_themselves(self, at_once, monkeypatch):
        monkeypatch.setattr("asr_rescore.lm.text_cost.SENTENCES_AT_ONCE", at_once)
        scorer = NeuralScorer(network(), self.WORDS, CPU)
        cost = evaluate_sentences(scorer, iter(self.SENTENCES))
        assert cost.tokens == 8
        assert cost.total == pytest.approx(scorer.costs(self.SENTENCES).sum(), rel=1e-6)
        alone = [evaluate_text(network(), TokenStream.encode([words], self.WORDS), CPU) for words in self.SENTENCES]
        assert cost.total == pytest.approx(sum(part.total for part in alone), rel=1e-5)


def chunk_of(inputs: torch.Tensor) -> Chunk:
    return Chunk(inputs, torch.zeros_like(inputs), torch.zeros_like(inputs))


class TestOnlineTeacher:
    @pytest.mark.parametrize("members", [1, 2])
    def test_it_reads_on_from_chunk_to_chunk(self, members):
        parts = [network(seed, dropout_output=0.5) for seed in range(members)]
        model = parts[0] if members == 1 else Ensemble(parts)
        ids = torch.from_numpy(random_ids(40)).view(10, 4)
        teacher = OnlineTeacher(model)
        whole = model(ids, model.initial_state(4)).log_probs
        for _ in range(2):  # each epoch starts again
            teacher.start([3, 1])
            chunks = [(slice(0, 4), slice(0, 3), 0), (slice(0, 4), slice(3, 4), 1)]
            chunks += [(slice(4, 10), slice(0, 3), 0), (slice(4, 10), slice(3, 4), 1)]
            for time, columns, group in chunks:
                given = teacher.soft_labels(chunk_of(ids[time, columns]), group)
                expected = whole[time, columns].flatten(0, 1)
                torch.testing.assert_close(given.weights, expected.exp(), rtol=1e-5, atol=1e-6)
                torch.testing.assert_close(given.label, expected[:, 0], rtol=1e-5, atol=1e-6)
                assert not given.weights.requires_grad and not given.label.requires_grad

    def test_its_state_comes_back(self):
        ids = torch.from_numpy(random_ids(40)).view(10, 4)
        teacher = OnlineTeacher(network())
        other = OnlineTeacher(network())
        teacher.start([4])
        teacher.soft_labels(chunk_of(ids[:5]), 0)
        other.start([4])
        other.restore(teacher.state())
        first, second = (reader.soft_labels(chunk_of(ids[5:]), 0) for reader in (teacher, other))
        assert torch.equal(first.weights, second.weights)


class TestLog:
    def test_a_run_that_goes_on_logs_nothing_twice(self, tmp_path):
        log = TrainingLog(tmp_path)
        log.cut(0)
        for step in (3, 6, 7):
            log.append({"step": step})
        with log.path.open("a") as stream:
            stream.write('{"step": 1')  # the process was killed while it wrote
        log.cut(6)
        log.append({"step": 7, "again": True})
        expected = [{"step": 3}, {"step": 6}, {"step": 7, "again": True}]
        assert [json.loads(line) for line in log.path.read_text().splitlines()] == expected

    def test_a_last_line_cut_short_goes(self, tmp_path):
        log = TrainingLog(tmp_path)
        log.path.write_text('{"step": 3}\n{"step": 4')
        log.cut(100)
        assert log.path.read_text() == '{"step": 3}\n'

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
    def test_a_full_disk_is_an_error_that_names_the_log(self, tmp_path):
        log = TrainingLog(tmp_path)
        log.path.symlink_to("/dev/full")
        with pytest.raises(OSError, match=f"No space left on device: '{log.path}'"):
            log.append({"step": 3})

    def test_a_new_run_starts_a_new_log(self, tmp_path):
        log = TrainingLog(tmp_path)
        log.append({"step": 3})
        log.cut(0)
        assert log.path.read_text() == ""


class TestInterrupt:
    @in_the_foreground()
    def test_the_first_is_noted_and_the_second_acts(self):
        with Interrupt() as interrupt:
            assert not interrupt.wanted
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.wanted
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_somebody_elses_handler_stays(self):
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
        try:
            with Interrupt() as interrupt:
                os.kill(os.getpid(), signal.SIGINT)
                assert not interrupt.wanted
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, previous)

    def test_in_a_thread_it_does_nothing(self):
        seen = []

        def enter():
            with Interrupt() as interrupt:
                seen.append(interrupt.wanted)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert seen == [False]
