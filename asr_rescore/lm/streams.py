"""A text cut into streams that are read in parallel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from asr_rescore.errors import UsageError


@dataclass(frozen=True)
class Chunk:
    """Some time steps of some streams.

    Attributes:
        inputs, labels: int64 (time, streams); each label's input is the token before it.
        positions: int64 (time, streams), the position of each label in the text.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor


class Streams:
    """A text cut into ``batch`` streams of equal length, which are read in parallel.

    Attributes:
        length: time steps of each stream, also ``len()`` of this object.
        shifts: int64 (batch,), the time step at which each stream begins; it wraps around at its end.

    Raises:
        UsageError: the text is too short for that many streams.
    """

    def __init__(self, ids: np.ndarray, batch: int, device: torch.device):
        length = len(ids) // batch
        if length < 2:
            raise UsageError(f"train: {len(ids)} tokens do not fill {batch} streams; lower train.batch")
        self.ids = torch.from_numpy(ids).to(device)
        self.length = length
        self.rotate(torch.zeros(batch, dtype=torch.int64))

    def __len__(self) -> int:
        return self.length

    def rotate(self, shifts: torch.Tensor) -> None:
        """Let each stream begin at its own shift; every token is still read once, after the token before it."""
        self.shifts = shifts
        device = self.ids.device
        steps = torch.arange(self.length).unsqueeze(1)  # (time, 1)
        begins = torch.arange(len(shifts)) * self.length  # (batch,)
        self.positions = (begins + (steps + shifts) % self.length).to(device)  # (time, batch)
        self.labels = self.ids[self.positions]
        # The first token has no token before it; it gets the last one, which is a sentence end.
        self.inputs = self.ids[self.positions - 1]

    def chunk(self, steps: slice, columns: slice) -> Chunk:
        """The given time steps of the given streams."""
        return Chunk(self.inputs[steps, columns], self.labels[steps, columns], self.positions[steps, columns])
