"""Dynamic evaluation by hand, against a plain float64 copy of its definition, and what it must leave alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_runs import CPU, DROPPED, PLAIN, SIZE, TRAIN, VALID, VOCABULARY

from asr_rescore import models
from asr_rescore.checkpoint import provenance, save_model
from asr_rescore.cli.main import main
from asr_rescore.config import ModelConfig
from asr_rescore.errors import UsageError
from asr_rescore.models import Ensemble, LanguageModel, Output
from asr_rescore.training import DynamicOptions, dynamic_cost, gradient_statistics, stream_cost


class TwoWeights(LanguageModel):
    """Two words; ln P is the log softmax of (a, b), whatever was read. ∂(−ln P(0))/∂a = P(0) − 1, /∂b = P(1)."""

    def __init__(self, a: float, b: float):
        super().__init__()
        self.config, self.vocabulary_size, self.experts = ModelConfig(), 2, 1
        self.a = torch.nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.b = torch.nn.Parameter(torch.tensor(b, dtype=torch.float64))

    def initial_state(self, batch, device=None):
        return ()

    def forward(self, ids, state):
        logits = torch.stack([self.a, self.b]).log_softmax(0)
        return Output(logits.expand(*ids.shape, 2), ())


def network(config: ModelConfig = PLAIN, seed: int = 1) -> LanguageModel:
    torch.manual_seed(seed)
    return models.build(config, SIZE)


class TestByHand:
    def test_statistics(self):
        """P = (1/2, 1/2): a chunk of 0, 0 has gradients (−1/2, 1/2), one of 0, 1 none, one of 1, 1 (1/2, −1/2)."""
        ids = np.array([0, 0, 0, 1, 1, 1])
        options = DynamicOptions(bptt=2, statistics_batch=1)
        expected = math.sqrt((0.25 + 0 + 0.25) / 3)
        for part in gradient_statistics(TwoWeights(0.0, 0.0), ids, CPU, options):
            assert part.item() == pytest.approx(expected)

    def test_two_updates(self):
        """M = (1, 3), mean 2, λ = 1/2: a is pulled back by λ·1/2 = 1/4, b by λ·min(3/2, 2) = 3/4."""
        options = DynamicOptions(lr=0.1, epsilon=1.0, decay=0.5, bptt=1)
        model, ids = TwoWeights(0.0, 0.0), np.array([0, 0, 1])
        statistics = [torch.tensor(1.0).double(), torch.tensor(3.0).double()]
        a1, b1 = -0.1 * -0.5 / 2, -0.1 * 0.5 / 4  # nothing to come back from yet
        p1 = 1 / (1 + math.exp(b1 - a1))
        a2 = a1 + 0.25 * (0 - a1) - 0.1 * (p1 - 1) / 2
        b2 = b1 + 0.75 * (0 - b1) - 0.1 * (1 - p1) / 4
        p2 = 1 / (1 + math.exp(b2 - a2))
        expected = -math.log(0.5) - math.log(p1) - math.log(1 - p2)
        assert dynamic_cost(model, ids, CPU, statistics, options) == pytest.approx(expected, rel=1e-12)

    def test_the_pull_is_at_most_all_the_way(self):
        """M = (0, 1, …): with λ = 1 and M / mean = 2 the way back is gone but once."""
        options = DynamicOptions(lr=0.1, epsilon=1.0, decay=1.0, bptt=1)
        statistics = [torch.tensor(0.0).double(), torch.tensor(1.0).double()]
        a1, b1 = 0.1 * 0.5 / 1, -0.1 * 0.5 / 2
        p1 = 1 / (1 + math.exp(b1 - a1))
        a2, b2 = a1 + 0.1 * (1 - p1), 0 - 0.1 * (1 - p1) / 2
        expected = -math.log(0.5) - math.log(p1) - math.log(1 / (1 + math.exp(b2 - a2)))
        assert dynamic_cost(TwoWeights(0.0, 0.0), np.array([0, 0, 0]), CPU, statistics, options) == pytest.approx(
            expected, rel=1e-12
        )


def plainly(model: LanguageModel, ids: np.ndarray, statistics: list[torch.Tensor], options: DynamicOptions) -> float:
    """The definition, one token's cost at a time."""
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    mean = torch.cat([part.flatten() for part in statistics]).mean()
    state, cost, before = model.initial_state(1), 0.0, ids[-1]
    for begin in range(0, len(ids), options.bptt):
        loss, some = 0.0, ids[begin : begin + options.bptt]
        for label in some:
            output = model(torch.tensor([[before]]), state)
            state, before = output.state, label
            loss = loss - output.log_probs[0, 0, label]
        cost += loss.item()
        model.zero_grad()
        (loss / len(some)).backward()
        state = tuple(tuple(part.detach() for part in layer) for layer in state)
        with torch.no_grad():
            for parameter, start, part in zip(model.parameters(), trained, statistics, strict=True):
                pull = options.decay * torch.clamp(part / mean, max=1 / options.decay)
                parameter += pull * (start - parameter) - options.lr * parameter.grad / (part + options.epsilon)
    return cost


OPTIONS = DynamicOptions(statistics_batch=7)


@pytest.mark.parametrize("config", [PLAIN, DROPPED], ids=["plain", "dropouts"])
def test_is_the_definition(config):
    """Trained with dropouts or without: in dynamic evaluation none is left."""
    model = network(config).double()
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    actual = dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)
    assert actual == pytest.approx(plainly(network(PLAIN).double(), VALID.ids, statistics, OPTIONS), rel=1e-10)
    assert model.config == config and model.layers[0].dropconnect == config.dropconnect and model.training


def test_without_a_rate_it_is_the_static_cost():
    model = network()
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    cost = dynamic_cost(model, VALID.ids, CPU, statistics, replace(OPTIONS, lr=0.0))
    assert cost == pytest.approx(stream_cost(model, VALID.ids, CPU), rel=1e-6)


def test_it_learns_from_what_it_reads():
    model, options = network(), DynamicOptions(decay=0.001)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, options)
    again = np.tile(VALID.ids, 10)
    assert dynamic_cost(model, again, CPU, statistics, options) < stream_cost(model, again, CPU)


def test_an_ensemble_learns_as_one():
    model, again = Ensemble([network(seed=1), network(seed=2)]), np.tile(VALID.ids, 10)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    assert dynamic_cost(model, again, CPU, statistics, OPTIONS) < stream_cost(model, again, CPU)


@pytest.mark.parametrize("stop", [False, True])
def test_the_weights_come_back(monkeypatch, stop):
    model = network(DROPPED).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    if stop:
        calls = []
        forward = model.forward

        def broken(*arguments):
            calls.append(None)
            if len(calls) > 4:
                raise KeyboardInterrupt
            return forward(*arguments)

        monkeypatch.setattr(model, "forward", broken)
        with pytest.raises(KeyboardInterrupt):
            dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)
    else:
        dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.config == DROPPED and not model.training


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"epsilon": 0.0}, {"decay": 2.0}, {"bptt": 0}])
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="dynamic evaluation: "):
        DynamicOptions(**options)


class TestCommand:
    @pytest.fixture
    def files(self, tmp_path):
        save_model(tmp_path / "lm", network(), VOCABULARY, provenance())
        (tmp_path / "text").write_text("a b c d e\ne d c b a\n" * 30)
        return [str(tmp_path / "lm"), str(tmp_path / "text")]

    def test_both_perplexities(self, files, tmp_path, capsys):
        command = ["compute_ppl", "--dynamic", "--statistics", files[1], "--dynamic-lr", "0.001"]
        assert main([*command, "--json", str(tmp_path / "ppl.json"), *files]) == 0
        static, dynamic = capsys.readouterr().out.splitlines()
        figures = json.loads((tmp_path / "ppl.json").read_text())
        assert static == f"ppl {figures['ppl']:.2f}, 360 tokens in 60 sentences, 0 OOVs"
        assert dynamic == f"dynamic ppl {figures['dynamic_ppl']:.2f}, lr 0.001, decay 0.075"
        assert figures["dynamic_ppl"] != figures["ppl"]

    @pytest.mark.parametrize(
        "options", [["--dynamic"], ["--statistics", "text"], ["--dynamic-lr", "1"], ["--dynamic", "--by-sentence"]]
    )
    def test_wrong_usage(self, files, options, capsys):
        assert main(["compute_ppl", *options, *files]) == 2
        assert "--dynamic" in capsys.readouterr().err
