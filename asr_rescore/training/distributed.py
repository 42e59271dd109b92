"""The processes of one training, as torchrun starts them: each reads its own streams, and all have the same weights."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from asr_rescore.checkpoint import checksum
from asr_rescore.errors import RescoreError, SaidElsewhere, UsageError
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.models import choose_device

# One process validates and writes while the others wait. If it dies, they learn it at once and not from the clock.
LONGEST_WAIT = timedelta(days=1)
LEAVING = 60.0  # seconds that the first to come to the end waits for the others: a machine of theirs may be gone
SEED_DISTANCE = 1_000_003  # between the seeds of two ranks, which must not draw the same dropout masks

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process and the others; by default, there are no others.

    Every method but :meth:`columns` and :meth:`seed` must be called by all processes, in the same order.

    Attributes:
        rank: the number of this process, from 0.
        count: how many there are.
        device: where this process computes.

    Raises:
        RescoreError: another process has ended; raised by every method that needs the others.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __str__(self) -> str:
        return str(self.device) if self.count == 1 else f"{self.count} × {self.device.type}"

    @property
    def first(self) -> bool:
        """Whether this process is the one that validates, writes and speaks."""
        return self.rank == 0

    def columns(self, batch: int) -> slice:
        """The streams of this process: an equal part of ``batch``, or one less.

        Raises:
            UsageError: there are more processes than streams.
        """
        if batch < self.count:
            raise UsageError(f"train: {batch} streams for {self.count} processes; raise train.batch or start fewer")
        return slice(batch * self.rank // self.count, batch * (self.rank + 1) // self.count)

    def seed(self, seed: int) -> int:
        """The seed for the random draws of this process alone; that of the first one is ``seed`` itself."""
        return (seed + self.rank * SEED_DISTANCE) % 2**63

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over all processes, bit for bit the same in each of them."""
        if self.count == 1:
            return
        with _others():
            sums = [dist.all_reduce(parameter.grad, async_op=True) for parameter in parameters]
            for work in sums:
                work.wait()

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.count == 1:
            return value
        summed = torch.tensor(value, dtype=torch.float64)
        with _others():
            dist.all_reduce(summed)
        return summed.item()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set in at least one process."""
        if self.count == 1:
            return flags
        counts = torch.tensor(flags, dtype=torch.int32)
        with _others():
            dist.all_reduce(counts)
        return tuple(bool(count) for count in counts)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(True)

    def from_first(self, value: Value) -> Value:
        """The plain value that the first process gives; those of the others are ignored."""
        if self.count == 1:
            return value
        values = [value]
        with _others():
            dist.broadcast_object_list(values)
        return values[0]

    def copy_first(self, model: torch.nn.Module) -> None:
        """Give the model of every process the weights of the first."""
        if self.count > 1:
            with _others():
                for tensor in model.state_dict().values():
                    dist.broadcast(tensor, 0)

    def gathered(self, tensors: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """The tensors of all processes by rank, on the CPU; an empty list in all processes but the first."""
        own = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        if self.count == 1:
            return [own]
        every: list[dict[str, torch.Tensor]] = [{} for _ in range(self.count)] if self.first else []
        with _others():
            dist.gather_object(own, every if self.first else None)
        return every

    def check_alike(self, run: Fingerprint) -> None:
        """Check that all processes have been started with the same run, before it begins.

        Raises:
            UsageError: they have not; the same error in all of them.
        """
        if self.count == 1:
            return
        first = Fingerprint(self.from_first(dict(run.facts)))
        differences = {name.partition(".")[0] for name in run.differences(first)}
        names = [*first.facts, "facts"]  # all that the first one has, and what only another has
        differ = self.any(*(name in differences for name in first.facts), not first.facts.keys() >= differences)
        if any(differ):
            found = ", ".join(name for name, flag in zip(names, differ, strict=True) if flag)
            raise UsageError(
                f"the {self.count} processes were started with different runs (different: {found}); give all of "
                "them the same files and settings"
            )

    def check_equal(self, model: torch.nn.Module) -> None:
        """Check that all processes have the same weights, bit for bit.

        Raises:
            RescoreError: they do not, because of the hardware or of different versions of the software.
        """
        if self.count == 1:
            return
        own = checksum(model.state_dict())
        if any(self.any(own != self.from_first(own))):
            raise RescoreError(
                f"the weights of the {self.count} processes differ; use the same hardware and software for all; "
                "run the same command again to continue from the last state"
            )


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """A context in which this process belongs to a training of several, if torchrun started it as one of several.

    If processes end with an error, one of them raises it and the others raise :class:`SaidElsewhere`.

    Args:
        device: see :func:`~asr_rescore.models.choose_device`. Each process on a machine gets a GPU of its own.

    Raises:
        UsageError: there are more processes than GPUs.
    """
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield Ranks(device=choose_device(device))
        return
    # torchrun keeps this store, so it outlives every process.
    store, rank, count = next(rendezvous("env://", timeout=LONGEST_WAIT))
    try:
        own = _own_device(device)
        backend = "gloo" if own.type == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=LONGEST_WAIT)
        yield Ranks(rank, count, own)
        _leave_together(store, count)
    except BaseException as error:
        if _said_before(store) and isinstance(error, (RescoreError, OSError, KeyboardInterrupt)):
            raise SaidElsewhere from error
        raise
    dist.destroy_process_group()


def _own_device(name: str) -> torch.device:
    device = choose_device(name)
    if device.type != "cuda":
        return device
    local = int(os.environ["LOCAL_RANK"])
    gpus = torch.cuda.device_count()
    if local >= gpus:
        raise UsageError(
            f"{os.environ['LOCAL_WORLD_SIZE']} processes on a machine with {gpus} GPUs; start one for each, or set "
            "`device` to cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _leave_together(store: Any, count: int) -> None:
    """Wait until all processes have done their work, for a minute at most.

    A process that ends with something unread in its connections closes them with a reset, and another process may lose
    what it was sent before. The store is not one of these connections.
    """
    end = time.monotonic() + LEAVING
    with suppress(RuntimeError):  # torchrun itself has ended, and this process has done its work
        left = store.add("left", 1)
        while left < count and time.monotonic() < end:
            time.sleep(0.01)
            left = store.add("left", 0)


def _said_before(store: Any) -> bool:
    """Whether another process has already ended with an error, which it then says."""
    try:
        return bool(store.add("ended", 1) > 1)
    except RuntimeError:  # torchrun itself has ended, and nobody can be asked
        return False


@contextmanager
def _others() -> Iterator[None]:
    """What needs the other processes: the end of one of them is an error of this package."""
    try:
        yield
    except RuntimeError as error:
        raise RescoreError(
            "another process of this training has ended; run the same command again to continue from the last state"
        ) from error
