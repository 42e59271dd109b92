"""Dynamic evaluation: by hand, against a plain float64 copy of its definition, and what it must not change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from asr_rescore import models
from asr_rescore.config import ModelConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm import (
    DYNAMIC_PRESETS,
    DynamicConfig,
    GradientStatistics,
    dynamic_cost,
    gradient_statistics,
    stream_cost,
)
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


def sizes(*values: float, chunks: int = 1) -> GradientStatistics:
    """Statistics of :class:`TwoWeights`."""
    return GradientStatistics([torch.tensor(value, dtype=torch.float64) for value in values], chunks)


class TestByHand:
    def test_statistics(self):
        """P = (1/2, 1/2): a chunk of 0, 0 has gradients (−1/2, 1/2), one of 0, 1 none, one of 1, 1 (1/2, −1/2)."""
        ids = np.array([0, 0, 0, 1, 1, 1])
        statistics = gradient_statistics(TwoWeights(0.0, 0.0), ids, CPU, DynamicConfig(bptt=2, statistics_batch=1))
        assert statistics.chunks == 3
        for size in statistics.sizes:
            assert size.item() == pytest.approx(math.sqrt((0.25 + 0 + 0.25) / 3))

    def test_a_last_chunk_may_be_short(self):
        """0, 0 has gradients ∓1/2, and so has the 0 that is left over."""
        config = DynamicConfig(bptt=2, statistics_batch=1)
        statistics = gradient_statistics(TwoWeights(0.0, 0.0), np.array([0, 0, 0]), CPU, config)
        assert [size.item() for size in statistics.sizes] == pytest.approx([0.5, 0.5])

    def test_relative_steps(self):
        """M = (1, 3), mean 2, E = 2 · 1/2 = 1: a is pulled back by λ·1/2 = 1/4, b by λ·3/2 = 3/4.

        Σ M² / (M + E) = 1/2 + 9/4 = 11/4, and the rates are 11/40 divided by this and by M + E.
        """
        pulls, rates = sizes(1.0, 3.0).steps(DynamicConfig(lr=0.275, epsilon=0.5, decay=0.5))
        assert [pull.item() for pull in pulls] == pytest.approx([0.25, 0.75])
        assert [rate.item() for rate in rates] == pytest.approx([0.1 / 2, 0.1 / 4])

    def test_reference_steps(self):
        """M = (1, 3) over 4 chunks: S = (2, 6), and the sum over tensors of their means is 8."""
        config = DynamicConfig(units="reference", lr=0.1, epsilon=2.0, decay=0.5)
        pulls, rates = sizes(1.0, 3.0, chunks=4).steps(config)
        assert [pull.item() for pull in pulls] == pytest.approx([0.125, 0.375])
        assert [rate.item() for rate in rates] == pytest.approx([0.1 / 4, 0.1 / 8])

    def test_two_updates(self):
        """The rates and pulls of :meth:`test_relative_steps`."""
        a1 = 0.05 * 0.5
        b1 = -0.025 * 0.5  # the weights are still the trained ones
        p1 = 1 / (1 + math.exp(b1 - a1))
        a2 = a1 + 0.25 * (0 - a1) - 0.05 * (p1 - 1)
        b2 = b1 + 0.75 * (0 - b1) - 0.025 * (1 - p1)
        p2 = 1 / (1 + math.exp(b2 - a2))
        expected = -math.log(0.5) - math.log(p1) - math.log(1 - p2)
        config = DynamicConfig(lr=0.275, epsilon=0.5, decay=0.5, bptt=1)
        actual = dynamic_cost(TwoWeights(0.0, 0.0), np.array([0, 0, 1]), CPU, sizes(1.0, 3.0), config)
        assert actual == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("units", ["relative", "reference"])
    def test_the_pull_is_at_most_all_the_way(self, units):
        """M = (0, 1), λ = 1: the mean is 1/2, so b would be pulled back twice as far as it has gone."""
        pulls, _ = sizes(0.0, 1.0).steps(DynamicConfig(decay=1.0, units=units))
        assert [pull.item() for pull in pulls] == [0.0, 1.0]


class TestUnits:
    """Relative rates mean the same for every model and text; those of the reference do not."""

    @pytest.mark.parametrize("factor", [0.1, 1.0, 30.0])
    def test_an_update_along_usual_gradients_gains_the_rate(self, factor):
        statistics = sizes(1.0 * factor, 3.0 * factor, 0.2 * factor)
        _, rates = statistics.steps(DynamicConfig(lr=0.02))
        assert sum(rate * size**2 for rate, size in zip(rates, statistics.sizes, strict=True)).item() == pytest.approx(
            0.02
        )

    def test_the_number_of_chunks_is_nothing_to_relative_rates(self):
        few, many = (sizes(1.0, 3.0, chunks=chunks) for chunks in (4, 400))
        assert few.steps(DynamicConfig()) == many.steps(DynamicConfig())
        reference = DYNAMIC_PRESETS["reference"]
        assert few.steps(reference)[0] == many.steps(reference)[0]  # the pulls
        ratio = (few.steps(reference)[1][0] / many.steps(reference)[1][0]).item()
        assert ratio == pytest.approx(10, rel=0.01)

    def test_the_preset_of_the_reference(self):
        """In terms of M: lr 0.002 / √1859 = 4.6e-5, ε 2.3e-5, and λ 0.075 / 17 = 0.0044 of the mean of tensor means."""
        statistics = GradientStatistics([torch.full((2,), 0.1 * size).double() for size in range(1, 18)], 1859)
        pulls, rates = statistics.steps(DYNAMIC_PRESETS["reference"])
        mean = 0.1 * 9
        for size, pull, rate in zip(statistics.sizes, pulls, rates, strict=True):
            torch.testing.assert_close(pull, 0.0044 * size / mean, rtol=0.005, atol=0)
            torch.testing.assert_close(rate, 4.6e-5 / (size + 2.3e-5), rtol=0.01, atol=0)


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
    return [(total / chunks).sqrt() for total, chunks in plain_squares(model, ids, config)]


def plain_squares(model: LanguageModel, ids: np.ndarray, config: DynamicConfig) -> list[tuple[torch.Tensor, int]]:
    """Σ g² of each parameter, and the number of chunks."""
    text = ids.reshape(config.statistics_batch, -1).T
    squares = [[part.grad**2 for part in model.parameters()] for _ in chunk_costs(model, text, config.bptt)]
    return [(torch.stack(chunks).sum(0), len(chunks)) for chunks in zip(*squares, strict=True)]


def plain_cost(model: LanguageModel, ids: np.ndarray, statistics: list[torch.Tensor], config: DynamicConfig) -> float:
    """The definition in relative units; the weights are not restored."""
    every = torch.cat([part.flatten() for part in statistics])
    epsilon = config.epsilon * every.mean()
    lr = config.lr / (every**2 / (every + epsilon)).sum()
    pulls = [torch.clamp(config.decay * part / every.mean(), max=1) for part in statistics]
    return updated_cost(model, ids, pulls, [lr / (part + epsilon) for part in statistics], config.bptt)


def reference_cost(model: LanguageModel, ids: np.ndarray, training_ids: np.ndarray, config: DynamicConfig) -> float:
    """What the reference code computes, written anew from its equations; the weights are not restored."""
    roots = [total.sqrt() for total, _ in plain_squares(model, training_ids, config)]
    norm = sum(root.mean() for root in roots)
    pulls = [config.decay * torch.clamp(root / norm, max=1 / config.decay) for root in roots]
    return updated_cost(model, ids, pulls, [config.lr / (root + config.epsilon) for root in roots], config.bptt)


def updated_cost(
    model: LanguageModel, ids: np.ndarray, pulls: list[torch.Tensor], rates: list[torch.Tensor], bptt: int
) -> float:
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    total = 0.0
    for cost in chunk_costs(model, ids[:, None], bptt):
        total += cost
        with torch.no_grad():
            for parameter, start, pull, rate in zip(model.parameters(), trained, pulls, rates, strict=True):
                parameter += pull * (start - parameter) - rate * parameter.grad
    return total


OPTIONS = DynamicConfig(lr=0.003, statistics_batch=7)
FULL = TRAIN.ids[: len(TRAIN.ids) // 7 * 7]  # fills seven streams


@pytest.mark.parametrize("config", [PLAIN, DROPPED], ids=["plain", "dropouts"])
def test_is_the_definition(config):
    """There is no dropout in dynamic evaluation, even if the model was trained with it."""
    model = network(config).double()
    plain = network(PLAIN).double()
    statistics = gradient_statistics(model, FULL, CPU, OPTIONS)
    plain_sizes = plain_statistics(plain, FULL, OPTIONS)
    for part, expected in zip(statistics.sizes, plain_sizes, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-15)
    actual = dynamic_cost(model, VALID.ids, CPU, statistics, OPTIONS)
    assert actual == pytest.approx(plain_cost(plain, VALID.ids, plain_sizes, OPTIONS), rel=1e-12)
    assert model.config == config and model.layers[0].dropconnect == config.dropconnect and model.training


def test_the_preset_computes_what_the_reference_does():
    config = replace(DYNAMIC_PRESETS["reference"], statistics_batch=7)
    model = network(DROPPED).double()
    statistics = gradient_statistics(model, FULL, CPU, config)
    actual = dynamic_cost(model, VALID.ids, CPU, statistics, config)
    assert actual == pytest.approx(reference_cost(network(PLAIN).double(), VALID.ids, FULL, config), rel=1e-12)
    assert abs(actual - stream_cost(model, VALID.ids, CPU)) > 0.01


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
    config = DynamicConfig(lr=0.003, decay=0.001)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, config)
    again = np.tile(VALID.ids, 10)
    assert dynamic_cost(model, again, CPU, statistics, config) < stream_cost(model, again, CPU)


def test_repetition_lowers_the_perplexity_at_the_default_rates():
    model = network()
    ids = np.tile(TokenStream.encode([["a", "a", "a"]], VOCABULARY).ids, 40)
    statistics = gradient_statistics(model, TRAIN.ids, CPU, DynamicConfig())
    gain = stream_cost(model, ids, CPU) - dynamic_cost(model, ids, CPU, statistics, DynamicConfig())
    assert gain / len(ids) > math.log(1.5)


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
    statistics = GradientStatistics([torch.full_like(parameter, 1e-6) for parameter in model.parameters()], 1)
    with pytest.raises(RescoreError, match="the weights diverged.*lower the learning rate"):
        dynamic_cost(model, VALID.ids, CPU, statistics, replace(OPTIONS, lr=1e35))
    assert all(map(torch.equal, model.parameters(), before))


class TestWhatItCannotDo:
    def test_a_model_without_trainable_parameters(self):
        model = network().requires_grad_(False)
        statistics = GradientStatistics([torch.ones_like(parameter) for parameter in model.parameters()], 1)
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
        *({"decay": -0.1}, {"decay": 2.0}, {"bptt": 0}, {"statistics_batch": 0}, {"units": "absolute"}),
    ],
    ids=str,
)
def test_options_out_of_range(options):
    with pytest.raises(UsageError, match="dynamic evaluation: "):
        DynamicConfig(**options)
