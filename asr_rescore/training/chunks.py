"""A text cut into parallel streams, and those into chunks of random length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from asr_rescore.config import TrainConfig
from asr_rescore.errors import UsageError

SHORTEST = 5  # a chunk's bounds: the first as in the reference,
LONGEST_OVER_BPTT = 40  # the second 110 at its bptt of 70


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


def chunk_length(config: TrainConfig, generator: torch.Generator) -> int:
    """Length of the next chunk: N(bptt, or now and then half of it; deviation), within bounds."""
    if config.bptt_deviation == 0 and config.bptt_half == 0:
        return config.bptt
    halved = torch.rand((), generator=generator).item() < config.bptt_half
    mean = config.bptt / 2 if halved else config.bptt
    drawn = torch.normal(mean, config.bptt_deviation, (1,), generator=generator).item()
    return min(max(SHORTEST, int(drawn)), config.bptt + LONGEST_OVER_BPTT)


def column_groups(batch: int, small_batch: int) -> Iterator[slice]:
    """The streams that go through the model together, group after group."""
    step = small_batch or batch
    for begin in range(0, batch, step):
        yield slice(begin, min(begin + step, batch))
