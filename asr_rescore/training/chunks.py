"""How much text one training step reads: chunks of random length, and groups of streams."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from asr_rescore.config import TrainConfig

SHORTEST = 5  # tokens of the shortest chunk, as in the reference code
LONGEST_OVER_BPTT = 40  # how far a chunk may exceed bptt; the reference code allows 110 at its bptt of 70


def chunk_length(config: TrainConfig, generator: torch.Generator) -> int:
    """Draw the length of the next chunk from N(bptt, deviation), or sometimes N(bptt / 2, deviation), within bounds."""
    if config.bptt_deviation == 0 and config.bptt_half == 0:
        return config.bptt
    halved = torch.rand((), generator=generator).item() < config.bptt_half
    mean = config.bptt / 2 if halved else config.bptt
    drawn = torch.normal(mean, config.bptt_deviation, (1,), generator=generator).item()
    return min(max(SHORTEST, int(drawn)), config.bptt + LONGEST_OVER_BPTT)


def column_groups(columns: slice, small_batch: int) -> Iterator[slice]:
    """Yield those of the streams ``columns`` that go through the model together, group after group."""
    step = small_batch or columns.stop - columns.start
    for begin in range(columns.start, columns.stop, step):
        yield slice(begin, min(begin + step, columns.stop))
