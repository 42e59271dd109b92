"""What every language model promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from asr_rescore.config import AnyModelConfig

# A recurrent state: tensors with the batch on dimension 1, in tuples nested as the model likes.
State: TypeAlias = "torch.Tensor | tuple[State, ...]"


@dataclass(frozen=True)
class Output:
    """What a model gives for a chunk of text.

    Attributes:
        log_probs: ln P of each word as the next one, (time, batch, vocabulary).
        state: after the last time step.
        raw: the last layer's output before dropout, (time, batch, cells), for TAR; None where there is none.
        dropped: the same after dropout, for AR.
    """

    log_probs: torch.Tensor
    state: State
    raw: torch.Tensor | None = None
    dropped: torch.Tensor | None = None


@dataclass(frozen=True)
class LossOutput:
    """What a model gives for a chunk of text that it is trained on.

    Attributes:
        total: the sum of the loss over all tokens, ().
        state, raw, dropped: see :class:`Output`.
    """

    total: torch.Tensor
    state: State
    raw: torch.Tensor | None = None
    dropped: torch.Tensor | None = None


# From ln P (chunk, vocabulary) of a slice of the time · batch tokens, and that slice, to a loss of each, (chunk,).
TokenLoss: TypeAlias = Callable[[torch.Tensor, slice], torch.Tensor]


class LanguageModel(nn.Module, ABC):
    """A network that reads word ids and gives a distribution over the next.

    Attributes:
        config: what ``models.build`` makes the like of it from.
        vocabulary_size: entries of its vocabulary.
        experts: softmaxes it computes for each token; what a batch's memory grows with.
    """

    config: AnyModelConfig
    vocabulary_size: int
    experts: int

    @abstractmethod
    def initial_state(self, batch: int, device: torch.device | str | None = None) -> State:
        """The state before any text, for ``batch`` texts side by side."""

    @abstractmethod
    def forward(self, ids: torch.Tensor, state: State) -> Output:
        """Read ``ids`` (time, batch) from ``state`` on."""

    def loss(self, ids: torch.Tensor, state: State, loss: TokenLoss, self_normalization: float = 0.0) -> LossOutput:
        """Read ``ids`` (time, batch) and sum up a loss of ln P.

        A model may call ``loss`` for some tokens at a time, and need not hold all its distributions. One that has
        normalisers adds ``self_normalization`` times their squared logarithm.
        """
        output = self(ids, state)
        total = loss(output.log_probs.flatten(0, 1), slice(None)).sum()
        return LossOutput(total, output.state, output.raw, output.dropped)

    def start_self_normalised(self) -> None:
        """Before training with ``self_normalization``: let normalisers begin near one, where they are to stay."""

    def read(self, ids: torch.Tensor, state: State) -> tuple[Any, State]:
        """Read ``ids`` (time, batch) as far as :meth:`word_log_probs` needs it.

        Returns:
            The time · batch contexts in a form of the model's own, and the state after the last time step.
        """
        output = self(ids, state)
        return output.log_probs.flatten(0, 1), output.state

    def word_log_probs(
        self, contexts: Any, rows: torch.Tensor, words: torch.Tensor, normaliser: torch.dtype | None = torch.float32
    ) -> torch.Tensor:
        """ln P of ``words`` (asked,) after the contexts ``rows`` (asked,) of what :meth:`read` gave.

        Where few words of each context are asked for, this is cheaper than the whole distribution. A ``normaliser`` of
        fewer bits allows the model to be faster still, at the price of some rounding; None tells one that was
        trained to be self-normalised to do without.
        """
        return contexts[rows, words]

    @property
    def num_parameters(self) -> int:
        """Trainable numbers, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


def select_state(state: State, indices: torch.Tensor) -> State:
    """The states of the given members of the batch, (any,) int64, in that order."""
    if isinstance(state, torch.Tensor):
        return state.index_select(1, indices)
    return tuple(select_state(part, indices) for part in state)


def join_states(states: list[State]) -> State:
    """The states of several batches as one batch."""
    if isinstance(states[0], torch.Tensor):
        return states[0] if len(states) == 1 else torch.cat(states, dim=1)
    return tuple(join_states(list(parts)) for parts in zip(*states, strict=True))


def detach_state(state: State) -> State:
    """The state cut off from the graph that computed it."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(detach_state(part) for part in state)


def flatten_state(state: State, name: str = "state") -> dict[str, torch.Tensor]:
    """The state's tensors by their place, as files hold them."""
    if isinstance(state, torch.Tensor):
        return {name: state}
    return {key: tensor for i, part in enumerate(state) for key, tensor in flatten_state(part, f"{name}.{i}").items()}


def unflatten_state(like: State, tensors: Mapping[str, torch.Tensor], name: str = "state") -> State:
    """The inverse of :func:`flatten_state`: nested and placed on the device as ``like`` is."""
    if isinstance(like, torch.Tensor):
        return tensors[name].to(like.device)
    return tuple(unflatten_state(part, tensors, f"{name}.{i}") for i, part in enumerate(like))
