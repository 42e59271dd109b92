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

    Nothing is copied but the chunk that is asked for, so a text can be a memory-mapped file larger than the memory.

    Attributes:
        batch: number of streams.
        length: time steps of each stream, also ``len()`` of this object.
        shifts: int64 (batch,), the time step at which each stream begins; it wraps around at its end.

    Raises:
        UsageError: the text is too short for that many streams.
    """

    def __init__(self, ids: np.ndarray, batch: int, device: torch.device):
        length = len(ids) // batch
        if length < 2:
            raise UsageError(f"train: {len(ids)} tokens do not fill {batch} streams; lower train.batch")
        self.ids = np.asarray(ids)
        self.device = device
        self.batch = batch
        self.length = length
        self.rotate(torch.zeros(batch, dtype=torch.int64))

    def __len__(self) -> int:
        return self.length

    def rotate(self, shifts: torch.Tensor) -> None:
        """Let each stream begin at its own shift; every token is still read once, after the token before it."""
        self.shifts = shifts

    def chunk(self, steps: slice, columns: slice) -> Chunk:
        """The given time steps of the given streams."""
        streams = np.arange(self.batch)[columns]
        times = np.arange(*steps.indices(self.length))[:, np.newaxis]  # (time, 1)
        positions = streams * self.length + (times + self.shifts.numpy()[columns]) % self.length  # (time, streams)
        # The first token has no token before it; it gets the last one, which is a sentence end.
        return Chunk(
            inputs=self._on_device(self.ids[positions - 1]),
            labels=self._on_device(self.ids[positions]),
            positions=self._on_device(positions),
        )

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self.device)
