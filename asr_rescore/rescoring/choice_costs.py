"""What the hypotheses of the first pass and of the rescoring cost where they differ: why one was chosen."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from asr_rescore.errors import RescoreError
from asr_rescore.nbest import ACOUSTIC, NO_LM, OLD_LM, NBest
from asr_rescore.ranking import Weights, neural_column
from asr_rescore.report import ChoiceCosts
from asr_rescore.report.choice_costs import OLD_LM_NAME, Pair
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.word_errors import ErrorCount

# Enough to read, and a second's work for a small LM: a thousandth of what the lists of these utterances took.
MOST_UTTERANCES = 500
Texts = Mapping[str, Sequence[str]]


Costs = tuple[float, float]  # of the first pass's hypothesis, and of the chosen one


class Parts(Protocol):
    """What the two hypotheses of an utterance cost, part by part, with the weights of a rescoring."""

    def of_all(
        self, utterances: Sequence[str], sentence_costs: Mapping[str, Mapping[str, Costs]]
    ) -> Mapping[str, Mapping[str, Costs]]:
        """The parts of some utterances whose hypothesis has changed.

        Args:
            utterances: their ids.
            sentence_costs: name of a language model → utterance → what it charges for the hypotheses, not weighted.

        Returns:
            utterance → name of a part → cost; utterances whose parts are not known are left out.
        """


def weighted_parts(nbest: NBest, weights: Weights, names: Sequence[str], no_old_lm: bool) -> dict[str, np.ndarray]:
    """The parts of the total cost of each hypothesis of a list, by name: float64 (hypotheses,) each.

    Args:
        nbest: has all columns.
        weights: those of the rescoring.
        names: the new LMs.
        no_old_lm: the old LM's column holds the whole graph cost.
    """
    point = weights.point
    parts = {"acoustic": nbest.costs[ACOUSTIC] * point.acoustic_scale}
    if not no_old_lm:
        parts["rest of the graph"] = nbest.costs[NO_LM]
    parts["graph" if no_old_lm else OLD_LM_NAME] = (1 - sum(weights.lm)) * nbest.costs[OLD_LM]
    for lm, name in enumerate(names):  # two models may have the same name
        parts[name] = parts.get(name, 0.0) + weights.lm[lm] * nbest.costs[neural_column(lm)]
    parts["word penalty"] = point.wip * nbest.word_counts
    return parts


class CostParts:
    """The parts of lists' hypotheses: kept when a list is read, for each utterance whose hypothesis changes.

    Args:
        weights: those of the rescoring.
        names: the new LMs.
        no_old_lm: the old LM's column holds the whole graph cost.
    """

    def __init__(self, weights: Weights, names: Sequence[str], no_old_lm: bool = False):
        self.weights = weights
        self.names = names
        self.no_old_lm = no_old_lm
        self._parts: tuple[str, ...] = ()
        self._rows: dict[str, int] = {}
        self._costs = array("f")

    def add(self, nbest: NBest, first: int, chosen: int) -> None:
        """Keep the costs of two hypotheses of a list; nothing if they have the same words."""
        if nbest.words[first] == nbest.words[chosen]:
            return
        parts = weighted_parts(nbest, self.weights, self.names, self.no_old_lm)
        self._parts = tuple(parts)
        self._rows[nbest.utt] = len(self._rows)
        self._costs.extend(float(costs[index]) for costs in parts.values() for index in (first, chosen))

    def of(self, utt: str) -> dict[str, Costs]:
        """Part → cost in the first pass's hypothesis and in the chosen one; empty if they are not known."""
        if utt not in self._rows:
            return {}
        width = 2 * len(self._parts)
        begin = self._rows[utt] * width
        costs = self._costs[begin : begin + width].tolist()
        return dict(zip(self._parts, zip(costs[::2], costs[1::2], strict=True), strict=True))

    def of_all(
        self, utterances: Sequence[str], sentence_costs: Mapping[str, Mapping[str, Costs]]
    ) -> Mapping[str, Mapping[str, Costs]]:
        """See :class:`Parts`. The lists' own costs are used."""
        return {utt: self.of(utt) for utt in utterances}


@dataclass(frozen=True)
class Choices:
    """The utterances whose hypothesis a rescoring changed.

    Attributes:
        inputs: the language models.
        first_pass, rescored: utterance → words, as they were recognised.
        parts: tells the costs by part.
        by_word: whether what a word costs depends on its own sentence only, so that it can be computed here.
    """

    inputs: Inputs
    first_pass: Texts
    rescored: Texts
    parts: Parts
    by_word: bool = True

    def costs(
        self, before: Mapping[str, ErrorCount], after: Mapping[str, ErrorCount]
    ) -> Iterator[tuple[str, ChoiceCosts]]:
        """The costs of at most ``MOST_UTTERANCES`` utterances, those whose errors changed most.

        Args:
            before, after: utterance → errors, to tell which changed most; the others count as unchanged.
        """

        def change(utt: str) -> tuple[int, str]:
            known = utt in before and utt in after
            return -abs(before[utt].errors - after[utt].errors) if known else 0, utt

        changed = [utt for utt, words in self.rescored.items() if words != self.first_pass.get(utt, words)]
        changed = sorted(sorted(changed, key=change)[:MOST_UTTERANCES])
        by_lm = {name: dict(zip(changed, pairs, strict=True)) for name, pairs in self._word_costs(changed)}
        sums = {
            name: {utt: (float(sum(pair[0])), float(sum(pair[1]))) for utt, pair in pairs.items()}
            for name, pairs in by_lm.items()
        }
        parts = self.parts.of_all(changed, sums)
        for utt in changed:
            words = {name: pairs[utt] for name, pairs in by_lm.items()}
            known = {name: pair for name, pair in words.items() if np.isfinite([*pair[0], *pair[1]]).all()}
            yield utt, ChoiceCosts(parts.get(utt, {}), known)

    def _word_costs(self, utterances: Sequence[str]) -> Iterator[tuple[str, list[Pair]]]:
        """Each language model's costs of the words; nothing from a model that cannot cost them."""
        if not self.by_word:
            return
        inputs = self.inputs
        texts = [text[utt] for utt in utterances for text in (self.first_pass, self.rescored)]
        scorers = [(lm.name, inputs.scorer(lm)) for lm in inputs.lms]
        old_lm = inputs.old_lm_scorer()
        for name, scorer in ([(OLD_LM_NAME, old_lm)] if old_lm is not None else []) + scorers:
            try:
                costs = [tuple(words.tolist()) for words in scorer.word_costs(texts)]
            except RescoreError:  # the jobs have noted why
                continue
            yield name, list(zip(costs[::2], costs[1::2], strict=True))
