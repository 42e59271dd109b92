"""The ranking of hypotheses by their costs and the weights of the language models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asr_rescore.errors import UsageError
from asr_rescore.nbest import ACOUSTIC, GRAPH, NEURAL, OLD_LM, NBest
from asr_rescore.ranges import FINITE, NON_NEGATIVE, POSITIVE

# The LMWT at which hypotheses are searched by default: that of Kaldi's steps/rnnlmrescore.sh, and the middle
# of the grid that is scored. Tuning chooses another LMWT afterwards.
USUAL_LMWT = 12.0


def neural_column(index: int) -> str:
    """Name of the cost column of the index-th neural LM, from 0: ``lmwt.rnn``, ``lmwt.rnn2``, …"""
    return NEURAL if index == 0 else f"{NEURAL}{index + 1}"


@dataclass(frozen=True)
class OperatingPoint:
    """How the acoustic cost is scaled and what each word costs, in Kaldi's terms.

    Attributes:
        lmwt: language model weight, the inverse of the acoustic scale.
        wip: word insertion penalty, a cost added for each word.
    """

    lmwt: float
    wip: float = 0.0

    def __post_init__(self) -> None:
        POSITIVE.check("LMWT", self.lmwt)
        FINITE.check("word insertion penalty", self.wip)

    @property
    def acoustic_scale(self) -> float:
        """1 / LMWT."""
        return 1.0 / self.lmwt

    @property
    def names(self) -> tuple[str, str]:
        """LMWT and word insertion penalty as Kaldi's file names have them: a whole LMWT without decimals, but 0.0."""
        return _shortest(self.lmwt), str(float(self.wip))


def _shortest(value: float) -> str:
    return str(int(value)) if value == int(value) else str(float(value))


@dataclass(frozen=True)
class Weights:
    """Everything that turns the cost columns of a hypothesis into one cost.

    Attributes:
        lm: one weight per neural LM, in the order of their columns; the old LM keeps one minus their sum.
        point: LMWT and word insertion penalty.
    """

    lm: tuple[float, ...]
    point: OperatingPoint

    def __post_init__(self) -> None:
        if not all(weight in NON_NEGATIVE for weight in self.lm) or sum(self.lm) > 1 + 1e-9:
            raise UsageError(f"LM weights are {self.lm}, expected numbers from 0 with a sum of at most 1")


def graph_costs(nbest: NBest, lm_weights: tuple[float, ...]) -> np.ndarray:
    """Graph costs with the LMs interpolated: nolm + Σ Wᵢ·nnᵢ + (1 − Σ Wᵢ)·old, float64 (hypotheses,).

    Computed as withlm + Σ Wᵢ·(nnᵢ − old), which is equal, so that weights of 0 change no bit of the first pass.

    Raises:
        UsageError: the list lacks a column that a weight needs.
    """
    costs: np.ndarray = nbest.costs[GRAPH].copy()
    for index, weight in enumerate(lm_weights):
        if weight:
            column = neural_column(index)
            missing = [name for name in (column, OLD_LM) if name not in nbest.costs]
            if missing:
                raise UsageError(
                    f"{nbest.utt}: found the costs {', '.join(nbest.costs)}, expected {missing[0]}; the costs of the "
                    f"new language model number {index + 1} are in {column}, those of the old one in {OLD_LM}"
                )
            costs += weight * (nbest.costs[column] - nbest.costs[OLD_LM])
    return costs


def total_costs(nbest: NBest, graph: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """acoustic / LMWT + graph + WIP · words, as Kaldi's score_kaldi.sh combines them.

    Args:
        nbest: gives the acoustic costs and word counts.
        graph: interpolated graph costs, (…, hypotheses).
        point: LMWT and WIP.

    Returns:
        float64 (…, hypotheses).
    """
    costs: np.ndarray = nbest.costs[ACOUSTIC] * point.acoustic_scale + graph + point.wip * nbest.word_counts
    return costs


def best_hypothesis(nbest: NBest, weights: Weights) -> int:
    """Index of the cheapest hypothesis; among equally cheap ones, the one that the first pass ranked higher."""
    return int(np.argmin(total_costs(nbest, graph_costs(nbest, weights.lm), weights.point)))
