"""One LSTM layer with DropConnect on its hidden-to-hidden weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class DropConnectLstm(nn.LSTM):
    """An LSTM layer whose hidden-to-hidden weights are dropped, one mask a forward pass, in training only.

    Args:
        inputs: width of its input.
        cells: width of its output.
        dropconnect: probability of a weight to be dropped.
    """

    def __init__(self, inputs: int, cells: int, dropconnect: float):
        super().__init__(inputs, cells)
        self.dropconnect = dropconnect

    def forward(
        self, inputs: torch.Tensor, state: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """``inputs`` (time, batch, inputs) → (time, batch, cells) and the state after it."""
        if not self.training or self.dropconnect == 0:
            return super().forward(inputs, state)
        dropped = F.dropout(self.weight_hh_l0, self.dropconnect)
        # In one buffer, in cuDNN's order, as nn.LSTM keeps its own: cuDNN need not pack them again, nor warn.
        weights = (self.weight_ih_l0, dropped, self.bias_ih_l0, self.bias_hh_l0)
        buffer = torch.cat([weight.flatten() for weight in weights])
        parts = buffer.split([weight.numel() for weight in weights])
        packed = [part.view(weight.shape) for part, weight in zip(parts, weights, strict=True)]
        # has_biases, num_layers, dropout between layers, train, bidirectional, batch_first
        output, *after = torch._VF.lstm(inputs, state, packed, True, 1, 0.0, True, False, False)
        return output, tuple(after)
