"""How sure a word error rate is, and a difference between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.wer import ErrorCount

REPLICATIONS = 10_000
SEED = 0  # of the drawing; figures must not change from one call to the next


def _resampled(errors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """WER in percent of each replication, (replications, systems), for errors (utterances, systems)."""
    random = np.random.default_rng(SEED)
    utterances = len(words)
    weights = random.multinomial(utterances, np.full(utterances, 1 / utterances), size=REPLICATIONS)
    return 100 * (weights @ errors) / (weights @ words)[:, None]


def confidence(counts: Sequence[ErrorCount]) -> tuple[float, float]:
    """WER and half of its 95 % confidence interval, in percent, by bootstrap (Bisani and Ney 2004).

    Kaldi: compute-wer-bootci.
    """
    if not sum(count.reference_words for count in counts):
        return float("nan"), float("nan")
    errors = np.array([[count.errors] for count in counts])
    words = np.array([count.reference_words for count in counts])
    rates = _resampled(errors, words)[:, 0]
    return float(rates.mean()), float(1.96 * rates.std())


def probability_of_improvement(better: Mapping[str, ErrorCount], worse: Mapping[str, ErrorCount]) -> float:
    """How probable it is that ``better`` has fewer errors than ``worse`` on other data of this kind, in percent.

    Paired bootstrap: the share of replications of the utterances in which it has, ties counting half.

    Raises:
        RescoreError: the two were not scored on the same utterances.
    """
    if better.keys() != worse.keys():
        raise RescoreError("two systems of different utterances cannot be compared")
    errors = np.array([[better[utt].errors, worse[utt].errors] for utt in better])
    words = np.array([count.reference_words for count in better.values()])
    rates = _resampled(errors, words)
    return float(100 * ((rates[:, 0] < rates[:, 1]) + 0.5 * (rates[:, 0] == rates[:, 1])).mean())
