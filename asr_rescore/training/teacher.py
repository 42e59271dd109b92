"""Where the distributions of the teacher come from while a student trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from asr_rescore.lm.streams import Chunk
from asr_rescore.models import LanguageModel, State, flatten_state, unflatten_state
from asr_rescore.objectives import SoftLabels


class Teacher(Protocol):
    """Gives the distribution Q over each token of an epoch, in the order in which the student reads the tokens."""

    @property
    def whole(self) -> bool:
        """Whether Q is given for all words, which some objectives need."""
        ...

    def start(self, streams: Sequence[int]) -> None:
        """Begin an epoch whose streams are read in groups of these sizes."""

    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Return Q for the chunk of one group, with its (time, streams) tokens in row-major order."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return what must be saved to continue in the middle of an epoch."""

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue from a saved state; called after :meth:`start`."""


class OnlineTeacher:
    """A model that reads the same text as the student, with its own recurrent state and without dropout.

    Args:
        model: on the same device as the student.
    """

    whole = True

    def __init__(self, model: LanguageModel):
        self.model = model.eval().requires_grad_(False)
        self.states: list[State] = []

    def start(self, streams: Sequence[int]) -> None:
        """Begin an epoch with zero states."""
        self.states = [self.model.initial_state(size) for size in streams]

    @torch.no_grad()
    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Read the chunk and return the distributions."""
        output = self.model(chunk.inputs, self.states[group])
        self.states[group] = output.state
        return SoftLabels.from_log_probs(output.log_probs.flatten(0, 1), chunk.labels.flatten())

    def state(self) -> dict[str, torch.Tensor]:
        """Return the recurrent states."""
        return flatten_state(tuple(self.states))

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the recurrent states."""
        self.states = list(unflatten_state(tuple(self.states), tensors))
