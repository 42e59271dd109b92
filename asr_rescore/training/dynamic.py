"""Dynamic evaluation (Krause et al. 2018): a model that goes on learning from the text it has just predicted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from tqdm import tqdm

from asr_rescore.config import ModelConfig
from asr_rescore.errors import UsageError
from asr_rescore.models import LanguageModel, detach_state
from asr_rescore.training.chunks import Streams


@dataclass(frozen=True)
class DynamicOptions:
    """How fast the weights move and how they come back; the defaults are the AWD-LSTM-MoS reference's."""

    lr: float = 0.002
    epsilon: float = 0.001  # keeps weights that seldom have a gradient from leaping
    decay: float = 0.075  # λ: how much of the way back to the trained weights is gone at each step
    bptt: int = 5  # tokens between updates
    statistics_batch: int = 100  # parallel streams of the text that the gradient statistics are of

    def __post_init__(self) -> None:
        if not (self.lr >= 0 and self.epsilon > 0 and 0 <= self.decay <= 1):
            raise UsageError("dynamic evaluation: expected lr at least 0, epsilon above 0 and decay from 0 to 1")
        if self.bptt < 1 or self.statistics_batch < 1:
            raise UsageError("dynamic evaluation: bptt and statistics_batch must be 1 or more")


def gradient_statistics(
    model: LanguageModel, ids: np.ndarray, device: torch.device, options: DynamicOptions
) -> list[torch.Tensor]:
    """√(mean g²) of each parameter over the training text: how much it usually has to move.

    Args:
        model: on ``device``.
        ids: int64 (tokens,), the text the model was trained on.
        device: where to compute.
        options: the text is read in ``statistics_batch`` streams, ``bptt`` tokens at a time.

    Returns:
        One tensor a parameter, of its shape, in the order of ``model.parameters()``.
    """
    streams = Streams(ids, min(options.statistics_batch, len(ids) // 2), device)
    parameters = list(model.parameters())
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    state = model.initial_state(streams.labels.shape[1], device)
    chunks = 0
    with _no_dropout(model), tqdm(total=len(streams), desc="gradient statistics", disable=None) as bar:
        for begin in range(0, len(streams), options.bptt):
            chunk = streams.chunk(slice(begin, begin + options.bptt), slice(None))
            output = model(chunk.inputs, detach_state(state))
            state = output.state
            loss = -output.log_probs.gather(-1, chunk.labels.unsqueeze(-1)).mean()
            for square, grad in zip(squares, torch.autograd.grad(loss, parameters), strict=True):
                square.addcmul_(grad, grad)
            chunks += 1
            bar.update(len(chunk.labels))
    return [square.div_(chunks).sqrt_() for square in squares]


def dynamic_cost(
    model: LanguageModel,
    ids: np.ndarray,
    device: torch.device,
    statistics: list[torch.Tensor],
    options: DynamicOptions,
) -> float:
    """Σ −ln P of all tokens, each predicted once, by weights that have learnt from all tokens before its chunk.

    After every ``bptt`` tokens, with the gradient g of their mean cost, the trained weights θ₀ and the statistics M:
    θ ← θ + λ·min(M / mean(M), 1/λ)·(θ₀ − θ) − lr·g / (M + ε), the mean being over all parameters.

    Args:
        model: on ``device``; has its trained weights again afterwards.
        ids: int64 (tokens,), ending with ``</s>``.
        device: where to compute.
        statistics: see :func:`gradient_statistics`.
        options: rates.

    Returns:
        Nats.
    """
    parameters = list(model.parameters())
    trained = [parameter.detach().clone() for parameter in parameters]
    mean = sum(part.sum().item() for part in statistics) / sum(part.numel() for part in statistics)
    pulls = [(options.decay / mean * part).clamp_(max=1.0) for part in statistics]
    rates = [-options.lr / (part + options.epsilon) for part in statistics]
    streams = Streams(ids, 1, device)
    state = model.initial_state(1, device)
    cost = 0.0
    try:
        with _no_dropout(model), tqdm(total=len(streams), desc="dynamic evaluation", disable=None) as bar:
            for begin in range(0, len(streams), options.bptt):
                chunk = streams.chunk(slice(begin, begin + options.bptt), slice(None))
                output = model(chunk.inputs, detach_state(state))
                state = output.state
                losses = -output.log_probs.gather(-1, chunk.labels.unsqueeze(-1))
                cost += losses.detach().double().sum().item()
                grads = torch.autograd.grad(losses.mean(), parameters)
                with torch.no_grad():
                    for parameter, grad, start, pull, rate in zip(
                        parameters, grads, trained, pulls, rates, strict=True
                    ):
                        parameter.lerp_(start, pull).addcmul_(grad, rate)
                bar.update(len(chunk.labels))
    finally:
        with torch.no_grad():
            for parameter, start in zip(parameters, trained, strict=True):
                parameter.copy_(start)
    return cost


@contextmanager
def _no_dropout(model: LanguageModel) -> Iterator[None]:
    """Training mode, in which cuDNN's LSTM has a backward pass, with every dropout's rate at zero."""
    training = model.training
    kept = [(module, module.config) for module in model.modules() if isinstance(module, LanguageModel)]
    rates = [(module, module.dropconnect) for module in model.modules() if hasattr(module, "dropconnect")]
    none = {option.name: 0.0 for option in fields(ModelConfig) if option.name.startswith("drop")}
    try:
        for module, config in kept:
            if isinstance(config, ModelConfig):
                module.config = replace(config, **none)
        for module, _ in rates:
            module.dropconnect = 0.0
        model.train()
        yield
    finally:
        for module, config in kept:
            module.config = config
        for module, rate in rates:
            module.dropconnect = rate
        model.train(training)
