"""The training loop: what it computes, what it writes and what it logs."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr_rescore import models
from asr_rescore.checkpoint import load_model
from asr_rescore.errors import UsageError
from asr_rescore.lm import stream_cost
from asr_rescore.lm.neural_scorer import NeuralScorer
from asr_rescore.models import Ensemble
from asr_rescore.training import OnlineTeacher, loop, train
from training_runs import (
    CPU,
    DROPPED,
    FIXED_CHUNKS,
    PLAIN,
    SIZE,
    TRAIN,
    UNFORESEEN,
    VALID,
    VOCABULARY,
    go,
    log_of,
    make_run,
    network,
    state_of,
)


@pytest.mark.parametrize(
    ("options", "bound"),
    [({"lr": 5.0}, 3.5), ({"optimizer": "adamw", "schedule": "cosine", "lr": 0.05}, 2.0)],
    ids=["sgd", "adamw"],
)
@pytest.mark.slow
def test_it_learns(tmp_path, options, bound):
    """A unigram model has perplexity 6, the best model 1.43: only the start and direction of a sentence are random."""
    run = make_run(tmp_path / "lm", epochs=25, clip=0.25, **options)
    ppl = go(run)
    assert 1.43 < ppl < bound
    log = log_of(run)
    assert [line["epoch"] for line in log] == list(range(1, 26))
    assert log[0]["valid_ppl"] > 3
    assert min(line["valid_ppl"] for line in log) == log[-1]["best_valid_ppl"] == ppl
    assert all(math.isfinite(line["train_loss"]) for line in log)


def test_the_best_model_is_what_is_left(tmp_path):
    run = replace(make_run(tmp_path / "lm", epochs=8, optimizer="adamw", lr=0.03), valid=UNFORESEEN)
    ppl = go(run)
    loaded = load_model(run.directory)
    costs = [line["valid_ppl"] for line in log_of(run)]
    assert ppl == min(costs) < costs[-1]
    assert math.exp(stream_cost(loaded.model, UNFORESEEN.ids, CPU) / len(UNFORESEEN)) == pytest.approx(ppl, rel=1e-9)
    assert loaded.provenance["valid_ppl"] == ppl
    assert loaded.provenance["epoch"] == 1 + costs.index(ppl)
    assert loaded.provenance["seed"] == 3
    assert loaded.provenance["train"] == TRAIN.hash
    assert loaded.vocabulary == VOCABULARY


def test_words_outside_the_vocabulary_count_in_the_valid_perplexity(tmp_path):
    run = make_run(tmp_path / "a", epochs=1)
    costly = replace(run, valid=replace(VALID, class_cost=10.0), directory=tmp_path / "b")
    assert go(costly) == pytest.approx(go(run) * math.exp(10.0 / len(VALID)))


def test_the_seed_decides_whatever_was_drawn_before(tmp_path):
    weights = []
    for name, seed, drawn in (("a", 3, 0), ("b", 3, 5), ("c", 4, 0)):
        run = make_run(tmp_path / name, DROPPED, seed=seed, epochs=1)
        torch.manual_seed(1)
        model = models.build(DROPPED, SIZE)
        torch.randn(drawn)
        train(run, model, CPU)
        weights.append(model.embedding)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("config", [PLAIN, DROPPED], ids=["plain", "dropouts"])
def test_one_step_by_hand(tmp_path, config):
    """Loss, AR of the dropped output, TAR of the raw one, clipping, weight decay, rate of a chunk shorter than bptt."""
    time = len(TRAIN) // 4
    options = {"bptt": time + 5, "epochs": 1, "weight_decay": 0.01, "activation_reg": 2.0, "temporal_reg": 1.0}
    run = make_run(tmp_path / "lm", config, clip=0.1, lr=2.0, **FIXED_CHUNKS, **options)
    model = network(run)
    expected = network(run)
    train(run, model, CPU)

    labels = torch.from_numpy(TRAIN.ids[: 4 * time]).view(4, time).t()
    inputs = torch.from_numpy(np.roll(TRAIN.ids, 1)[: 4 * time]).view(4, time).t()
    torch.manual_seed(run.seed)  # the same masks
    output = expected(inputs, expected.initial_state(4))
    loss = -output.log_probs.gather(-1, labels.unsqueeze(-1)).mean()
    train_loss = loss.item()
    loss = loss + 2 * (output.dropped**2).mean() + ((output.raw[1:] - output.raw[:-1]) ** 2).mean()
    gradients = torch.autograd.grad(loss, list(expected.parameters()))
    norm = math.sqrt(sum((gradient**2).sum().item() for gradient in gradients))
    assert norm > 0.1
    rate = 2.0 * time / (time + 5)
    for ours, weight, gradient in zip(model.parameters(), expected.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, weight - rate * (gradient * 0.1 / norm + 0.01 * weight))
    assert log_of(run)[0]["train_loss"] == pytest.approx(train_loss)  # it does not include AR and TAR


@pytest.mark.parametrize("small", [1, 3])
def test_small_batches_add_up_to_the_whole(tmp_path, small):
    options = {"activation_reg": 2.0, "temporal_reg": 1.0, "epochs": 2, "batch": 4}
    whole = make_run(tmp_path / "a", **options)
    parts = make_run(tmp_path / "b", small_batch=small, **options)
    one = network(whole)
    other = network(parts)
    train(whole, one, CPU)
    train(parts, other, CPU)
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-5)
    assert log_of(parts)[-1]["train_loss"] == pytest.approx(log_of(whole)[-1]["train_loss"], rel=1e-4)


@pytest.mark.parametrize("small", [0, 3])
def test_a_student_that_is_its_teacher_stays_so(tmp_path, small):
    """If teacher and student did not read the same words in the same context, KL would have a gradient."""
    run = make_run(tmp_path / "lm", kind="kl", epochs=2, lr=5.0, small_batch=small)
    student = network(run)
    before = network(run).state_dict()
    train(run, student, CPU, OnlineTeacher(network(run)))
    torch.testing.assert_close(student.state_dict(), before, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_student_comes_near_its_teacher(tmp_path):
    losses = {}
    for kind in ("kl", "fixed", "trust"):
        run = make_run(tmp_path / kind, kind=kind, epochs=8, lr=5.0)
        go(run)
        losses[kind] = [line["train_loss"] for line in log_of(run)]
        assert losses[kind][-1] < losses[kind][0]
    assert len({tuple(loss) for loss in losses.values()}) == 3


@pytest.mark.parametrize("kind", ["kl", "fixed", "trust"])
def test_an_objective_with_a_teacher_needs_one(tmp_path, kind):
    run = make_run(tmp_path / "lm", kind=kind)
    with pytest.raises(UsageError, match=f"{kind} needs a teacher; use distill_lm"):
        train(run, network(run), CPU)
    assert not run.directory.exists()


def test_shuffling_the_trust_changes_weights_and_no_other_draw(tmp_path):
    own, shuffled = (
        make_run(tmp_path / str(shuffle), kind="trust", shuffle_trust=shuffle, partial_shuffle=True)
        for shuffle in (False, True)
    )
    assert go(own) != go(shuffled)
    draws = [state_of(run)[0]["random.own"] for run in (own, shuffled)]
    assert torch.equal(*draws)
    assert log_of(own)[-1]["step"] == log_of(shuffled)[-1]["step"]


def test_each_epoch_is_logged_and_nothing_is_printed(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO, logger="asr_rescore.training"):
        run = make_run(tmp_path / "lm", epochs=2)
        ppl = go(run)
    lines = caplog.messages
    assert len(lines) == 2
    assert re.fullmatch(
        r"epoch 1: train loss \d\.\d{3}, valid ppl \d\.\d\d, best valid ppl .*, \d+ tokens/s, about .* left", lines[0]
    )
    assert lines[1].startswith("epoch 2: ") and f"best valid ppl {ppl:.2f}, " in lines[1]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("option", ["activation_reg", "temporal_reg"])
def test_a_regularizer_needs_recurrent_layers(tmp_path, option):
    run = make_run(tmp_path / "lm", **{option: 1.0})
    with pytest.raises(UsageError, match="activation_reg and temporal_reg need a model with recurrent layers"):
        train(run, Ensemble([network(run)]), CPU)


def test_patience(tmp_path, monkeypatch):
    costs = iter([2.0, 1.5, 1.7, 1.6, 1.4, 1.4, 1.5, 1.45, 1.3])
    monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device, **_: next(costs) * len(VALID))
    run = make_run(tmp_path / "lm", epochs=50, patience=3)
    assert go(run) == pytest.approx(math.exp(1.4))
    assert load_model(run.directory).provenance["epoch"] == 5
    assert len(log_of(run)) == 8  # three more after the fifth; the sixth is as good as the fifth, not better


class TestAveraging:
    def test_the_mean_since_the_trigger_is_validated_and_saved(self, tmp_path, monkeypatch):
        run = make_run(tmp_path / "lm", epochs=4, lr=0.5, averaging="tail", averaging_tail=0.5)
        model = network(run)
        seen = []
        step = torch.optim.SGD.step

        def spy(self, *args, **kwargs):
            step(self, *args, **kwargs)
            seen.append([parameter.detach().clone() for parameter in model.parameters()])

        monkeypatch.setattr(torch.optim.SGD, "step", spy)
        ppl = train(run, model, CPU)
        log = log_of(run)
        assert [line["averaging"] for line in log] == [False, True, True, True]
        assert state_of(run)[1]["progress"]["averaged"] == log[-1]["step"] - log[1]["step"]
        best = [line["valid_ppl"] for line in log].index(ppl)
        assert best >= 2
        averaged = seen[log[1]["step"] : log[best]["step"]]
        loaded = load_model(run.directory).model
        assert math.exp(stream_cost(loaded, VALID.ids, CPU) / len(VALID)) == pytest.approx(ppl, rel=1e-9)
        for index, parameter in enumerate(loaded.parameters()):
            mean = torch.stack([weights[index] for weights in averaged]).mean(0)
            torch.testing.assert_close(parameter, mean, rtol=1e-5, atol=1e-6)
        assert all(map(torch.equal, model.parameters(), seen[-1]))  # SGD itself continues from its own weights

    @pytest.mark.parametrize(
        ("options", "averaged"),
        [
            ({"nonmono": 1}, [False, False, True, True, True]),
            ({"nonmono": 1, "optimizer": "adamw", "lr": 0.01}, [False, False, True, True, True]),
            ({"nonmono": 9}, [False] * 5),
            ({"averaging": "none", "nonmono": 1}, [False] * 5),
            ({"averaging": "tail", "averaging_tail": 0.4}, [False, False, True, True, True]),
            ({"averaging": "tail", "averaging_tail": 1.0}, [True] * 5),
            ({"averaging": "start", "nonmono": 3}, [True] * 5),
            ({"averaging": "start", "nonmono": 1}, [True] * 3),  # the trigger ends it
        ],
    )
    def test_when_it_begins(self, tmp_path, monkeypatch, options, averaged):
        costs = iter([1.0, 2.0, 2.0, 2.0, 0.5])
        monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device, **_: next(costs) * len(VALID))
        run = make_run(tmp_path / "lm", epochs=5, **options)
        go(run)
        assert [line["averaging"] for line in log_of(run)] == averaged


class TestFinetuning:
    def test_three_steps_by_hand(self, tmp_path):
        """SGD continues from its own weights. The mean of the weights after each step is saved, without the start."""
        time = len(TRAIN) // 4
        rate = 0.5
        bptt = math.ceil(time / 3)
        run = make_run(tmp_path / "lm", epochs=1, averaging="start", lr=rate, clip=0.0, bptt=bptt, **FIXED_CHUNKS)
        run = replace(run, trained=True)
        model = network(run)
        expected = network(run)
        seen = []
        train(run, model, CPU)

        sgd = torch.optim.SGD(expected.parameters())
        labels = torch.from_numpy(TRAIN.ids[: 4 * time]).view(4, time).t()
        inputs = torch.from_numpy(np.roll(TRAIN.ids, 1)[: 4 * time]).view(4, time).t()
        state = expected.initial_state(4)
        for words, following in zip(inputs.split(bptt), labels.split(bptt), strict=True):
            output = expected(words, models.detach_state(state))
            state = output.state
            sgd.zero_grad()
            (-output.log_probs.gather(-1, following.unsqueeze(-1)).mean()).backward()
            sgd.param_groups[0]["lr"] = rate * len(words) / bptt
            sgd.step()
            seen.append([parameter.detach().clone() for parameter in expected.parameters()])
        loaded = load_model(run.directory)
        assert (len(seen), loaded.provenance["epoch"]) == (3, 1)
        for saved, last, *weights in zip(loaded.model.parameters(), model.parameters(), *seen, strict=True):
            torch.testing.assert_close(saved, torch.stack(weights).mean(0), rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(last, weights[-1], rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize(
        ("costs", "epochs"),
        [
            ([1.0, 3.0, 2.9, 2.8, 2.7], 4),  # all worse than the start, but getting better
            ([1.0, 3.0, 2.9, 3.1, 2.0], 3),
        ],
    )
    def test_the_trigger_looks_at_its_epochs(self, tmp_path, monkeypatch, costs, epochs):
        given = iter(costs)
        monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device, **_: next(given) * len(VALID))
        run = replace(make_run(tmp_path / "lm", epochs=4, averaging="start", nonmono=1), trained=True)
        go(run)
        assert log_of(run)[-1]["epoch"] == epochs

    @pytest.mark.parametrize(("costs", "best", "epoch"), [([2.0, 2.5, 2.1], 2.0, 0), ([2.0, 2.5, 1.9], 1.9, 2)])
    def test_what_it_starts_from_is_the_best_until_an_epoch_is_better(self, tmp_path, monkeypatch, costs, best, epoch):
        given = iter(costs)
        monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device, **_: next(given) * len(VALID))
        run = replace(make_run(tmp_path / "lm", epochs=2, averaging="start"), trained=True)
        model = network(run)
        start = [parameter.detach().clone() for parameter in model.parameters()]
        assert train(run, model, CPU) == pytest.approx(math.exp(best))
        loaded = load_model(run.directory)
        assert loaded.provenance["epoch"] == epoch
        assert all(map(torch.equal, loaded.model.parameters(), start)) == (epoch == 0)


def test_self_normalised_training_can_do_without_normalisers(tmp_path):
    bias = {}
    for weight in (0.0, 0.1):
        run = make_run(tmp_path / f"{weight}", epochs=8, optimizer="adamw", lr=0.02, self_normalization=weight)
        go(run)
        model = load_model(run.directory).model
        sentences = [["a", "b", "c"], ["e", "d"]]
        exact, bare = (NeuralScorer(model, VOCABULARY, "cpu", way).costs(sentences) for way in ("float32", "none"))
        bias[weight] = np.abs(exact - bare).max()
    assert 4 * bias[0.1] < bias[0.0]


def test_self_normalised_training_starts_with_normalisers_near_one(tmp_path):
    run = make_run(tmp_path / "lm", model=replace(PLAIN, embedding_init=1e-3), lr=1e-9, self_normalization=0.1)
    go(run)
    sentences = [["a", "b", "c"], ["e", "d"]]
    model = load_model(run.directory).model
    exact, bare = (NeuralScorer(model, VOCABULARY, "cpu", way).costs(sentences) for way in ("float32", "none"))
    np.testing.assert_allclose(bare, exact, atol=1e-3)
    np.testing.assert_allclose(exact, np.log(SIZE) * np.array([4, 3]), atol=0.01)


class TestPartialShuffle:
    def test_every_epoch_reads_every_token_once_from_elsewhere(self, tmp_path, monkeypatch):
        seen = []
        chunk = loop.Streams.chunk

        def spy(self, steps, columns):
            taken = chunk(self, steps, columns)
            seen.append(taken.positions)
            return taken

        monkeypatch.setattr(loop.Streams, "chunk", spy)
        run = make_run(tmp_path / "lm", epochs=2, partial_shuffle=True, **FIXED_CHUNKS)
        go(run)
        epochs = torch.cat(seen).chunk(2)
        assert len(epochs[0]) == len(epochs[1]) and not torch.equal(*epochs)
        for epoch in epochs:
            assert epoch.flatten().sort().values.tolist() == list(range(epoch.numel()))
            assert not torch.equal(epoch[0], torch.arange(4) * len(epoch))
