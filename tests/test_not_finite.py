"""Losses, gradients and perplexities that are not finite: which end a training, and which only skip a step."""

from __future__ import annotations

import logging
import math

import pytest

from asr_rescore import objectives
from asr_rescore.checkpoint import load_model
from asr_rescore.errors import RescoreError
from asr_rescore.models.lstm import GRADIENT_SCALE
from asr_rescore.training import gradient_scale, loop, train
from training_runs import CPU, VALID, go, make_run, network, state_of


class TestNotFinite:
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

    @pytest.fixture
    def overflow(self, monkeypatch):
        """Let gradients overflow in given steps, unless they are scaled by the given factor or less."""

        def arm(steps: dict[int, float]) -> None:
            backward = loop.Trainer.backward

            def overflowing(self, group, here):
                loss = backward(self, group, here)
                fits = steps.get(self.state.progress.steps + 1, math.inf)
                if self.state.model.layers[0].gradient_scale > fits:
                    self.parameters[-1].grad.fill_(math.inf)
                return loss

            monkeypatch.setattr(loop.Trainer, "backward", overflowing)

        return arm

    def test_a_step_that_overflows_in_float16_is_skipped(self, tmp_path, overflow, caplog):
        """Steps 2 and 3 overflow, with factors of 2^12 and 2^11, and the optimizer sees neither."""
        caplog.set_level(logging.INFO)
        overflow({2: 2.0**11, 3: 2.0**10})
        run = make_run(tmp_path / "lm", precision="mixed", epochs=1, optimizer="adamw", lr=0.01, weight_decay=0.1)
        train(run, network(run), CPU)
        tensors, saved = state_of(run)
        steps = saved["progress"]["steps"]
        assert saved["progress"]["gradient_scale"] == {"value": 2.0**10, "steady": steps - 3}
        assert tensors["optimizer.0.step"] == steps - 2
        assert all(tensor.isfinite().all() for name, tensor in tensors.items() if name.startswith("model."))
        said = [record.getMessage() for record in caplog.records if "overflowed" in record.getMessage()]
        assert [message.partition(":")[0] for message in said] == ["epoch 1, step 2", "epoch 1, step 3"]

    def test_a_gradient_that_no_scale_makes_finite_ends_the_run(self, tmp_path, overflow):
        overflow(dict.fromkeys(range(3, 20), 0.0))
        run = make_run(tmp_path / "lm", precision="mixed", epochs=4)
        with pytest.raises(RescoreError, match="step 15: the norm of the gradient is (inf|nan)"):  # after 2^12 … 2^1
            train(run, network(run), CPU)

    def test_the_scale_grows_again(self, monkeypatch):
        monkeypatch.setattr(gradient_scale, "STEADY_STEPS", 3)
        scale = gradient_scale.GradientScale()
        assert scale.skips(False) and scale.skips(False)
        values = []
        for _ in range(10):
            assert not scale.skips(True)
            values.append(scale.value / GRADIENT_SCALE)
        assert values == [0.25, 0.25, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1]

    def test_in_full_precision_no_step_is_skipped(self, tmp_path, overflow):
        overflow({2: 0.0})
        run = make_run(tmp_path / "lm")
        with pytest.raises(RescoreError, match="step 2: the norm of the gradient is (inf|nan)"):
            train(run, network(run), CPU)

    @pytest.mark.parametrize("clip", [0.0, 0.25])
    def test_a_gradient_that_is_no_number_does_not_reach_the_weights(self, tmp_path, monkeypatch, clip):
        monkeypatch.setattr(objectives, "build", lambda config: lambda student, *_: (0 * student).sum(-1).sqrt())
        run = make_run(tmp_path / "lm", clip=clip)
        model = network(run)
        with pytest.raises(RescoreError, match="epoch 1, step 1: the norm of the gradient is nan"):
            train(run, model, CPU)
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    @pytest.mark.parametrize(
        ("nats", "shown"),
        [(math.nan, "nan"), (math.inf, "inf"), (800.0, "inf")],  # e⁸⁰⁰ exceeds the largest float
    )
    def test_a_valid_perplexity_that_is_no_number(self, tmp_path, monkeypatch, nats, shown):
        monkeypatch.setattr(loop, "stream_cost", lambda model, ids, device, **_: nats * len(VALID))
        with pytest.raises(RescoreError, match=f"epoch 1, step .* valid perplexity is {shown}; lower train.lr"):
            go(make_run(tmp_path / "lm"))

    def test_a_rate_far_too_high(self, tmp_path):
        with pytest.raises(RescoreError, match=r"step \d+: the .* is .*; lower train.lr or train.clip"):
            go(make_run(tmp_path / "lm", lr=1e38, clip=0.0))
