"""A training run: what it is made of, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_rescore.config import Config
from asr_rescore.corpus import TokenStream
from asr_rescore.vocab import Vocabulary


@dataclass(frozen=True)
class TrainingRun:
    """What a run is made of; a state on disk goes on only with the same run.

    Attributes:
        config: model, objective and training options.
        vocabulary: of the model and both texts.
        train, valid: texts.
        seed: of every random draw.
        directory: where model, log and state go.
        facts: for the model's provenance, e.g. the teachers.
        trained: whether the model is trained on from what it is, which stays the best until an epoch is better.
    """

    config: Config
    vocabulary: Vocabulary
    train: TokenStream
    valid: TokenStream
    seed: int
    directory: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that tell this run from any other."""
        return {
            "config": self.config.to_dict(),
            "vocabulary": self.vocabulary.hash,
            "train": self.train.hash,
            "valid": self.valid.hash,
            "seed": self.seed,
            **self.facts,
        }


@dataclass
class Progress:
    """Where a run stands; JSON-able."""

    epoch: int = 0  # epochs finished
    steps: int = 0  # updates of the weights
    position: int = 0  # time steps of the present epoch behind
    tokens: int = 0  # of this epoch so far
    loss: float = 0.0  # summed over them
    seconds: float = 0.0  # spent in this epoch so far
    # Cost per token after each epoch, nats; first of all that of the start, where a model is trained on.
    valid: list[float] = field(default_factory=list)
    averaged: int = 0  # steps in the mean of the weights; 0 until averaging starts
    finished: bool = False
