"""A text cut into parallel streams, read side by side."""

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
        positions: int64 (time, streams), where in the text each label stands.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor


class Streams:
    """A text read in ``batch`` places at once.

    Attributes:
        shifts: int64 (batch,), the time step at which each stream begins; it wraps around.
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
        """Let each stream begin elsewhere; every token is still read once, after the token before it."""
        self.shifts = shifts
        device, steps = self.ids.device, torch.arange(self.length)
        begins = torch.arange(len(shifts)) * self.length
        self.positions = (begins + (steps.unsqueeze(1) + shifts) % self.length).to(device)  # (time, batch)
        self.labels = self.ids[self.positions]
        # Before the text stands its last token, a sentence end.
        self.inputs = self.ids[self.positions - 1]

    def chunk(self, steps: slice, columns: slice) -> Chunk:
        """The given time steps of the given streams."""
        return Chunk(self.inputs[steps, columns], self.labels[steps, columns], self.positions[steps, columns])
