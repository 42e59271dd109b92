"""An LSTM layer with DropConnect on its hidden-to-hidden weights, and its fast path on a GPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# cuDNN keeps the recurrent weights on the chip from step to step only if the sizes are multiples of these numbers and
# the precision is half.
CELL_MULTIPLE = 128
BATCH_MULTIPLE = 8
# Gradients of a mean over hundreds of tokens are near the lower end of float16's range, so they pass through the layer
# multiplied by this factor, or by a smaller one if they overflow. A power of two does not change any digit.
GRADIENT_SCALE = 2.0**12

Weights = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]  # input to hidden, hidden to hidden, biases
LstmState = tuple[torch.Tensor, torch.Tensor]  # hidden and cell, each (1, batch, cells)


class DropConnectLstm(nn.RNNBase):
    """An LSTM layer with dropout of its hidden-to-hidden weights in training, with one mask per forward pass.

    Its parameters are named, ordered and initialised as those of nn.LSTM.

    Args:
        inputs: width of the input.
        cells: width of the output.
        dropconnect: probability that a weight is dropped.

    Attributes:
        half_on_gpu: whether training on a GPU takes the fast path, in float16.
        gradient_scale: factor of the gradients on this path.
    """

    weight_ih_l0: torch.Tensor
    weight_hh_l0: torch.Tensor
    bias_ih_l0: torch.Tensor
    bias_hh_l0: torch.Tensor

    def __init__(self, inputs: int, cells: int, dropconnect: float):
        super().__init__("LSTM", inputs, cells)
        self.dropconnect = dropconnect
        self.half_on_gpu = False
        self.gradient_scale = GRADIENT_SCALE

    def forward(self, inputs: torch.Tensor, state: LstmState) -> tuple[torch.Tensor, LstmState]:
        """Map ``inputs`` (time, batch, inputs) to the output (time, batch, cells) and the state after it."""
        fast = self.training and self.half_on_gpu and inputs.is_cuda
        if not fast and (not self.training or self.dropconnect == 0):
            weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
            # As nn.LSTM calls it: biases, one layer, no dropout between layers, training, one direction, time first.
            output, hidden, cell = torch._VF.lstm(inputs, state, weights, True, 1, 0.0, self.training, False, False)
            return output, (hidden, cell)
        dropped = F.dropout(self.weight_hh_l0, self.dropconnect, self.training)
        weights = (self.weight_ih_l0, dropped, self.bias_ih_l0, self.bias_hh_l0)
        if not fast:
            return lstm(inputs, state, weights)
        return padded_lstm(inputs, state, weights, torch.float16, self.gradient_scale)


def lstm(inputs: torch.Tensor, state: LstmState, weights: Weights) -> tuple[torch.Tensor, LstmState]:
    """Compute an LSTM layer in training mode, with ``weights`` laid out as those of nn.LSTM."""
    # The weights are copied into one buffer in cuDNN's order, as nn.LSTM keeps them. Otherwise cuDNN copies them itself
    # in each call, and warns.
    buffer = torch.cat([weight.flatten() for weight in weights])
    parts = torch.split(buffer, [weight.numel() for weight in weights])
    packed = [part.view(weight.shape) for part, weight in zip(parts, weights, strict=True)]
    output, hidden, cell = torch._VF.lstm(inputs, state, packed, True, 1, 0.0, True, False, False)
    return output, (hidden, cell)


def padded_lstm(
    inputs: torch.Tensor,
    state: LstmState,
    weights: Weights,
    dtype: torch.dtype,
    gradient_scale: float = GRADIENT_SCALE,
) -> tuple[torch.Tensor, LstmState]:
    """Compute the layer in ``dtype``, padded with zeros up to cuDNN's multiples and with scaled gradients.

    A cell without weights stays zero: its gates are σ(0) = ½ and its candidate is tanh(0) = 0, so it does not influence
    the other cells. The results are those of :func:`lstm` up to the rounding of ``dtype``.
    """
    batch, width = inputs.shape[1:]
    cells = weights[1].shape[1]
    more_inputs = -width % CELL_MULTIPLE
    more_cells = -cells % CELL_MULTIPLE
    more_batch = -batch % BATCH_MULTIPLE

    def padded(weight: torch.Tensor, columns: int) -> torch.Tensor:
        gates = weight.view(4, cells, -1)  # each of the four gates has rows of its own
        wide = F.pad(gates, (0, columns, 0, more_cells)).flatten(0, 1)
        return _scaled(wide, 1 / gradient_scale).to(dtype)

    wide_weights = (
        padded(weights[0], more_inputs),
        padded(weights[1], more_cells),
        padded(weights[2], 0).flatten(),
        padded(weights[3], 0).flatten(),
    )
    wide_inputs = F.pad(_scaled(inputs, 1 / gradient_scale), (0, more_inputs, 0, more_batch)).to(dtype)
    hidden, cell = (F.pad(part, (0, more_cells, 0, more_batch)).to(dtype) for part in state)
    output, (hidden, cell) = lstm(wide_inputs, (hidden, cell), wide_weights)
    output = _scaled(output[:, :batch, :cells].to(inputs.dtype), gradient_scale)
    hidden, cell = (part[:, :batch, :cells].to(inputs.dtype) for part in (hidden, cell))
    return output, (hidden, cell)


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad * ctx.factor, None


def _scaled(tensor: torch.Tensor, factor: float) -> torch.Tensor:
    """Return ``tensor`` unchanged; in the backward pass, its gradient is multiplied by ``factor``."""
    same: torch.Tensor = _ScaledGradient.apply(tensor, factor)  # type: ignore[no-untyped-call]  # torch does not type apply
    return same
