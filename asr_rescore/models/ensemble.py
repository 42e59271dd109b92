"""Several language models as one: the arithmetic mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from asr_rescore.config import EnsembleConfig
from asr_rescore.errors import UsageError
from asr_rescore.models.base import LanguageModel, Output, State


class Ensemble(LanguageModel):
    """The mean of the members' probabilities. The paper does not say which mean; this one stays a distribution.

    Args:
        members: models over the same vocabulary; several directories' vocabularies are compared by
            ``checkpoint.combine``, here only their sizes can be.

    Raises:
        UsageError: no member, or members of different vocabulary sizes.
    """

    def __init__(self, members: Sequence[LanguageModel]):
        super().__init__()
        sizes = {member.vocabulary_size for member in members}
        if len(sizes) != 1:
            raise UsageError(f"an ensemble needs members of one vocabulary, found sizes {sorted(sizes)}")
        self.config = EnsembleConfig(tuple(member.config for member in members))
        self.members = nn.ModuleList(members)
        self.vocabulary_size = sizes.pop()
        self.experts = max(member.experts for member in members)  # one member is computed at a time

    def initial_state(self, batch: int, device: torch.device | str | None = None) -> State:
        """One state a member."""
        return tuple(member.initial_state(batch, device) for member in self.members)

    def forward(self, ids: torch.Tensor, state: State) -> Output:
        """Read ``ids`` (time, batch) with every member."""
        outputs = [member(ids, part) for member, part in zip(self.members, state, strict=True)]
        log_sum = outputs[0].log_probs
        for output in outputs[1:]:
            log_sum = torch.logaddexp(log_sum, output.log_probs)
        return Output(log_sum - math.log(len(outputs)), tuple(output.state for output in outputs))

    def read(self, ids: torch.Tensor, state: State) -> tuple[Any, State]:
        """Read ``ids`` (time, batch) with every member; the contexts are theirs."""
        contexts, after = zip(
            *(member.read(ids, part) for member, part in zip(self.members, state, strict=True)), strict=True
        )
        return contexts, after

    def word_log_probs(
        self, contexts: Any, rows: torch.Tensor, words: torch.Tensor, normaliser: torch.dtype | None = torch.float32
    ) -> torch.Tensor:
        """The mean of what the members say, one after the other."""
        pairs = zip(self.members, contexts, strict=True)
        parts = [member.word_log_probs(part, rows, words, normaliser) for member, part in pairs]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))
