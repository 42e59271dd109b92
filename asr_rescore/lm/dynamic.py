"""Dynamic evaluation (Krause et al. 2018): a model that goes on learning from the text it has just predicted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from tqdm import tqdm

from asr_rescore.config import ModelConfig
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm.streams import Streams
from asr_rescore.models import LanguageModel, detach_state
from asr_rescore.models.lstm import DropConnectLstm


@dataclass(frozen=True)
class DynamicConfig:
    """How fast the weights move and how they come back; the defaults are the AWD-LSTM-MoS reference's.

    Raises:
        UsageError: a value out of its range.
    """

    lr: float = 0.002
    epsilon: float = 0.001  # keeps weights that seldom have a gradient from leaping
    decay: float = 0.075  # λ: how much of the way back to the trained weights is gone at each step
    bptt: int = 5  # tokens between updates
    statistics_batch: int = 100  # parallel streams of the text that the gradient statistics are of

    def __post_init__(self) -> None:
        if not (0 <= self.lr < math.inf and 0 < self.epsilon < math.inf and 0 <= self.decay <= 1):
            raise UsageError("dynamic evaluation: expected lr at least 0, epsilon above 0 and decay from 0 to 1")
        if self.bptt < 1 or self.statistics_batch < 1:
            raise UsageError("dynamic evaluation: bptt and statistics_batch must be 1 or more")


def gradient_statistics(
    model: LanguageModel, ids: np.ndarray, device: torch.device, options: DynamicConfig
) -> list[torch.Tensor]:
    """√(mean g²) of each parameter over the training text: how much it usually has to move.

    The mean is over chunks, g being the gradient of the mean cost of a chunk's tokens.

    Args:
        model: on ``device``; an ensemble is one model of all its members' weights.
        ids: int64 (tokens,), the text the model was trained on.
        device: where to compute.
        options: the text is read in ``statistics_batch`` streams, fewer where it is short, ``bptt`` tokens at a time.

    Returns:
        One tensor a trainable parameter, of its shape, in the order of ``model.parameters()``.

    Raises:
        UsageError: a text of less than two tokens, or a model without trainable parameters.
    """
    if len(ids) < 2:
        raise UsageError(f"dynamic evaluation: statistics of {len(ids)} tokens; give the model's training text")
    streams = Streams(ids, min(options.statistics_batch, len(ids) // 2), device)
    parameters = _trainable(model)
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    state = model.initial_state(streams.labels.shape[1], device)
    chunks = 0
    with _no_dropout(model), tqdm(total=len(streams), desc="gradient statistics", disable=None) as bar:
        for begin in range(0, len(streams), options.bptt):
            chunk = streams.chunk(slice(begin, begin + options.bptt), slice(None))
            output = model(chunk.inputs, detach_state(state))
            state = output.state
            loss = -output.log_probs.gather(-1, chunk.labels.unsqueeze(-1)).mean()
            grads = torch.autograd.grad(loss, parameters)
            torch._foreach_addcmul_(squares, grads, grads)
            chunks += 1
            bar.update(len(chunk.labels))
    return [square.div_(chunks).sqrt_() for square in squares]


def dynamic_cost(
    model: LanguageModel,
    ids: np.ndarray,
    device: torch.device,
    statistics: list[torch.Tensor],
    options: DynamicConfig,
) -> float:
    """Σ −ln P of all tokens, each predicted once, by weights that have learnt from all tokens before its chunk.

    After every ``bptt`` tokens, with the gradient g of their mean cost, the trained weights θ₀ and the statistics M:
    θ ← θ + λ·min(M / mean(M), 1/λ)·(θ₀ − θ) − lr·g / (M + ε), the mean being over all parameters.

    Args:
        model: on ``device``; has its trained weights again afterwards, bit for bit, also upon an exception. The members
            of an ensemble learn together, from the cost of their mean.
        ids: int64 (tokens,), ending with ``</s>``, which is also what stands before the first token.
        device: where to compute.
        statistics: see :func:`gradient_statistics`.
        options: rates.

    Returns:
        Nats, over all tokens.

    Raises:
        UsageError: statistics of another model, or nothing but zeros; a model without trainable parameters.
        RescoreError: the weights ran away.
    """
    parameters = _trainable(model)
    if [part.shape for part in statistics] != [parameter.shape for parameter in parameters]:
        raise UsageError("dynamic evaluation: the gradient statistics are another model's; take this model's")
    mean = sum(part.sum(dtype=torch.float64).item() for part in statistics) / sum(part.numel() for part in statistics)
    if mean == 0:
        raise UsageError("dynamic evaluation: all gradients of the statistics are zero; give the model's training text")
    trained = [parameter.detach().clone() for parameter in parameters]
    pulls = [(options.decay / mean * part).clamp_(max=1.0) for part in statistics]
    rates = [-options.lr / (part + options.epsilon) for part in statistics]
    labels = torch.from_numpy(ids).to(device).unsqueeze(1)  # (tokens, 1)
    inputs = torch.cat([labels[-1:], labels[:-1]])
    state = model.initial_state(1, device)
    # Stays on the device: reading it at each update would keep a GPU waiting.
    cost = torch.zeros((), dtype=torch.float64, device=device)
    try:
        with _no_dropout(model), tqdm(total=len(ids), desc="dynamic evaluation", disable=None) as bar:
            for begin in range(0, len(ids), options.bptt):
                here = slice(begin, begin + options.bptt)
                output = model(inputs[here], detach_state(state))
                state = output.state
                losses = -output.log_probs.gather(-1, labels[here].unsqueeze(-1))
                cost += losses.detach().sum(dtype=torch.float64)
                grads = torch.autograd.grad(losses.mean(), parameters)
                with torch.no_grad():
                    torch._foreach_lerp_(parameters, trained, pulls)
                    torch._foreach_addcmul_(parameters, grads, rates)
                bar.update(len(losses))
    finally:
        with torch.no_grad():
            for parameter, start in zip(parameters, trained, strict=True):
                parameter.copy_(start)
    total = cost.item()
    if not math.isfinite(total):
        raise RescoreError(f"dynamic evaluation: the weights ran away, the cost is {total}; lower the learning rate")
    return total


def _trainable(model: LanguageModel) -> list[torch.nn.Parameter]:
    """The parameters that a gradient reaches."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise UsageError(f"dynamic evaluation: a {type(model).__name__} without trainable parameters cannot learn")
    return parameters


@contextmanager
def _no_dropout(model: LanguageModel) -> Iterator[None]:
    """Full precision and training mode, in which cuDNN's LSTM has a backward pass, with all dropout rates at zero."""
    training = model.training
    models = [module for module in model.modules() if isinstance(module, LanguageModel)]
    configs = [(part, part.config) for part in models if isinstance(part.config, ModelConfig)]
    lstms = [module for module in model.modules() if isinstance(module, DropConnectLstm)]
    layers = [(layer, layer.dropconnect, layer.half_on_gpu) for layer in lstms]
    none = {option.name: 0.0 for option in fields(ModelConfig) if option.name.startswith("drop")}
    try:
        for part, config in configs:
            part.config = replace(config, **none)
        for layer in lstms:
            layer.dropconnect, layer.half_on_gpu = 0.0, False
        model.train()
        yield
    finally:
        for part, config in configs:
            part.config = config
        for layer, rate, half in layers:
            layer.dropconnect, layer.half_on_gpu = rate, half
        model.train(training)
