"""One LSTM layer with DropConnect on its hidden-to-hidden weights, and its fast path on a GPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# What cuDNN asks for before it keeps the recurrent weights on the chip from step to step: sizes that are multiples of
# these, and half precision.
CELL_MULTIPLE, BATCH_MULTIPLE = 128, 8
# Gradients of a mean over hundreds of tokens lie near the end of float16's range; they pass through the layer this much
# larger. A power of two changes no digit.
GRADIENT_SCALE = 2.0**12

Weights = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]  # input to hidden, hidden to hidden, biases
LstmState = tuple[torch.Tensor, ...]  # hidden and cell, each (1, batch, cells)


class DropConnectLstm(nn.LSTM):
    """An LSTM layer whose hidden-to-hidden weights are dropped, one mask a forward pass, in training only.

    Args:
        inputs: width of its input.
        cells: width of its output.
        dropconnect: probability of a weight to be dropped.

    Attributes:
        half_on_gpu: whether training on a GPU takes the fast path, in float16.
    """

    def __init__(self, inputs: int, cells: int, dropconnect: float):
        super().__init__(inputs, cells)
        self.dropconnect = dropconnect
        self.half_on_gpu = False

    def forward(self, inputs: torch.Tensor, state: LstmState) -> tuple[torch.Tensor, LstmState]:
        """``inputs`` (time, batch, inputs) → (time, batch, cells) and the state after it."""
        fast = self.training and self.half_on_gpu and inputs.is_cuda
        if not fast and (not self.training or self.dropconnect == 0):
            return super().forward(inputs, state)
        dropped = F.dropout(self.weight_hh_l0, self.dropconnect, self.training)
        weights = (self.weight_ih_l0, dropped, self.bias_ih_l0, self.bias_hh_l0)
        return padded_lstm(inputs, state, weights, torch.float16) if fast else lstm(inputs, state, weights)


def lstm(inputs: torch.Tensor, state: LstmState, weights: Weights) -> tuple[torch.Tensor, LstmState]:
    """A layer with the given weights, laid out as nn.LSTM's are."""
    # In one buffer, in cuDNN's order, as nn.LSTM keeps its own: cuDNN need not pack them again, nor warn.
    buffer = torch.cat([weight.flatten() for weight in weights])
    parts = buffer.split([weight.numel() for weight in weights])
    packed = [part.view(weight.shape) for part, weight in zip(parts, weights, strict=True)]
    # has_biases, num_layers, dropout between layers, train, bidirectional, batch_first
    output, *after = torch._VF.lstm(inputs, state, packed, True, 1, 0.0, True, False, False)
    return output, tuple(after)


def padded_lstm(
    inputs: torch.Tensor, state: LstmState, weights: Weights, dtype: torch.dtype
) -> tuple[torch.Tensor, LstmState]:
    """The same layer with zeros added up to cuDNN's multiples, computed in ``dtype``, its gradients scaled within.

    A cell without weights stays zero: its gates are σ(0) = ½ and its candidate is tanh(0) = 0, so that nothing of it
    reaches the others. The results are those of :func:`lstm` up to the rounding of ``dtype``.
    """
    batch, width = inputs.shape[1:]
    cells = weights[1].shape[1]
    more_inputs, more_cells = -width % CELL_MULTIPLE, -cells % CELL_MULTIPLE
    more_batch = -batch % BATCH_MULTIPLE

    def padded(weight: torch.Tensor, columns: int) -> torch.Tensor:
        gates = weight.view(4, cells, -1)  # each of the four gates has rows of its own
        return F.pad(gates, (0, columns, 0, more_cells)).flatten(0, 1)

    wide = (
        padded(weights[0], more_inputs),
        padded(weights[1], more_cells),
        *(padded(bias, 0).flatten() for bias in weights[2:]),
    )
    wide = tuple(_scaled(weight, 1 / GRADIENT_SCALE).to(dtype) for weight in wide)
    wide_inputs = F.pad(_scaled(inputs, 1 / GRADIENT_SCALE), (0, more_inputs, 0, more_batch)).to(dtype)
    wide_state = tuple(F.pad(part, (0, more_cells, 0, more_batch)).to(dtype) for part in state)
    output, after = lstm(wide_inputs, wide_state, wide)
    output = _scaled(output[:, :batch, :cells].to(inputs.dtype), GRADIENT_SCALE)
    return output, tuple(part[:, :batch, :cells].to(inputs.dtype) for part in after)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad * ctx.factor, None


def _scaled(tensor: torch.Tensor, factor: float) -> torch.Tensor:
    """The tensor itself; the gradient that comes back through it is multiplied by ``factor``."""
    return _ScaledGradient.apply(tensor, factor)
