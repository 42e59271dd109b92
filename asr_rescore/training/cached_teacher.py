"""A teacher whose distributions are read from a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from asr_rescore.errors import InputError
from asr_rescore.lm.streams import Chunk
from asr_rescore.objectives import SoftLabels
from asr_rescore.training.cache_job import JoinedRows
from asr_rescore.training.teacher_cache import SCALE, WEIGHTS_FILE, WORDS_FILE, Table, TeacherCache

# Rounded probabilities sum to 1 ± 0.001 at most; anything further off is damage.
WORST_SUM = 0.02


def _copied(table: Table, device: torch.device) -> torch.Tensor:
    parts = table.parts if isinstance(table, JoinedRows) else [table]
    return torch.cat([torch.from_numpy(part).to(device) for part in parts])


class CachedTeacher:
    """A teacher whose distributions are read from a cache.

    Args:
        cache: made with the training text of the student.
        device: the device of the student. A GPU holds the whole cache if twice its size is free; otherwise the rows of
            each chunk are copied to it.
    """

    def __init__(self, cache: TeacherCache, device: torch.device):
        self.device = device
        self.cache = cache
        self.weights: Table | torch.Tensor = cache.weights
        self.label: Table | torch.Tensor = cache.label
        self.words: Table | torch.Tensor | None = cache.words
        size = cache.weights.nbytes + (0 if cache.words is None else cache.words.nbytes)
        if device.type == "cuda" and 2 * size < torch.cuda.mem_get_info(device)[0]:
            self.weights = _copied(cache.weights, device)
            self.label = _copied(cache.label, device)
            self.words = None if cache.words is None else _copied(cache.words, device)

    @property
    def whole(self) -> bool:
        """Whether the cache has all words of each distribution."""
        return self.words is None

    def _check(self, weights: torch.Tensor, words: torch.Tensor | None) -> None:
        """Refuse rows that no teacher wrote: a damaged disk would otherwise teach the student nonsense."""
        sums = weights.sum(-1, dtype=torch.float32) / SCALE
        if not ((sums - 1).abs() < WORST_SUM).all():
            where = self.cache.directory / WEIGHTS_FILE
            found = "probabilities that do not sum to 1"
        elif words is not None and not ((words >= 0) & (words < self.cache.vocabulary_size)).all():
            where = self.cache.directory / WORDS_FILE
            found = "a word that is not in the vocabulary"
        else:
            return
        expected = "distributions over the teacher's vocabulary"
        raise InputError(where, found=found, expected=expected, remedy="remove the directory and make the cache again")

    def start(self, streams: Sequence[int]) -> None:
        """Do nothing: every position has its own row, so there is no state."""

    def soft_labels(self, chunk: Chunk, group: int) -> SoftLabels:
        """Return the rows of the chunk's positions."""
        positions = chunk.positions.flatten()
        weights = self._rows(self.weights, positions)
        words = None if self.words is None else self._rows(self.words, positions).to(torch.int64)
        self._check(weights, words)
        return SoftLabels(weights, self._rows(self.label, positions), words, 1 / SCALE)

    def _rows(self, table: Table | torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        if isinstance(table, torch.Tensor):
            return table[positions]
        return torch.from_numpy(np.asarray(table[positions.cpu().numpy()])).to(self.device)

    def state(self) -> dict[str, torch.Tensor]:
        """Return nothing: there is no state."""
        return {}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Do nothing: there is no state."""
