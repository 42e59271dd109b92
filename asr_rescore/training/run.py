"""A training run: what goes into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr_rescore.config import Config
from asr_rescore.corpus import TokenStream
from asr_rescore.fingerprint import Fingerprint
from asr_rescore.vocab import Vocabulary


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Everything that decides how a training ends, except the network itself.

    Attributes:
        config: the settings of model, objective and training.
        vocabulary: the vocabulary of the model and of both texts.
        train: text to train on.
        valid: text by which the best epoch is chosen.
        seed: seed of every random draw.
        directory: output directory for the model, the log and the state.
        facts: further facts for the model's provenance, e.g. the teachers.
        trained: whether the model already has trained weights; they count as the best until an epoch is better.
        tensorboard: directory for events, which TensorBoard shows; None: no events.
    """

    config: Config
    vocabulary: Vocabulary
    train: TokenStream
    valid: TokenStream
    seed: int
    directory: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = False
    tensorboard: Path | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """The facts that decide the result; a state on disk is only continued by a run with the same fingerprint."""
        return Fingerprint(
            {
                "config": self.config.to_dict(),
                "vocabulary": self.vocabulary.hash,
                "train": self.train.hash,
                "valid": self.valid.hash,
                "seed": self.seed,
                **self.facts,
            }
        )
