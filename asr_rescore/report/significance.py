"""Bootstrap: the confidence interval of a word error rate, and the significance of a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.word_errors import ErrorCount

REPLICATIONS = 10_000  # as in Kaldi
DRAWN = 1 << 18  # numbers that are drawn together, which bounds the memory; the result does not depend on it
SEED = 0  # fixed, so that every call gives the same result


def _resampled(*columns: Sequence[int]) -> np.ndarray:
    """Sums of each column over resampled utterances, (replications, columns); a column has one entry per utterance."""
    random = np.random.default_rng(SEED)
    table = np.column_stack(columns)
    utterances = len(table)
    uniform = np.full(utterances, 1 / utterances)
    chunk = max(1, DRAWN // utterances)
    sizes = [min(chunk, REPLICATIONS - begin) for begin in range(0, REPLICATIONS, chunk)]
    return np.concatenate([random.multinomial(utterances, uniform, size=size) @ table for size in sizes])


def confidence(counts: Sequence[ErrorCount]) -> tuple[float, float]:
    """WER and half the width of its 95 % confidence interval, in percent, by bootstrap (Bisani and Ney 2004).

    This is Kaldi's compute-wer-bootci. Both numbers are nan if there are no reference words.
    """
    if not any(count.reference_words for count in counts):
        return float("nan"), float("nan")
    errors, words = _resampled([count.errors for count in counts], [count.reference_words for count in counts]).T
    rates = 100 * errors[words > 0] / words[words > 0]
    return float(rates.mean()), float(1.96 * rates.std())


def probability_of_improvement(better: Mapping[str, ErrorCount], worse: Mapping[str, ErrorCount]) -> float:
    """The probability, in percent, that ``better`` makes fewer errors than ``worse`` on other data of the same kind.

    Paired bootstrap: the fraction of replications in which it makes fewer errors; ties count half. Comparing errors is
    the same as comparing error rates, since both systems have the same reference words.

    Raises:
        RescoreError: the two have different utterances, or none.
    """
    if better.keys() != worse.keys() or not better:
        raise RescoreError("only systems that were scored on the same utterances, at least one, can be compared")
    [difference] = _resampled([better[utt].errors - worse[utt].errors for utt in better]).T
    return float(100 * ((difference < 0) + 0.5 * (difference == 0)).mean())
