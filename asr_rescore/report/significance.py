"""How sure a word error rate is, and a difference between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.word_errors import ErrorCount

# 10,000 replications, as in Kaldi, in chunks that bound memory.
CHUNKS, CHUNK = 20, 500
SEED = 0  # of the drawing; figures must not change from one call to the next


def _resampled(*columns: Sequence[int]) -> np.ndarray:
    """Sums of each column over resampled utterances, (replications, columns); every column has a row an utterance."""
    random = np.random.default_rng(SEED)
    table = np.column_stack(columns)
    utterances = len(table)
    even = np.full(utterances, 1 / utterances)
    return np.concatenate([random.multinomial(utterances, even, size=CHUNK) @ table for _ in range(CHUNKS)])


def confidence(counts: Sequence[ErrorCount]) -> tuple[float, float]:
    """WER and half of its 95 % confidence interval, in percent, by bootstrap (Bisani and Ney 2004).

    Kaldi: compute-wer-bootci. Both are nan where there are no reference words.
    """
    if not any(count.reference_words for count in counts):
        return float("nan"), float("nan")
    errors, words = _resampled([count.errors for count in counts], [count.reference_words for count in counts]).T
    rates = 100 * errors[words > 0] / words[words > 0]
    return float(rates.mean()), float(1.96 * rates.std())


def probability_of_improvement(better: Mapping[str, ErrorCount], worse: Mapping[str, ErrorCount]) -> float:
    """How probable it is that ``better`` has fewer errors than ``worse`` on other data of this kind, in percent.

    Paired bootstrap: the share of replications of the utterances in which it has, ties counting half. (Both err on
    the same words, so that error counts decide as error rates would.)

    Raises:
        RescoreError: the two were not scored on the same utterances, or on none.
    """
    if better.keys() != worse.keys() or not better:
        raise RescoreError("only systems scored on the same utterances can be compared, and on one at least")
    [difference] = _resampled([better[utt].errors - worse[utt].errors for utt in better]).T
    return float(100 * ((difference < 0) + 0.5 * (difference == 0)).mean())
