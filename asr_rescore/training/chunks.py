"""A text cut into parallel streams, and those into chunks of random length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from asr_rescore.config import TrainConfig
from asr_rescore.errors import UsageError

SHORTEST = 5  # a chunk's bounds: the first as in the reference,
LONGEST_OVER_BPTT = 40  # the second 110 at its bptt of 70


class Streams:
    """Inputs and labels of a text read in ``batch`` places at once.

    Attributes:
        inputs, labels: int64 (time, batch); each label's input is the token before it.
    """

    def __init__(self, ids: np.ndarray, batch: int, device: torch.device):
        length = len(ids) // batch
        if length < 2:
            raise UsageError(f"train: {len(ids)} tokens do not fill {batch} streams; lower train.batch")
        labels = torch.from_numpy(ids[: length * batch]).view(batch, length)
        inputs = torch.from_numpy(np.concatenate([ids[-1:], ids[: length * batch - 1]])).view(batch, length)
        self.labels = labels.t().contiguous().to(device)
        self.inputs = inputs.t().contiguous().to(device)

    def __len__(self) -> int:
        return len(self.inputs)


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
