"""The kinds of dropout in AWD-LSTM. Each mask is used for one forward pass, that is one BPTT chunk."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _mask(like: torch.Tensor, shape: tuple[int, ...], rate: float) -> torch.Tensor:
    """0 with probability ``rate``, otherwise 1 / (1 − rate), so that the expectation is 1."""
    return like.new_empty(shape).bernoulli_(1 - rate).div_(1 - rate)


def locked_dropout(inputs: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Dropout with one mask for all time steps: ``inputs`` (time, batch, ...), mask (1, batch, ...)."""
    if not training or rate == 0:
        return inputs
    return inputs * _mask(inputs, (1, *inputs.shape[1:]), rate)


def embed_with_row_dropout(ids: torch.Tensor, weight: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Embed ``ids`` (time, batch) with whole rows of ``weight`` (vocabulary, embedding) dropped.

    A dropped word is dropped everywhere in the chunk. The mask is looked up by id and not multiplied into the weights,
    since a chunk reads only a few rows of them.
    """
    embedded = F.embedding(ids, weight)  # (time, batch, embedding)
    if not training or rate == 0:
        return embedded
    return embedded * F.embedding(ids, _mask(weight, (len(weight), 1), rate))
