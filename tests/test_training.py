"""The training loop: what it computes, what it leaves behind, and how it goes on after a stop."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr_rescore import models, objectives
from asr_rescore.checkpoint import load_model, load_training_state
from asr_rescore.config import Config, ModelConfig, ObjectiveConfig, TrainConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.models import Ensemble, LanguageModel
from asr_rescore.training import OnlineTeacher, TrainingRun, loop, stream_cost, train
from asr_rescore.vocab import Vocabulary

CPU = torch.device("cpu")
VOCABULARY = Vocabulary.from_counts({"a": 6, "b": 5, "c": 4, "d": 3, "e": 2})
SIZE = len(VOCABULARY)
PLAIN = ModelConfig(embedding=5, hidden=(8, 6), experts=2, embedding_init=0.5)
DROPPED = replace(
    PLAIN,
    dropout_rows=0.1,
    dropout_input=0.1,
    dropout_hidden=0.1,
    dropout_output=0.1,
    dropout_latent=0.1,
    dropconnect=0.2,
)
FIXED_CHUNKS = {"bptt_half": 0.0, "bptt_deviation": 0.0}


def text(sentences: int, seed: int = 1) -> TokenStream:
    """Sentences that go up or down the alphabet, so that every word but the first can be foretold."""
    draw = np.random.default_rng(seed)
    words = list("abcde")
    made = []
    for _ in range(sentences):
        order = words if draw.random() < 0.5 else words[::-1]
        made.append(order[draw.integers(0, 3) :])
    return TokenStream.encode(made, VOCABULARY)


TRAIN, VALID = text(60), text(8, seed=2)


def make_run(directory: Path, model: ModelConfig = PLAIN, seed: int = 3, kind: str = "ce", **options) -> TrainingRun:
    train_options = TrainConfig(**{"lr": 1.0, "batch": 4, "bptt": 9, "epochs": 3, "weight_decay": 0.0} | options)
    config = Config(model, ObjectiveConfig(kind), train_options)
    return TrainingRun(config, VOCABULARY, TRAIN, VALID, seed, directory)


def network(run: TrainingRun) -> LanguageModel:
    torch.manual_seed(run.seed)
    return models.build(run.config.model, SIZE)


def make_teacher() -> OnlineTeacher:
    torch.manual_seed(7)
    return OnlineTeacher(Ensemble([models.build(PLAIN, SIZE) for _ in range(2)]))


def go(run: TrainingRun) -> float:
    teacher = make_teacher() if run.config.objective.needs_teacher else None
    return train(run, network(run), CPU, teacher)


def log_of(run: TrainingRun) -> list[dict]:
    lines = [json.loads(line) for line in (run.directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def state_of(run: TrainingRun) -> tuple[dict[str, torch.Tensor], dict]:
    return load_training_state(run.directory / loop.STATE_FILE)


@pytest.mark.parametrize(
    ("options", "bound"),
    [({"lr": 5.0}, 3.5), ({"optimizer": "adamw", "schedule": "cosine", "lr": 0.05}, 2.0)],
    ids=["sgd", "adamw"],
)
def test_it_learns(tmp_path, options, bound):
    """The words alone have perplexity 6; the text's own is 1.43: only a sentence's start and direction are chance."""
    run = make_run(tmp_path / "lm", epochs=25, clip=0.25, **options)
    ppl = go(run)
    assert 1.43 < ppl < bound
    log = log_of(run)
    assert [line["epoch"] for line in log] == list(range(1, 26))
    assert log[0]["valid_ppl"] > 3
    assert min(line["valid_ppl"] for line in log) == log[-1]["best_valid_ppl"] == ppl
    assert all(math.isfinite(line["train_loss"]) for line in log)


def test_the_best_model_is_what_is_left(tmp_path):
    # A rate so high that later epochs are worse.
    run = make_run(tmp_path / "lm", epochs=6, optimizer="adamw", lr=0.3)
    ppl = go(run)
    loaded = load_model(run.directory)
    costs = [line["valid_ppl"] for line in log_of(run)]
    assert ppl == min(costs) < costs[-1]
    assert math.exp(stream_cost(loaded.model, VALID.ids, CPU) / len(VALID)) == pytest.approx(ppl, rel=1e-9)
    assert loaded.provenance["valid_ppl"] == ppl
    assert loaded.provenance["epoch"] == 1 + costs.index(ppl)
    assert loaded.provenance["seed"] == 3
    assert loaded.provenance["train"] == TRAIN.hash
    assert loaded.vocabulary == VOCABULARY


def test_words_outside_the_vocabulary_count_in_the_valid_perplexity(tmp_path):
    run = make_run(tmp_path / "a", epochs=1)
    dearer = replace(run, valid=replace(VALID, member_cost=10.0), directory=tmp_path / "b")
    assert go(dearer) == pytest.approx(go(run) * math.exp(10.0 / len(VALID)))


def test_one_step_by_hand(tmp_path):
    """Loss, AR, TAR, clipping, weight decay and the rate of a chunk of another length than bptt."""
    time = len(TRAIN) // 4
    options = {"bptt": time + 5, "epochs": 1, "weight_decay": 0.01, "activation_reg": 2.0, "temporal_reg": 1.0}
    run = make_run(tmp_path / "lm", clip=0.1, lr=2.0, **FIXED_CHUNKS, **options)
    model, expected = network(run), network(run)
    train(run, model, CPU)

    labels = torch.from_numpy(TRAIN.ids[: 4 * time]).view(4, time).t()
    inputs = torch.from_numpy(np.roll(TRAIN.ids, 1)[: 4 * time]).view(4, time).t()
    output = expected(inputs, expected.initial_state(4))
    loss = -output.log_probs.gather(-1, labels.unsqueeze(-1)).mean()
    train_loss = loss.item()
    loss = loss + 2 * (output.raw**2).mean() + ((output.raw[1:] - output.raw[:-1]) ** 2).mean()
    gradients = torch.autograd.grad(loss, list(expected.parameters()))
    norm = math.sqrt(sum((gradient**2).sum().item() for gradient in gradients))
    assert norm > 0.1
    rate = 2.0 * time / (time + 5)
    for ours, weight, gradient in zip(model.parameters(), expected.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, weight - rate * (gradient * 0.1 / norm + 0.01 * weight))
    assert log_of(run)[0]["train_loss"] == pytest.approx(train_loss)  # without the regularizers


@pytest.mark.parametrize("small", [1, 3])
def test_small_batches_add_up_to_the_whole(tmp_path, small):
    options = {"activation_reg": 2.0, "temporal_reg": 1.0, "epochs": 2, "batch": 4}
    whole, parts = make_run(tmp_path / "a", **options), make_run(tmp_path / "b", small_batch=small, **options)
    one, other = network(whole), network(parts)
    train(whole, one, CPU)
    train(parts, other, CPU)
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-5)
    assert log_of(parts)[-1]["train_loss"] == pytest.approx(log_of(whole)[-1]["train_loss"], rel=1e-4)


@pytest.mark.parametrize("small", [0, 3])
def test_a_student_that_is_its_teacher_stays_so(tmp_path, small):
    """Teacher and student read the same words with the same past, or the gradient of KL would not vanish."""
    run = make_run(tmp_path / "lm", kind="kl", epochs=2, lr=5.0, small_batch=small)
    student, before = network(run), network(run).state_dict()
    train(run, student, CPU, OnlineTeacher(network(run)))
    torch.testing.assert_close(student.state_dict(), before, rtol=0, atol=1e-4)


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


def test_patience(tmp_path, monkeypatch):
    costs = iter([2.0, 1.5, 1.7, 1.6, 1.4, 1.4, 1.5, 1.45, 1.3])
    monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device: next(costs) * len(VALID))
    run = make_run(tmp_path / "lm", epochs=50, patience=3)
    assert go(run) == pytest.approx(math.exp(1.4))
    assert len(log_of(run)) == 8  # three epochs after the sixth, which was as good as the fifth, or fifth itself


class TestAveraging:
    def test_the_mean_since_the_trigger_is_validated_and_saved(self, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "averaging_starts", lambda costs, nonmono: len(costs) == 2)
        run = make_run(tmp_path / "lm", epochs=4, lr=0.5)
        model, seen = network(run), []
        step = torch.optim.SGD.step

        def spy(self, *args, **kwargs):
            step(self, *args, **kwargs)
            seen.append([parameter.detach().clone() for parameter in model.parameters()])

        monkeypatch.setattr(torch.optim.SGD, "step", spy)
        ppl = train(run, model, CPU)
        log = log_of(run)
        assert [line["averaging"] for line in log] == [False, True, True, True]
        best = [line["valid_ppl"] for line in log].index(ppl)
        assert best >= 2
        averaged = seen[log[1]["step"] : log[best]["step"]]
        loaded = load_model(run.directory).model
        for index, parameter in enumerate(loaded.parameters()):
            mean = torch.stack([weights[index] for weights in averaged]).mean(0)
            torch.testing.assert_close(parameter, mean, rtol=1e-5, atol=1e-6)
        assert all(map(torch.equal, model.parameters(), seen[-1]))  # SGD itself goes on from its own weights

    @pytest.mark.parametrize(("optimizer", "starts"), [("sgd", True), ("adamw", False)])
    def test_the_trigger_is_sgds(self, tmp_path, monkeypatch, optimizer, starts):
        costs = iter([1.0, 2.0, 2.0, 2.0])
        monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device: next(costs) * len(VALID))
        run = make_run(tmp_path / "lm", epochs=4, nonmono=1, optimizer=optimizer, lr=0.01)
        go(run)
        assert [line["averaging"] for line in log_of(run)] == [False, False, starts, starts]


class Killed(BaseException):
    pass


@pytest.fixture
def kill_after(monkeypatch) -> Iterator:
    """End the process, so to speak, in the middle of the given step."""
    step = loop._Trainer.step

    def arm(steps: int) -> None:
        def count(self, length):
            nonlocal steps
            if steps == 0:
                next(iter(self.parameters)).data.fill_(float("nan"))  # nothing of it may be seen again
                raise Killed
            steps -= 1
            return step(self, length)

        monkeypatch.setattr(loop._Trainer, "step", count)

    yield arm
    monkeypatch.setattr(loop._Trainer, "step", step)


PHASES = {
    "sgd": {"kind": "ce"},
    "averaging": {"kind": "ce", "nonmono": 1, "lr": 40.0, "clip": 2.0, "weight_decay": 1e-4},
    "adamw": {"kind": "trust", "optimizer": "adamw", "schedule": "cosine", "lr": 0.02, "small_batch": 3},
}


class TestResume:
    @pytest.mark.parametrize("save_every", [600.0, -1.0], ids=["by epoch", "within an epoch"])
    @pytest.mark.parametrize("phase", PHASES)
    def test_a_killed_run_ends_like_one_that_went_through(self, tmp_path, monkeypatch, kill_after, phase, save_every):
        monkeypatch.setattr(loop, "SAVE_EVERY", save_every)
        straight = make_run(tmp_path / "straight", DROPPED, epochs=6, **PHASES[phase])
        killed = replace(straight, directory=tmp_path / "killed")
        ppl = go(straight)
        if phase == "averaging":
            assert [line["averaging"] for line in log_of(straight)].count(True) > 12 * (save_every < 0)
            assert log_of(straight)[-1]["averaging"]
        steps = log_of(straight)[-1]["step"]
        behind = 0
        for stop in (0, steps // 5, steps // 4, steps // 3):
            kill_after(stop)
            with pytest.raises(Killed):
                go(killed)
            progress = state_of(killed)[1]["progress"]
            assert progress["steps"] == behind + stop if save_every < 0 else progress["position"] == 0
            behind = progress["steps"]
        kill_after(-1)  # no more
        torch.manual_seed(12345)  # whatever else was drawn before
        assert go(killed) == ppl
        for name in ("config.yaml", "vocab.txt", "unk_probs.txt", "model.safetensors"):
            assert (killed.directory / name).read_bytes() == (straight.directory / name).read_bytes(), name
        ours, theirs = state_of(killed)[0], state_of(straight)[0]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert log_of(killed) == log_of(straight)

    def test_a_finished_run_is_left_alone(self, tmp_path, monkeypatch):
        run = make_run(tmp_path / "lm")
        ppl = go(run)
        before = {path: path.stat().st_mtime_ns for path in run.directory.glob("*.safetensors")}
        monkeypatch.setattr(loop._Trainer, "step", None)
        assert go(run) == ppl
        assert {path: path.stat().st_mtime_ns for path in before} == before

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"seed": 4}, "seed"),
            ({"train": text(61)}, "train"),
            ({"valid": text(9)}, "valid"),
            ({"facts": {"teachers": ["x"]}}, "teachers"),
            ({"config": make_run(Path(), lr=2.0).config}, "config"),
        ],
    )
    def test_another_run_is_refused(self, tmp_path, change, what):
        run = make_run(tmp_path / "lm", epochs=1)
        go(run)
        kept = (run.directory / "model.safetensors").read_bytes()
        other = replace(run, **change)
        with pytest.raises(UsageError, match=f"lm holds a run of another {what}; remove it or name another directory"):
            go(other)
        assert (run.directory / "model.safetensors").read_bytes() == kept

    def test_a_model_without_its_training_is_not_written_over(self, tmp_path):
        run = make_run(tmp_path / "lm", epochs=1)
        go(run)
        (run.directory / loop.STATE_FILE).unlink()
        with pytest.raises(UsageError, match="lm holds a model but not the state of its training"):
            go(run)

    def test_ctrl_c_saves_the_state(self, tmp_path, monkeypatch):
        straight = make_run(tmp_path / "straight")
        stopped = replace(straight, directory=tmp_path / "stopped")
        go(straight)
        step, taken = loop._Trainer.step, []

        def interrupted(self, length):
            taken.append(length)
            if len(taken) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return step(self, length)

        monkeypatch.setattr(loop._Trainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            go(stopped)
        assert state_of(stopped)[1]["progress"]["steps"] == 5
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        go(stopped)
        assert torch.equal(state_of(stopped)[0]["model.embedding"], state_of(straight)[0]["model.embedding"])
        assert log_of(stopped) == log_of(straight)


class TestNoNumber:
    def test_a_loss_that_is_no_number_is_named_with_its_step(self, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
        run = make_run(tmp_path / "lm", epochs=4)
        steps = []
        build = objectives.build

        def broken(config):
            def loss(student, teacher, labels):
                steps.append(None)
                return build(config)(student, teacher, labels) * (math.nan if len(steps) == 13 else 1)

            return loss

        monkeypatch.setattr(objectives, "build", broken)
        with pytest.raises(RescoreError, match=r"epoch 2, step 13: the loss is nan; lower train.lr"):
            go(run)
        tensors, saved = state_of(run)
        assert saved["progress"]["steps"] == 12
        assert all(tensor.isfinite().all() for name, tensor in tensors.items() if name.startswith("model."))
        assert load_model(run.directory).provenance["epoch"] == 1

    @pytest.mark.parametrize("clip", [0.0, 0.25])
    def test_a_gradient_that_is_no_number_does_not_reach_the_weights(self, tmp_path, monkeypatch, clip):
        monkeypatch.setattr(objectives, "build", lambda config: lambda student, *_: (0 * student).sum(-1).sqrt())
        run = make_run(tmp_path / "lm", clip=clip)
        model = network(run)
        with pytest.raises(RescoreError, match="epoch 1, step 1: the gradient's norm is nan"):
            train(run, model, CPU)
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    def test_a_valid_loss_that_is_no_number(self, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "stream_cost", lambda *_: math.inf)
        with pytest.raises(RescoreError, match="the valid loss is inf"):
            go(make_run(tmp_path / "lm"))

    def test_a_rate_far_too_high(self, tmp_path):
        with pytest.raises(RescoreError, match=r"step \d+: the .* is .*; lower train.lr or train.clip"):
            go(make_run(tmp_path / "lm", lr=1e38, clip=0.0))
