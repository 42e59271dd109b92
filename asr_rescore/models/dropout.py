"""The dropouts of AWD-LSTM; each mask lives for one forward pass, that is for one BPTT chunk."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def locked_dropout(inputs: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Dropout with one mask for all time steps: ``inputs`` (time, batch, ...), mask (1, batch, ...)."""
    if not training or rate == 0:
        return inputs
    mask = inputs.new_empty(1, *inputs.shape[1:]).bernoulli_(1 - rate).div_(1 - rate)
    return inputs * mask


def embed_with_row_dropout(ids: torch.Tensor, weight: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Embed ``ids`` (time, batch) with whole rows of ``weight`` (vocabulary, embedding) dropped: words, not units."""
    if training and rate:
        weight = weight * weight.new_empty(len(weight), 1).bernoulli_(1 - rate).div_(1 - rate)
    return F.embedding(ids, weight)
