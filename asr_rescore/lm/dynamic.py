"""Dynamic evaluation (Krause et al. 2018): a model that goes on learning from the text it has just predicted.

After every few tokens, with the gradient g of their mean cost, the trained weights θ₀ and the usual size M = √(mean g²)
of each gradient on the training text:

    θ ← θ + pull · (θ₀ − θ) − rate · g

In relative units, with means and sums over all weights, and capital E = ``epsilon`` · mean(M),

    pull = min(``decay`` · M / mean(M), 1)          rate = ``lr`` / Σ (M² / (M + E)) / (M + E)

so that an update with g = M lowers the cost by ``lr`` nats, as far as it is linear. The reference code has the root of
the *sum* of g² over its chunks, S = √(number of chunks) · M, and compares it with the *sum over tensors* of means:

    pull = ``decay`` · min(S / Σ mean(S), 1 / ``decay``)        rate = ``lr`` / (S + ``epsilon``)

Good rates in these units thus depend on the length of the training text and on the number and size of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from asr_rescore.config import ModelConfig
from asr_rescore.corpus import TokenStream
from asr_rescore.errors import RescoreError, UsageError
from asr_rescore.lm.streams import Streams
from asr_rescore.lm.text_cost import TextCost
from asr_rescore.lm_config import DynamicConfig
from asr_rescore.models import LanguageModel, detach_state
from asr_rescore.models.lstm import DropConnectLstm
from asr_rescore.progress import progress_bar


def evaluate_dynamically(
    model: LanguageModel, text: TokenStream, training_text: TokenStream, device: torch.device, config: DynamicConfig
) -> TextCost:
    """Predict every token of a running text once by a model that goes on learning from it.

    Args:
        model: on ``device``; it has its trained weights again afterwards.
        text: the text to predict.
        training_text: the text that the model was trained on, for the gradient statistics.
        device: where to compute.
        config: rates and chunk sizes.

    Raises:
        UsageError: see :func:`gradient_statistics` and :func:`dynamic_cost`.
        RescoreError: the weights diverged.
    """
    statistics = gradient_statistics(model, training_text.ids, device, config)
    return TextCost(dynamic_cost(model, text.ids, device, statistics, config) + text.class_cost, len(text))


@dataclass(frozen=True)
class GradientStatistics:
    """How large the gradients of a model usually are.

    Attributes:
        sizes: M = √(mean g²) over the chunks of the training text, one tensor for each trainable parameter, of its
            shape, in the order of ``model.parameters()``.
        chunks: the number of these chunks.
    """

    sizes: list[torch.Tensor]
    chunks: int

    def steps(self, config: DynamicConfig) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """How far each weight is pulled back in each update, from 0 to 1, and the rate that multiplies its gradient.

        Raises:
            UsageError: all sizes are zero.
        """
        mean = sum(size.sum(dtype=torch.float64).item() for size in self.sizes) / sum(map(torch.numel, self.sizes))
        if mean == 0:
            raise UsageError(
                "dynamic evaluation: all gradient statistics are zero; give the training text of the model"
            )
        if config.units == "reference":
            return self._reference_steps(config)
        epsilon = config.epsilon * mean
        gain = sum((size.double().square() / (size.double() + epsilon)).sum().item() for size in self.sizes)
        pulls = [(config.decay / mean * size).clamp_(max=1.0) for size in self.sizes]
        return pulls, [config.lr / gain / (size + epsilon) for size in self.sizes]

    def _reference_steps(self, config: DynamicConfig) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        roots = [math.sqrt(self.chunks) * size for size in self.sizes]  # √(Σ g²)
        norm = sum(root.mean(dtype=torch.float64).item() for root in roots)
        pulls = [(config.decay / norm * root).clamp_(max=1.0) for root in roots]
        return pulls, [config.lr / (root + config.epsilon) for root in roots]


def gradient_statistics(
    model: LanguageModel, ids: np.ndarray, device: torch.device, config: DynamicConfig
) -> GradientStatistics:
    """√(mean g²) of each parameter over the training text: how large its gradient usually is.

    g is the gradient of the mean cost of the tokens in a chunk; the mean is over all chunks.

    Args:
        model: on ``device``; an ensemble counts as one model with the weights of all its members.
        ids: int64 (tokens,), the text that the model was trained on.
        device: where to compute.
        config: the text is read in ``statistics_batch`` streams (fewer for a short text), ``bptt`` tokens at a time.

    Raises:
        UsageError: the text has fewer than two tokens, or the model has no trainable parameters.
    """
    if len(ids) < 2:
        raise UsageError(f"dynamic evaluation: the training text has {len(ids)} tokens, expected two or more")
    streams = Streams(ids, min(config.statistics_batch, len(ids) // 2), device)
    parameters = _trainable(model)
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    state = model.initial_state(streams.batch, device)
    chunks = 0
    with _no_dropout(model), progress_bar("gradient statistics", len(streams), "steps") as bar:
        for begin in range(0, len(streams), config.bptt):
            chunk = streams.chunk(slice(begin, begin + config.bptt), slice(None))
            output = model(chunk.inputs, detach_state(state))
            state = output.state
            loss = -output.log_probs.gather(-1, chunk.labels.unsqueeze(-1)).mean()
            grads = torch.autograd.grad(loss, parameters)
            torch._foreach_addcmul_(squares, grads, grads)
            chunks += 1
            bar.update(len(chunk.labels))
    return GradientStatistics([square.div_(chunks).sqrt_() for square in squares], chunks)


def dynamic_cost(
    model: LanguageModel,
    ids: np.ndarray,
    device: torch.device,
    statistics: GradientStatistics,
    config: DynamicConfig,
) -> float:
    """Σ −ln P of all tokens, each predicted once, by weights that have learnt from all chunks before its own.

    After every ``bptt`` tokens, the weights move as this module's text says.

    Args:
        model: on ``device``; it has its trained weights again afterwards, bit for bit, even after an exception. The
            members of an ensemble learn together, from the cost of their mean.
        ids: int64 (tokens,), ending with ``</s>``, which is also the context of the first token.
        device: where to compute.
        statistics: see :func:`gradient_statistics`.
        config: rates, and the length of a chunk.

    Returns:
        Nats, over all tokens.

    Raises:
        UsageError: the statistics are of another model or all zero, or the model has no trainable parameters.
        RescoreError: the weights diverged.
    """
    parameters = _trainable(model)
    if [size.shape for size in statistics.sizes] != [parameter.shape for parameter in parameters]:
        raise UsageError("dynamic evaluation: the gradient statistics are of another model; compute them with this one")
    pulls, rates = statistics.steps(config)
    trained = [parameter.detach().clone() for parameter in parameters]
    labels = torch.from_numpy(ids).to(device).unsqueeze(1)  # (tokens, 1)
    inputs = torch.cat([labels[-1:], labels[:-1]])
    state = model.initial_state(1, device)
    # The sum stays on the device: reading it after each update would make a GPU wait.
    cost = torch.zeros((), dtype=torch.float64, device=device)
    try:
        with _no_dropout(model), progress_bar("dynamic evaluation", len(ids), "tokens") as bar:
            for begin in range(0, len(ids), config.bptt):
                here = slice(begin, begin + config.bptt)
                output = model(inputs[here], detach_state(state))
                state = output.state
                losses = -output.log_probs.gather(-1, labels[here].unsqueeze(-1))
                cost += losses.detach().sum(dtype=torch.float64)
                grads = torch.autograd.grad(losses.mean(), parameters)
                with torch.no_grad():
                    torch._foreach_lerp_(parameters, trained, pulls)
                    torch._foreach_addcmul_(parameters, grads, rates, value=-1)
                bar.update(len(losses))
    finally:
        with torch.no_grad():
            for parameter, start in zip(parameters, trained, strict=True):
                parameter.copy_(start)
    total = cost.item()
    if not math.isfinite(total):
        raise RescoreError(f"dynamic evaluation: the weights diverged, the cost is {total}; lower the learning rate")
    return total


def _trainable(model: LanguageModel) -> list[torch.Tensor]:
    """The parameters that have a gradient."""
    parameters: list[torch.Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise UsageError(f"dynamic evaluation: found a {type(model).__name__} without trainable parameters")
    return parameters


@contextmanager
def _no_dropout(model: LanguageModel) -> Iterator[None]:
    """A context without dropout and in full precision; in training mode, since cuDNN's LSTM has no other backward."""
    training = model.training
    models = [module for module in model.modules() if isinstance(module, LanguageModel)]
    configs = [(part, part.config) for part in models if isinstance(part.config, ModelConfig)]
    lstms = [module for module in model.modules() if isinstance(module, DropConnectLstm)]
    layers = [(layer, layer.dropconnect, layer.half_on_gpu) for layer in lstms]
    no_dropout: dict[str, Any] = {option.name: 0.0 for option in fields(ModelConfig) if option.name.startswith("drop")}
    try:
        for part, config in configs:
            part.config = replace(config, **no_dropout)
        for layer in lstms:
            layer.dropconnect = 0.0
            layer.half_on_gpu = False
        model.train()
        yield
    finally:
        for part, config in configs:
            part.config = config
        for layer, rate, half in layers:
            layer.dropconnect = rate
            layer.half_on_gpu = half
        model.train(training)
