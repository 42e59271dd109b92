"""The dropouts of AWD-LSTM; each mask lives for one forward pass, that is for one BPTT chunk."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _mask(like: torch.Tensor, shape: tuple[int, ...], rate: float) -> torch.Tensor:
    """Zeros with probability ``rate``, else 1 / (1 − rate), so that the expectation stays."""
    return like.new_empty(shape).bernoulli_(1 - rate).div_(1 - rate)


def locked_dropout(inputs: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Dropout with one mask for all time steps: ``inputs`` (time, batch, ...), mask (1, batch, ...)."""
    if not training or rate == 0:
        return inputs
    return inputs * _mask(inputs, (1, *inputs.shape[1:]), rate)


def embed_with_row_dropout(ids: torch.Tensor, weight: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Embed ``ids`` (time, batch) with whole rows of ``weight`` (vocabulary, embedding) dropped.

    A dropped word is gone from the whole chunk, wherever it stands. The mask is gathered with the ids rather than
    multiplied into the weights, of which a chunk reads but a few rows.
    """
    embedded = F.embedding(ids, weight)  # (time, batch, embedding)
    if not training or rate == 0:
        return embedded
    return embedded * F.embedding(ids, _mask(weight, (len(weight), 1), rate))
