"""The interface of every language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from asr_rescore.config import AnyModelConfig

# A recurrent state: tensors with the batch on dimension 1, in nested tuples whose shape depends on the model.
State: TypeAlias = "torch.Tensor | tuple[State, ...]"


@dataclass(frozen=True)
class Output:
    """The output of a model for a chunk of text.

    Attributes:
        log_probs: ln P of each word as the next word, (time, batch, vocabulary).
        state: after the last time step.
        raw: output of the last layer before dropout, (time, batch, cells), for TAR; None if the model has none.
        dropped: the same after dropout, for AR.
    """

    log_probs: torch.Tensor
    state: State
    raw: torch.Tensor | None = None
    dropped: torch.Tensor | None = None


@dataclass(frozen=True)
class LossOutput:
    """The output of a model for a chunk of text in training.

    Attributes:
        total: sum of the loss over all tokens, ().
        state, raw, dropped: see :class:`Output`.
    """

    total: torch.Tensor
    state: State
    raw: torch.Tensor | None = None
    dropped: torch.Tensor | None = None


# From ln P (chunk, vocabulary) of a slice of the time · batch tokens, and that slice, to losses (chunk,).
TokenLoss: TypeAlias = Callable[[torch.Tensor, slice], torch.Tensor]


class LanguageModel(nn.Module, ABC):
    """A network that reads word ids and gives a distribution over the next word.

    Attributes:
        config: the config from which ``models.build`` builds a model of the same kind and sizes.
        vocabulary_size: number of entries of the vocabulary.
        experts: softmaxes computed for each token; the memory of a batch is proportional to it.
    """

    config: AnyModelConfig
    vocabulary_size: int
    experts: int

    @abstractmethod
    def initial_state(self, batch: int, device: torch.device | str | None = None) -> State:
        """The state before any text, for ``batch`` parallel texts."""

    @abstractmethod
    def forward(self, ids: torch.Tensor, state: State) -> Output:
        """Read ``ids`` (time, batch), starting in ``state``."""

    def loss(self, ids: torch.Tensor, state: State, loss: TokenLoss, self_normalization: float = 0.0) -> LossOutput:
        """Read ``ids`` (time, batch) and sum up a loss of ln P.

        A model may call ``loss`` for some tokens at a time, so that it need not keep all distributions in memory. A
        model with normalisers Z adds ``self_normalization`` · (ln Z)² for each token.
        """
        output = self(ids, state)
        total = loss(output.log_probs.flatten(0, 1), slice(None)).sum()
        return LossOutput(total, output.state, output.raw, output.dropped)

    def start_self_normalised(self) -> None:
        """Initialise the model so that its normalisers are near one; called before training with self_normalization."""

    def read(self, ids: torch.Tensor, state: State) -> tuple[Any, State]:
        """Read ``ids`` (time, batch), but compute only what :meth:`word_log_probs` needs.

        Returns:
            The time · batch contexts, in a form that each kind of model chooses, and the state after the last time
            step.
        """
        output = self(ids, state)
        return output.log_probs.flatten(0, 1), output.state

    def word_log_probs(
        self, contexts: Any, rows: torch.Tensor, words: torch.Tensor, normaliser: torch.dtype | None = torch.float32
    ) -> torch.Tensor:
        """ln P of some words, which is cheaper than whole distributions.

        Args:
            contexts: the contexts from :meth:`read`.
            rows: int64 (asked,), the index of a context for each word.
            words: int64 (asked,), the words.
            normaliser: number format for normalisers; fewer bits are faster, but rounded. None: without normalisers,
                for a model that is trained to be self-normalised.

        Returns:
            ln P, (asked,).
        """
        log_probs: torch.Tensor = contexts[rows, words]
        return log_probs

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters; tied parameters count once."""
        return sum(parameter.numel() for parameter in self.parameters())


def select_state(state: State, indices: torch.Tensor) -> State:
    """The states of some texts of the batch: those at ``indices``, int64 (any,), in that order."""
    if isinstance(state, torch.Tensor):
        return state.index_select(1, indices)
    return tuple(select_state(part, indices) for part in state)


def join_states(states: list[State]) -> State:
    """Concatenate the states of several batches."""
    tensors = [state for state in states if isinstance(state, torch.Tensor)]
    if tensors:
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=1)
    return tuple(join_states(list(parts)) for parts in zip(*states, strict=True))


def detach_state(state: State) -> State:
    """The state, detached from the graph that computed it."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(detach_state(part) for part in state)


def flatten_state(state: State, name: str = "state") -> dict[str, torch.Tensor]:
    """The tensors of a state by their place in it, e.g. ``state.0.1``, for a file."""
    if isinstance(state, torch.Tensor):
        return {name: state}
    tensors: dict[str, torch.Tensor] = {}
    for i, part in enumerate(state):
        tensors.update(flatten_state(part, f"{name}.{i}"))
    return tensors


def unflatten_state(like: State, tensors: Mapping[str, torch.Tensor], name: str = "state") -> State:
    """The inverse of :func:`flatten_state`; the result is nested like ``like`` and on the same device."""
    if isinstance(like, torch.Tensor):
        return tensors[name].to(like.device)
    return tuple(unflatten_state(part, tensors, f"{name}.{i}") for i, part in enumerate(like))
