"""The costs, part by part, of the paths that the first pass and the rescoring chose in a lattice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asr_rescore.failures import Failures
from asr_rescore.lattice import Lattice, best_path_of
from asr_rescore.nbest import ACOUSTIC, GRAPH, NO_LM, OLD_LM, NBest
from asr_rescore.ranking import Weights, neural_column
from asr_rescore.report.choice_costs import OLD_LM_NAME
from asr_rescore.rescoring.choice_costs import Costs, Texts, weighted_parts
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job

# What the lattice charges beyond the parts, because it has costs of other histories that end in the same words.
MERGED = "merged histories"
ROUNDING = 0.01  # nats; costs in files are float32, and the page shows tenths


@dataclass(frozen=True)
class PathParts:
    """The parts of two paths of each lattice; see :class:`~asr_rescore.rescoring.choice_costs.Parts`.

    The acoustic cost and the graph cost of a path are those of the first pass's lattice. A language model's cost is
    that of the sentence, as in an N-best list. What the rescored lattice charges beyond these is the part ``MERGED``.

    Attributes:
        inputs: the first pass and the language models.
        out_dir: the rescored lattices.
        jobs: how many jobs wrote them.
        weights: those of the rescoring.
        first_pass, rescored: utterance → words of the two paths.
    """

    inputs: Inputs
    out_dir: Path
    jobs: int
    weights: Weights
    first_pass: Texts
    rescored: Texts

    def of_all(
        self, utterances: Sequence[str], sentence_costs: Mapping[str, Mapping[str, Costs]]
    ) -> Mapping[str, Mapping[str, Costs]]:
        """See :class:`Parts`. Lattices are read again, for these utterances only.

        An utterance is left out if its lattice lacks one of the paths by now, or a language model has no cost for one.
        """
        before = replace(self.inputs.first_pass, utterances=frozenset(utterances))
        totals = dict(self._totals(replace(before, decode_dir=self.out_dir)))
        found = {}
        for utt, lattice in before.lattices(Job.all(self.jobs), Failures()):
            nbest = self._first_pass_costs(utt, lattice)
            if nbest is None or utt not in totals:
                continue
            costs = {name: of_lm[utt] for name, of_lm in sentence_costs.items()}
            parts = self._parts(nbest, totals[utt], costs)
            if parts:
                found[utt] = parts
        return found

    def _parts(self, nbest: NBest, totals: np.ndarray, costs: Mapping[str, Costs]) -> dict[str, Costs]:
        """The parts of an utterance; empty if a language model's costs are not known.

        Args:
            nbest: two hypotheses with the costs of the first pass.
            totals: what the rescored lattice charges for them, (2,); NaN if it lacks one.
            costs: name of a language model → what it charges for them.
        """
        names = [lm.name for lm in self.inputs.lms]
        no_old_lm = self.inputs.no_old_lm
        weights = self.weights
        kept = self._as_before(nbest, totals)
        if kept:
            weights = replace(weights, lm=(0.0,) * len(names))
        if len(set(names)) < len(names):  # their costs are not told apart
            return {}
        needed = [*([] if no_old_lm else [OLD_LM_NAME]), *([] if kept else names)]
        if not all(name in costs for name in needed):
            return {}
        old = nbest.costs[GRAPH] if no_old_lm else np.array(costs[OLD_LM_NAME])
        known = np.isfinite(old)  # a path that the old LM lacks keeps its first-pass cost
        old = np.where(known, old, 0.0)
        nbest = nbest.with_cost(OLD_LM, old).with_cost(NO_LM, nbest.costs[GRAPH] - old)
        for number, name in enumerate(names):
            new = np.zeros(2) if kept else np.where(known, costs[name], 0.0)
            nbest = nbest.with_cost(neural_column(number), new)
        parts = weighted_parts(nbest, weights, names, no_old_lm)
        beyond = np.nan_to_num(totals - sum(parts.values()))
        if np.abs(beyond).max() >= ROUNDING:
            parts[MERGED] = beyond
        return {name: (float(part[0]), float(part[1])) for name, part in parts.items()}

    def _as_before(self, nbest: NBest, totals: np.ndarray) -> bool:
        """Whether the lattice kept the costs of the first pass, for example because a model had no cost for a word."""
        before = (
            nbest.costs[GRAPH]
            + self.weights.point.acoustic_scale * nbest.costs[ACOUSTIC]
            + self.weights.point.wip * nbest.word_counts
        )
        return bool((np.abs(totals - before) < ROUNDING).all())  # never where the beam has cut a path

    def _totals(self, rescored: FirstPass) -> Iterator[tuple[str, np.ndarray]]:
        """What each rescored lattice charges for the two hypotheses, float64 (2,); NaN where the beam has cut one."""
        point = self.weights.point
        for utt, lattice in rescored.lattices(Job.all(self.jobs), Failures()):
            totals = np.full(2, np.nan)
            for place, words in enumerate((self.first_pass[utt], self.rescored[utt])):
                path = best_path_of(lattice, self._ids(words), point.acoustic_scale)
                if path is not None:
                    totals[place] = path.graph + point.acoustic_scale * path.acoustic + point.wip * len(words)
            if np.isfinite(totals[1]):
                yield utt, totals

    def _first_pass_costs(self, utt: str, lattice: Lattice) -> NBest | None:
        """The two hypotheses as a list, with the costs of the first pass; None if the lattice lacks one of them."""
        scale = self.weights.point.acoustic_scale
        both = [best_path_of(lattice, self._ids(texts[utt]), scale) for texts in (self.first_pass, self.rescored)]
        paths = [path for path in both if path is not None]
        return NBest.of_paths(utt, paths, self.inputs.first_pass.words.word) if len(paths) == 2 else None

    def _ids(self, words: Sequence[str]) -> list[int]:
        return [self.inputs.first_pass.words.id(word) for word in words]
