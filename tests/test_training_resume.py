"""A run that is stopped, at any point, and continued ends like a run that is not stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr_rescore import models
from asr_rescore.checkpoint import save_training_state
from asr_rescore.errors import RescoreError, Terminated, UsageError
from asr_rescore.locks import locked
from asr_rescore.training import TrainingRun, loop, state
from training_runs import DROPPED, go, in_the_foreground, log_of, make_run, state_of, text

pytestmark = pytest.mark.slow  # whole trainings


class Killed(BaseException):
    pass


@pytest.fixture
def kill_after(monkeypatch) -> Iterator:
    """Simulate a kill in the middle of the given step."""
    step = loop.Trainer.step

    def arm(steps: int) -> None:
        def count(self, length):
            nonlocal steps
            if steps == 0:
                next(iter(self.parameters)).data.fill_(float("nan"))  # must not appear again after resuming
                raise Killed
            steps -= 1
            return step(self, length)

        monkeypatch.setattr(loop.Trainer, "step", count)

    yield arm
    monkeypatch.setattr(loop.Trainer, "step", step)


PHASES = {
    "shuffled": {"kind": "trust", "shuffle_trust": True, "small_batch": 3},
    "sgd": {"kind": "ce"},
    "averaging": {"kind": "ce", "nonmono": 1, "lr": 5.0, "clip": 2.0, "weight_decay": 1e-4},
    "finetuning": {"kind": "ce", "averaging": "start", "partial_shuffle": True},
    "adamw": {"kind": "trust", "optimizer": "adamw", "schedule": "cosine", "lr": 0.02, "small_batch": 3},
}


def assert_same_end(one: TrainingRun, other: TrainingRun) -> None:
    """Models, states and logs are equal, bit for bit."""
    for name in ("config.yaml", "vocab.txt", "unk_probs.txt", "model.safetensors"):
        assert (one.directory / name).read_bytes() == (other.directory / name).read_bytes(), name
    ours = state_of(one)[0]
    theirs = state_of(other)[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert log_of(one) == log_of(other)


class TestResume:
    @pytest.mark.parametrize("save_every", [600.0, -1.0], ids=["by epoch", "within an epoch"])
    @pytest.mark.parametrize("phase", PHASES)
    def test_a_killed_run_ends_like_one_that_went_through(self, tmp_path, monkeypatch, kill_after, phase, save_every):
        monkeypatch.setattr(loop, "SAVE_EVERY", save_every)
        straight = make_run(tmp_path / "straight", DROPPED, epochs=6, **PHASES[phase])
        if phase == "averaging":
            # The norm of the weights grows, so averaging is triggered on every machine, whatever its rounding.
            monkeypatch.setattr(
                loop, "stream_cost", lambda model, *_, **__: sum((w**2).sum().item() for w in model.parameters())
            )
        killed = replace(straight, directory=tmp_path / "killed")
        ppl = go(straight)
        if phase == "averaging":
            assert [line["averaging"] for line in log_of(straight)].count(True) > 12 * (save_every < 0)
            assert log_of(straight)[-1]["averaging"]
        steps = log_of(straight)[-1]["step"]
        done = 0
        for stop in (0, steps // 5, steps // 4, steps // 3):
            kill_after(stop)
            with pytest.raises(Killed):
                go(killed)
            progress = state_of(killed)[1]["progress"]
            assert progress["steps"] == done + stop if save_every < 0 else progress["position"] == 0
            done = progress["steps"]
        kill_after(-1)  # no more
        torch.manual_seed(12345)  # whatever else was drawn before
        assert go(killed) == ppl
        assert_same_end(killed, straight)

    @pytest.mark.parametrize("saves", [0, 2])
    def test_a_kill_between_log_and_state_logs_nothing_twice(self, tmp_path, monkeypatch, saves):
        straight = make_run(tmp_path / "straight", DROPPED)
        killed = replace(straight, directory=tmp_path / "killed")
        go(straight)
        save = state.save_training_state

        def killing(*arguments):
            nonlocal saves
            if saves == 0:
                raise Killed
            saves -= 1
            save(*arguments)

        monkeypatch.setattr(state, "save_training_state", killing)
        with pytest.raises(Killed):
            go(killed)
        monkeypatch.setattr(state, "save_training_state", save)
        go(killed)
        assert log_of(killed) == log_of(straight)
        assert (killed.directory / "model.safetensors").read_bytes() == (
            straight.directory / "model.safetensors"
        ).read_bytes()

    @pytest.mark.parametrize("after", ["save_state", "save_best"])
    def test_a_kill_before_the_first_step_of_a_trained_model(self, tmp_path, monkeypatch, after):
        straight = replace(make_run(tmp_path / "straight", DROPPED, averaging="start"), trained=True)
        killed = replace(straight, directory=tmp_path / "killed")
        ppl = go(straight)
        save = getattr(loop.Trainer, after)

        def killing(self):
            save(self)
            raise Killed

        monkeypatch.setattr(loop.Trainer, after, killing)
        with pytest.raises(Killed):
            go(killed)
        monkeypatch.setattr(loop.Trainer, after, save)
        assert go(killed) == ppl
        assert_same_end(killed, straight)
        assert len(state_of(killed)[1]["progress"]["valid"]) == 1 + straight.config.train.epochs

    def test_a_finished_run_is_left_alone(self, tmp_path, monkeypatch):
        run = make_run(tmp_path / "lm")
        ppl = go(run)
        before = {path: path.stat().st_mtime_ns for path in run.directory.glob("*.safetensors")}
        monkeypatch.setattr(loop.Trainer, "step", None)
        assert go(run) == ppl
        assert {path: path.stat().st_mtime_ns for path in before} == before

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"seed": 4}, "seed"),
            ({"train": text(61)}, "train"),
            ({"valid": text(9)}, "valid"),
            ({"facts": {"teachers": ["x"]}}, "teachers"),
            ({"config": make_run(Path(), lr=2.0, epochs=1).config}, "config.train.lr"),
        ],
    )
    def test_another_run_is_refused(self, tmp_path, change, what):
        run = make_run(tmp_path / "lm", epochs=1)
        go(run)
        kept = (run.directory / "model.safetensors").read_bytes()
        other = replace(run, **change)
        with pytest.raises(
            UsageError, match=rf"lm holds another training run \(different: {what}\); remove it or name another"
        ):
            go(other)
        assert (run.directory / "model.safetensors").read_bytes() == kept

    def test_a_run_that_is_older_than_a_setting_continues(self, tmp_path):
        run = make_run(tmp_path / "lm", epochs=1)
        ppl = go(run)
        tensors, facts = state_of(run)
        del facts["run"]["config"]["train"]["small_batch"]
        facts["run"]["config"]["objective"]["label_weight"] = 0.125  # an earlier default, which kind: ce does not read
        del facts["progress"]["gradient_scale"]
        save_training_state(run.directory / state.STATE_FILE, tensors, facts)
        assert go(run) == ppl

    def test_two_runs_at_once_do_not_mix(self, tmp_path):
        run = make_run(tmp_path / "lm", epochs=1)
        with (
            locked(run.directory / loop.LOCK_FILE, "it"),
            pytest.raises(RescoreError, match="lm is being written by another process"),
        ):
            go(run)
        assert not (run.directory / "log.jsonl").exists()
        go(run)

    def test_a_model_without_its_training_is_not_written_over(self, tmp_path):
        run = make_run(tmp_path / "lm", epochs=1)
        go(run)
        (run.directory / state.STATE_FILE).unlink()
        with pytest.raises(UsageError, match="lm holds a model but not the state of its training"):
            go(run)

    @pytest.mark.parametrize(
        ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)], ids=["ctrl-c", "term"]
    )
    @in_the_foreground()
    def test_a_signal_saves_the_state(self, tmp_path, monkeypatch, number, error):
        handler = signal.getsignal(number)
        straight = make_run(tmp_path / "straight")
        stopped = replace(straight, directory=tmp_path / "stopped")
        go(straight)
        step = loop.Trainer.step
        taken = []

        def interrupted(self, length):
            taken.append(length)
            if len(taken) == 5:
                os.kill(os.getpid(), number)
            return step(self, length)

        monkeypatch.setattr(loop.Trainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt) as stop:
            go(stopped)
        assert type(stop.value) is error
        assert state_of(stopped)[1]["progress"]["steps"] == 5
        assert signal.getsignal(number) is handler
        go(stopped)
        assert torch.equal(state_of(stopped)[0]["model.embedding"], state_of(straight)[0]["model.embedding"])
        assert log_of(stopped) == log_of(straight)

    @pytest.mark.parametrize("averaging", ["nonmono", "start"])
    @pytest.mark.parametrize("validation", [1, 2])
    @in_the_foreground()
    def test_a_signal_during_validation_saves_the_state_after_the_last_step(
        self, tmp_path, monkeypatch, averaging, validation
    ):
        """With averaging, validation swaps the weights: the state must hold those that are trained."""
        trained = averaging == "start"
        straight = replace(make_run(tmp_path / "straight", DROPPED, averaging=averaging), trained=trained)
        stopped = replace(straight, directory=tmp_path / "stopped")
        read = models.AwdLstmMos.read
        stream_cost = loop.stream_cost
        validations = 0
        reads = 0

        def counted(*arguments, **options):
            nonlocal validations
            validations += 1
            return stream_cost(*arguments, chunk=5, **options)

        def interrupted(self, *arguments):
            nonlocal reads
            if not self.training and validations == validation:
                reads += 1
                if reads == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
            return read(self, *arguments)

        monkeypatch.setattr(loop, "stream_cost", counted)
        ppl = go(straight)
        validations = 0
        monkeypatch.setattr(models.AwdLstmMos, "read", interrupted)
        with pytest.raises(Terminated):
            go(stopped)
        assert reads == 2, "it waited for more than the next chunk"
        progress = state_of(stopped)[1]["progress"]
        epochs = validation - 1 - trained  # finished before
        assert (progress["epoch"], len(progress["valid"])) == (max(epochs, 0), validation - 1)
        torch.manual_seed(12345)
        assert go(stopped) == ppl
        assert_same_end(stopped, straight)

    @in_the_foreground()
    def test_a_signal_after_validation_ends_the_run_before_the_next_step(self, tmp_path, monkeypatch):
        straight = make_run(tmp_path / "straight", DROPPED)
        stopped = replace(straight, directory=tmp_path / "stopped")
        go(straight)
        log = loop.Trainer.log

        def interrupted(self, **figures):
            os.kill(os.getpid(), signal.SIGINT)
            log(self, **figures)

        monkeypatch.setattr(loop.Trainer, "log", interrupted)
        with pytest.raises(KeyboardInterrupt):
            go(stopped)
        monkeypatch.setattr(loop.Trainer, "log", log)
        progress = state_of(stopped)[1]["progress"]
        assert (progress["epoch"], progress["position"]) == (1, 0)
        go(stopped)
        assert_same_end(stopped, straight)
