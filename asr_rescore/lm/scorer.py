"""What ranking needs of a language model: words in, costs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class SentenceScorer(Protocol):
    """Anything that computes the costs of sentences: a neural model, a model with its cache, the old LM."""

    def costs(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """−ln P of each sentence, its end included: float64 (sentences,). An empty sentence is allowed."""
