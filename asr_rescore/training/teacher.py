"""Where the teacher's distributions come from while a student trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from asr_rescore.lm.streams import Chunk
from asr_rescore.models import LanguageModel, State, flatten_state, unflatten_state
from asr_rescore.objectives import SoftLabels


class Teacher(Protocol):
    """Gives Q for each chunk of an epoch, in the order in which the student reads them."""

    def start(self, streams: Sequence[int]) -> None:
        """Begin an epoch whose streams are read in groups of these sizes."""

    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Q of a group's chunk, its tokens in the order of (time, streams)."""

    def state(self) -> dict[str, torch.Tensor]:
        """What must be saved for going on in the middle of an epoch."""

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take up a saved state after :meth:`start`."""


class OnlineTeacher:
    """A model that reads beside the student, with a state of its own and no dropout.

    Args:
        model: on the student's device.
    """

    def __init__(self, model: LanguageModel):
        self.model = model.eval().requires_grad_(False)
        self.states: list[State] = []

    def start(self, streams: Sequence[int]) -> None:
        """Begin with zero states."""
        self.states = [self.model.initial_state(size) for size in streams]

    @torch.no_grad()
    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Read on."""
        output = self.model(chunk.inputs, self.states[group])
        self.states[group] = output.state
        return SoftLabels.from_log_probs(output.log_probs.flatten(0, 1), chunk.labels.flatten())

    def state(self) -> dict[str, torch.Tensor]:
        """The hidden states."""
        return flatten_state(tuple(self.states))

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take the hidden states back."""
        self.states = list(unflatten_state(tuple(self.states), tensors))
