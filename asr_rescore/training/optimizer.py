"""SGD with non-monotonically triggered averaging (Merity et al. 2018), and AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch

from asr_rescore.config import OptimizerKind, TrainConfig

OPTIMIZERS: dict[OptimizerKind, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(parameters: Iterable[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer that ``config`` names."""
    # fused: one pass over the weights; a step of AdamW takes a quarter of the time, also on a CPU.
    return OPTIMIZERS[config.optimizer](parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def learning_rate(config: TrainConfig, done: float) -> float:
    """The learning rate after the fraction ``done`` (0 to 1) of all epochs, for a chunk of ``bptt`` tokens."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


def nonmonotone(valid_costs: Sequence[float], nonmono: int) -> bool:
    """NT-ASGD's trigger: whether the last cost exceeds the least of those more than ``nonmono`` epochs before it."""
    earlier = valid_costs[:-1]
    return len(earlier) > nonmono and valid_costs[-1] > min(earlier[:-nonmono])


def averaging_starts(config: TrainConfig, epoch: int, valid_costs: Sequence[float]) -> bool:
    """Whether averaging of the weights begins now, after ``epoch`` epochs."""
    if config.averaging == "nonmono":
        return nonmonotone(valid_costs, config.nonmono)
    if config.averaging == "tail":
        return epoch >= config.epochs - max(1, round(config.averaging_tail * config.epochs))
    return config.averaging == "start"


class ParameterMean:
    """The running mean of the parameters since averaging began: ASGD with t0 = 0 and λ = 0, for any optimizer.

    Attributes:
        means: one tensor per parameter.
        count: number of updates in the mean.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter]):
        self.parameters = parameters
        self.means = [parameter.detach().clone() for parameter in parameters]
        self.count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Include the present parameters in the mean."""
        self.count += 1
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            mean.lerp_(parameter, 1 / self.count)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange parameters and means: once to use the means, once more to go on with the training."""
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)
