"""An n-gram model in sorted arrays."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.ngram.backoff import BackoffLm, Entry, History


@dataclass(frozen=True, eq=False)
class NgramLevel:
    """All n-grams of one order.

    The key of an n-gram is p · V + w. Here w is the number of its last word, V the number of words, and p the place in
    the level below of the n-gram without its last word; p is 0 in the level of unigrams.

    Attributes:
        keys: int64 (n-grams,), ascending.
        costs: float64 (n-grams,), −ln p.
        backoffs: float64 (n-grams,), −ln of the back-off weights.
        is_history: bool (n-grams,), see :class:`Entry`.
    """

    keys: np.ndarray
    costs: np.ndarray
    backoffs: np.ndarray
    is_history: np.ndarray


class NgramTable(BackoffLm):
    """An n-gram model in which a word that it does not list is read as ``<unk>``.

    Args:
        levels: n-grams of one word, of two words, and so on. The unigram of word w is in place w.
        numbers: id in words.txt → number of the word in the model.
        bos, eos: numbers of sentence begin and end.
        unk: number of ``<unk>``; None if the model has none, so that unlisted words have no cost.
    """

    def __init__(self, levels: Sequence[NgramLevel], numbers: Mapping[int, int], bos: int, eos: int, unk: int | None):
        super().__init__(len(levels), bos, eos)
        self.levels = levels
        self.numbers = numbers
        self.unk = unk
        self.num_words = len(levels[0].keys)
        # For single numbers, bisect is several times faster on views of memory than on arrays.
        self._keys = [level.keys.data for level in levels]

    def number(self, word: int) -> tuple[int, int] | None:
        """See :class:`BackoffLm`."""
        number = self.numbers.get(word, self.unk)
        return None if number is None else (number, number)

    def find(self, ngram: History) -> Entry | None:
        """See :class:`BackoffLm`."""
        place = ngram[0]
        for keys, word in zip(self._keys[1:], ngram[1:], strict=False):
            key = place * self.num_words + word
            place = bisect_left(keys, key)
            if place == len(keys) or keys[place] != key:
                return None
        level = self.levels[len(ngram) - 1]
        return Entry(float(level.costs[place]), float(level.backoffs[place]), bool(level.is_history[place]))
