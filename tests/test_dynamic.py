"""Dynamic evaluation: by hand, against a plain float64 copy of its definition, and what it must not change."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr_rescore import models
from asr_rescore.checkpoint import load_model, provenance, save_model
from asr_rescore.cli import compute_ppl
from asr_rescore.cli.main import main
from asr_rescore.config import ModelConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm import DynamicConfig, dynamic_cost, gradient_statistics, stream_cost
from asr_rescore.models import Ensemble, LanguageModel, Output
from training_runs import CPU, DROPPED, PLAIN, SIZE, TRAIN, VALID, VOCABULARY


class TwoWeights(LanguageModel):
    """Two words; ln P is the log softmax of (a, b), whatever was read. ∂(−ln P(0))/∂a = P(0) − 1, /∂b = P(1)."""

    def __init__(self, a: float, b: float):
        super().__init__()
        self.config = ModelConfig()
        self.vocabulary_size = 2
        self.experts = 1
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
        config = DynamicConfig(bptt=2, statistics_batch=1)
        expected = math.sqrt((0.25 + 0 + 0.25) / 3)
        for part in gradient_statistics(TwoWeights(0.0, 0.0), ids, CPU, config):
            assert part.item() == pytest.approx(expected)

    def test_a_last_chunk_may_be_short(self):
        """0, 0 has gradients ∓1/2, and so has the 0 that is left over."""
        config = DynamicConfig(bptt=2, statistics_batch=1)
        for part in gradient_statistics(TwoWeights(0.0, 0.0), np.array([0, 0, 0]), CPU, config):
            assert part.item() == pytest.approx(0.5)

    def test_two_updates(self):
        """M = (1, 3), mean 2, λ = 1/2: a is pulled back by λ·1/2 = 1/4, b by λ·min(3/2, 2) = 3/4."""
        config = DynamicConfig(lr=0.1, epsilon=1.0, decay=0.5, bptt=1)
        model = TwoWeights(0.0, 0.0)
        ids = np.array([0, 0, 1])
        statistics = [torch.tensor(1.0).double(), torch.tensor(3.0).double()]
        a1 = -0.1 * -0.5 / 2
        b1 = -0.1 * 0.5 / 4  # the weights are still the trained ones
        p1 = 1 / (1 + math.exp(b1 - a1))
        a2 = a1 + 0.25 * (0 - a1) - 0.1 * (p1 - 1) / 2
        b2 = b1 + 0.75 * (0 - b1) - 0.1 * (1 - p1) / 4
        p2 = 1 / (1 + math.exp(b2 - a2))
        expected = -math.log(0.5) - math.log(p1) - math.log(1 - p2)
        assert dynamic_cost(model, ids, CPU, statistics, config) == pytest.approx(expected, rel=1e-12)

    def test_the_pull_is_at_most_all_the_way(self):
        """M = (0, 1), mean 1/2, λ = 1: a is never pulled back, b by λ·min(2, 1/λ) = 1, not by 2."""
        config = DynamicConfig(lr=0.1, epsilon=1.0, decay=1.0, bptt=1)
        statistics = [torch.tensor(0.0).double(), torch.tensor(1.0).double()]
        a1 = 0.1 * 0.5 / 1
        b1 = -0.1 * 0.5 / 2
        p1 = 1 / (1 + math.exp(b1 - a1))
        a2 = a1 + 0.1 * (1 - p1)
        b2 = 0 - 0.1 * (1 - p1) / 2
        expected = -math.log(0.5) - math.log(p1) - math.log(1 / (1 + math.exp(b2 - a2)))
        assert dynamic_cost(TwoWeights(0.0, 0.0), np.array([0, 0, 0]), CPU, statistics, config) == pytest.approx(
            expected, rel=1e-12
        )


def chunk_costs(model: LanguageModel, text: np.ndarray, bptt: int) -> Iterator[float]:
    """Yield the cost of each ``bptt`` time steps of ``text`` (time, streams); ``.grad`` has the gradients of its mean.

    Read one time step at a time; what the caller does to the weights acts on all that follows.
    """
    state = model.initial_state(text.shape[1])
    # Each stream goes on from the end of the one to its left, the first from the end of the text.
    before = torch.from_numpy(np.roll(text[-1], 1))
    for begin in range(0, len(text), bptt):
        cost = 0.0
        some = text[begin : begin + bptt]
        for labels in torch.from_numpy(some):
            output = model(before.unsqueeze(0), state)
            state = output.state
            before = labels
            cost = cost - output.log_probs[0].gather(-1, labels.unsqueeze(-1)).sum()
        model.zero_grad()
        (cost / some.size).backward()
        state = tuple(tuple(part.detach() for part in layer) for layer in state)
        yield cost.item()


def plain_statistics(model: LanguageModel, ids: np.ndarray, config: DynamicConfig) -> list[torch.Tensor]:
    """The definition, for a text that fills its streams."""
    text = ids.reshape(config.statistics_batch, -1).T
    squares = [[part.grad**2 for part in model.parameters()] for _ in chunk_costs(model, text, config.bptt)]
    return [torch.stack(chunks).mean(0).sqrt() for chunks in zip(*squares, strict=True)]


def plain_cost(model: LanguageModel, ids: np.ndarray, statistics: list[torch.Tensor], config: DynamicConfig) -> float:
    """The definition; the weights are not restored."""
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    mean = torch.cat([part.flatten() for part in statistics]).mean()
    total = 0.0
    for cost in chunk_costs(model, ids[:, None], config.bptt):
        total += cost
        with torch.no_grad():
            for parameter, start, part in zip(model.parameters(), trained, statistics, strict=True):
                pull = config.decay * torch.clamp(part / mean, max=1 / config.decay)
                parameter += pull * (start - parameter) - config.lr * parameter.grad / (part + config.epsilon)
    return total


OPTIONS = DynamicConfig(statistics_batch=7)
FULL = TRAIN.ids[: len(TRAIN.ids) // 7 * 7]  # fills seven streams


@pytest.mark.parametrize("config", [PLAIN, DROPPED], ids=["plain", "dropouts"])
def test_is_the_definition(config):
    """There is no dropout in dynamic evaluation, even if the model was trained with it."""
    model = network(config).double()
    plain = network(PLAIN).double()
    statistics = gradient_statistics(model, FULL, CPU, OPTIONS)
    for part, expected in zip(statistics, plain_statistics(plain, FULL, OPTIONS), strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-15)
    actual = dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)
    assert actual == pytest.approx(plain_cost(plain, VALID.ids, statistics, OPTIONS), rel=1e-12)
    assert model.config == config and model.layers[0].dropconnect == config.dropconnect and model.training


@pytest.mark.parametrize("decay", [0.0, 0.075, 1.0])
def test_without_a_rate_it_is_the_static_cost(decay):
    model = network(DROPPED).double()
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    cost = dynamic_cost(model, VALID.ids, CPU, statistics, replace(OPTIONS, lr=0.0, decay=decay))
    assert cost == pytest.approx(stream_cost(model, VALID.ids, CPU), rel=1e-13)


def test_a_text_of_one_token():
    model = network().double()
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    ids = VALID.ids[:1]
    assert dynamic_cost(model, ids, CPU, statistics, OPTIONS) == pytest.approx(stream_cost(model, ids, CPU))


def test_it_learns_from_what_it_reads():
    model = network()
    config = DynamicConfig(decay=0.001)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, config)
    again = np.tile(VALID.ids, 10)
    assert dynamic_cost(model, again, CPU, statistics, config) < stream_cost(model, again, CPU)


def test_repetition_halves_the_perplexity_at_the_default_rates():
    model = network()
    ids = np.tile(TokenStream.encode([["a", "a", "a"]], VOCABULARY).ids, 40)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, DynamicConfig())
    gain = stream_cost(model, ids, CPU) - dynamic_cost(model, ids, CPU, statistics, DynamicConfig())
    assert gain / len(ids) > math.log(2)


def test_an_ensemble_learns_as_one():
    model = Ensemble([network(seed=1), network(seed=2)])
    again = np.tile(VALID.ids, 10)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    assert dynamic_cost(model, again, CPU, statistics, OPTIONS) < stream_cost(model, again, CPU)


def test_half_precision_is_left_for_the_while(monkeypatch):
    model = network()
    seen = []
    model.layers[0].half_on_gpu = True
    statistics = gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *given: seen.append(model.layers[0].half_on_gpu) or forward(*given))
    dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)
    assert seen and not any(seen) and model.layers[0].half_on_gpu


def test_weights_that_run_away():
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    statistics = [torch.full_like(parameter, 1e-6) for parameter in model.parameters()]
    with pytest.raises(RescoreError, match="the weights diverged.*lower the learning rate"):
        dynamic_cost(model, VALID.ids, CPU, statistics, replace(OPTIONS, lr=1e35))
    assert all(map(torch.equal, model.parameters(), before))


class TestWhatItCannotDo:
    def test_a_model_without_trainable_parameters(self):
        model = network().requires_grad_(False)
        statistics = [torch.ones_like(parameter) for parameter in model.parameters()]
        with pytest.raises(UsageError, match="AwdLstmMos without trainable parameters"):
            gradient_statistics(model, TRAIN.ids, CPU, OPTIONS)
        with pytest.raises(UsageError, match="AwdLstmMos without trainable parameters"):
            dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)

    def test_statistics_of_another_model(self):
        statistics = gradient_statistics(network(replace(PLAIN, experts=3)), TRAIN.ids, CPU, OPTIONS)
        with pytest.raises(UsageError, match="the gradient statistics are of another model"):
            dynamic_cost(network(), VALID.ids, CPU, statistics, OPTIONS)

    def test_statistics_of_no_gradient(self):
        model = TwoWeights(0.0, 0.0)
        ids = np.array([0, 1])
        statistics = gradient_statistics(model, ids, CPU, OPTIONS)
        with pytest.raises(UsageError, match="all gradient statistics are zero"):
            dynamic_cost(model, ids, CPU, statistics, OPTIONS)

    def test_statistics_of_one_token(self):
        with pytest.raises(UsageError, match="the training text has 1 tokens, expected two or more"):
            gradient_statistics(network(), TRAIN.ids[:1], CPU, OPTIONS)


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


@pytest.mark.parametrize(
    "options",
    [
        *({"lr": -1.0}, {"lr": math.nan}, {"lr": math.inf}, {"epsilon": 0.0}, {"epsilon": math.inf}),
        *({"decay": -0.1}, {"decay": 2.0}, {"bptt": 0}, {"statistics_batch": 0}),
    ],
    ids=str,
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="dynamic evaluation: "):
        DynamicConfig(**options)


class TestCommand:
    @pytest.fixture
    def files(self, tmp_path):
        save_model(tmp_path / "lm", network(), VOCABULARY, provenance())
        (tmp_path / "text").write_text("a b c d e\ne d c b a\n" * 30)
        return [str(tmp_path / "lm"), str(tmp_path / "text")]

    def test_both_perplexities(self, files, tmp_path, capsys):
        command = ["compute_ppl", "--dynamic", "--statistics", files[1], "--dynamic-lr", "0.001"]
        command += ["--dynamic-decay", "0.05", "--dynamic-epsilon", "0.01"]
        assert main([*command, "--json", str(tmp_path / "ppl.json"), *files]) == 0
        static, dynamic = capsys.readouterr().out.splitlines()
        figures = json.loads((tmp_path / "ppl.json").read_text())
        assert static == f"ppl {figures['ppl']:.2f}, 360 tokens in 60 sentences, 0 OOVs"
        assert dynamic == f"dynamic ppl {figures['dynamic_ppl']:.2f}, lr 0.001, decay 0.05, epsilon 0.01"
        assert (figures["lr"], figures["decay"], figures["epsilon"]) == (0.001, 0.05, 0.01)
        model = load_model(files[0]).model
        ids = TokenStream.read(files[1], VOCABULARY).ids
        config = DynamicConfig(lr=0.001, decay=0.05, epsilon=0.01)
        cost = dynamic_cost(model, ids, CPU, gradient_statistics(model, ids, CPU, config), config)
        assert figures["dynamic_ppl"] == pytest.approx(math.exp(cost / len(ids)))
        assert figures["dynamic_ppl"] != figures["ppl"]

    def test_words_outside_the_vocabulary_cost_the_same_in_both(self, files, tmp_path, capsys):
        (tmp_path / "rare").write_text("a b zebra\n")
        command = ["compute_ppl", "--dynamic", "--statistics", files[1], "--dynamic-lr", "0", files[0]]
        assert main([*command, str(tmp_path / "rare")]) == 0
        static, _, dynamic = capsys.readouterr().out.splitlines()
        assert dynamic.startswith("dynamic " + static.split(",")[0] + ", lr 0, ")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--dynamic"], "--dynamic needs --statistics"),
            (["--dynamic", "--by-sentence", "--statistics", "text"], "cannot be combined with --by-sentence"),
            (
                ["--dynamic", "--statistics", "text", "--dynamic-lr", "-1"],
                "--dynamic-lr is -1.0, expected 0 or more",
            ),
            (["--statistics", "text"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-lr", "0"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-decay", "0"], "--dynamic-epsilon need --dynamic"),
            (["--dynamic-epsilon", "1"], "--dynamic-epsilon need --dynamic"),
        ],
    )
    def test_wrong_usage(self, files, options, message, capsys):
        assert main(["compute_ppl", *options, *files]) == 2
        printed = capsys.readouterr()
        assert message in printed.err and not printed.out

    def test_a_missing_statistics_text_is_noticed_first(self, files, capsys):
        assert main(["compute_ppl", "--dynamic", "--statistics", "missing", *files]) == 1
        printed = capsys.readouterr()
        assert "missing" in printed.err and not printed.out

    def test_the_help_tells_the_defaults(self):
        parser = argparse.ArgumentParser()
        compute_ppl.configure(parser)
        helps = {action.dest: action.help for action in parser._actions}
        for name in ("lr", "decay", "epsilon"):
            assert helps[f"dynamic_{name}"].endswith(f"(default: {getattr(DynamicConfig(), name)})")
