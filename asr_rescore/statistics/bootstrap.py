"""Bootstrap: the confidence interval of a word error rate, and the significance of a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.word_errors import ErrorCount

REPLICATIONS = 10_000  # as in Kaldi
DRAWN = 1 << 18  # numbers that are drawn together, which bounds the memory; the result does not depend on it
SEED = 0  # fixed, so that every call gives the same result
DEVIATIONS = 1.96  # half the width of a 95 % interval, in standard deviations; as in Kaldi

Counts = Mapping[str, ErrorCount]  # utterance → errors


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
    return _mean_and_half(100 * errors[words > 0] / words[words > 0])


@dataclass(frozen=True)
class Gain:
    """How much better one system is than another, by paired bootstrap.

    Attributes:
        points: difference of the word error rates, in points of percent; above 0 if the first system is better.
        low, high: its 95 % interval, the mean of the replications ± 1.96 standard deviations.
        fewer: percent of the replications in which the first system makes fewer errors; ties count as no improvement,
            as in Kaldi's compute-wer-bootci.
        probability: the same, where ties count half, so that it is 50 for equal systems.
        units: how many utterances or speakers were resampled.
    """

    points: float
    low: float
    high: float
    fewer: float
    probability: float
    units: int


class PairedBootstrap:
    """The errors of several systems on the same resampled utterances, or on resampled speakers with all they said.

    Args:
        systems: name → utterance → errors.
        speakers: utterance → speaker, whose utterances are drawn together because they are not independent (Liu and
            Peng, "Statistical testing on ASR performance via blockwise bootstrap", 2019). None: utterances are drawn.

    Raises:
        RescoreError: the systems have different utterances, or none.
    """

    def __init__(self, systems: Mapping[str, Counts], speakers: Mapping[str, str] | None = None):
        utterances = list(next(iter(systems.values()), {}))
        if not utterances or any(counts.keys() != set(utterances) for counts in systems.values()):
            raise RescoreError("only systems that were scored on the same utterances, at least one, can be compared")
        units = utterances if speakers is None else [speakers[utt] for utt in utterances]
        place = {unit: index for index, unit in enumerate(dict.fromkeys(units))}
        index = np.array([place[unit] for unit in units])
        self.units = len(place)
        reference = next(iter(systems.values()))
        words = [reference[utt].reference_words for utt in utterances]
        columns = [[counts[utt].errors for utt in utterances] for counts in systems.values()]
        # A system whose missing hypotheses are left out would have fewer words; reports count them all.
        summed = [np.bincount(index, column, self.units).astype(np.int64) for column in (words, *columns)]
        self._words = sum(words)
        self._errors = {name: int(sum(column)) for name, column in zip(systems, columns, strict=True)}
        drawn = _resampled(*summed)  # type: ignore[arg-type]  # arrays are sequences of integers here
        self._drawn_words = drawn[:, 0]
        self._drawn = dict(zip(systems, drawn[:, 1:].T, strict=True))

    def rate(self, name: str) -> tuple[float, float]:
        """WER and half the width of its 95 % interval; :func:`confidence` gives the same where utterances are drawn."""
        some = self._drawn_words > 0
        return _mean_and_half(100 * self._drawn[name][some] / self._drawn_words[some])

    def gain(self, first: str, second: str) -> Gain:
        """How much better ``first`` is than ``second``."""
        difference = self._drawn[second] - self._drawn[first]
        some = self._drawn_words > 0
        mean, half = _mean_and_half(100 * difference[some] / self._drawn_words[some])
        return Gain(
            points=100 * (self._errors[second] - self._errors[first]) / self._words if self._words else float("nan"),
            low=mean - half,
            high=mean + half,
            fewer=float(100 * (difference > 0).mean()),
            probability=float(100 * ((difference > 0) + 0.5 * (difference == 0)).mean()),
            units=self.units,
        )


def _mean_and_half(rates: np.ndarray) -> tuple[float, float]:
    """The mean of the replications, and half the width of the 95 % interval around it."""
    if not len(rates):
        return float("nan"), float("nan")
    return float(rates.mean()), float(DEVIATIONS * rates.std())
