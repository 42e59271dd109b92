"""Several language models as one: the arithmetic mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from asr_rescore.config import EnsembleConfig
from asr_rescore.errors import UsageError
from asr_rescore.models.base import LanguageModel, Output, State


class Ensemble(LanguageModel):
    """The arithmetic mean of the members' probabilities. The paper does not say which mean it takes.

    Args:
        members: models with the same vocabulary. Only the sizes are compared here; ``checkpoint.combine`` compares the
            words.

    Raises:
        UsageError: there are no members, or their vocabularies differ in size.
    """

    def __init__(self, members: Sequence[LanguageModel]):
        super().__init__()
        sizes = {member.vocabulary_size for member in members}
        if len(sizes) != 1:
            raise UsageError(f"an ensemble needs members with the same vocabulary, found sizes {sorted(sizes)}")
        self.config = EnsembleConfig(tuple(member.config for member in members))
        self.members = nn.ModuleList(members)
        self.vocabulary_size = sizes.pop()
        self.experts = max(member.experts for member in members)  # members compute one after the other

    @property
    def _models(self) -> list[LanguageModel]:
        return cast("list[LanguageModel]", list(self.members))  # to torch, a ModuleList has modules of any class

    def initial_state(self, batch: int, device: torch.device | str | None = None) -> State:
        """One state for each member."""
        return tuple(member.initial_state(batch, device) for member in self._models)

    def forward(self, ids: torch.Tensor, state: State) -> Output:
        """Read ``ids`` (time, batch) with every member."""
        outputs: list[Output] = [member(ids, part) for member, part in zip(self.members, state, strict=True)]
        log_sum = outputs[0].log_probs
        for output in outputs[1:]:
            log_sum = torch.logaddexp(log_sum, output.log_probs)
        return Output(log_sum - math.log(len(outputs)), tuple(output.state for output in outputs))

    def read(self, ids: torch.Tensor, state: State) -> tuple[Any, State]:
        """Read ``ids`` (time, batch) with every member; the contexts are one entry for each member."""
        parts = [member.read(ids, part) for member, part in zip(self._models, state, strict=True)]
        return tuple(contexts for contexts, _ in parts), tuple(after for _, after in parts)

    def word_log_probs(
        self, contexts: Any, rows: torch.Tensor, words: torch.Tensor, normaliser: torch.dtype | None = torch.float32
    ) -> torch.Tensor:
        """See the base class. The members compute one after the other."""
        pairs = zip(self._models, contexts, strict=True)
        parts = [member.word_log_probs(part, rows, words, normaliser) for member, part in pairs]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))
