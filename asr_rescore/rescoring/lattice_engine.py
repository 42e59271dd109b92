"""Rescoring of lattices, arc by arc."""

from __future__ import annotations

import shutil
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_rescore import kaldi
from asr_rescore.errors import UsageError
from asr_rescore.failures import Failures
from asr_rescore.lattice import best_path, best_paths
from asr_rescore.progress import progress_bar
from asr_rescore.ranking import OperatingPoint
from asr_rescore.rescoring.config import LatticeConfig
from asr_rescore.rescoring.engine import Outcome
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.lattice_costs import LatticeRescorer
from asr_rescore.rescoring.outcome import points_to_score
from asr_rescore.rescoring.weights import ChosenWeights


@dataclass(frozen=True)
class LatticeEngine:
    """Puts the new LMs' costs on the arcs of each lattice, in place of the old LM's, with weights that are given.

    Attributes:
        config: how far lattices are expanded, and operating points.
    """

    config: LatticeConfig

    @property
    def suffix(self) -> str:
        """See :class:`Engine`."""
        return ", lattices"

    @property
    def search(self) -> str:
        """See :class:`Engine`."""
        return f"lattices of order {self.config.order}, beam {self.config.beam:g}"

    def check(self, inputs: Inputs, weights: ChosenWeights | None) -> None:
        """See :meth:`Engine.check`."""
        _known(weights)

    def facts(self, inputs: Inputs, job: Job, weights: ChosenWeights | None) -> dict[str, Any]:
        """The weights, which the arcs' costs and the beam depend on."""
        return {"weights": asdict(_known(weights).weights)}

    def run_job(
        self, inputs: Inputs, job: Job, weights: ChosenWeights | None, out_dir: Path, failures: Failures
    ) -> list[Path]:
        """Write lat.JOB.gz."""
        first_pass = inputs.first_pass
        scorers = [inputs.scorer(lm) for lm in inputs.lms]
        rescorer = LatticeRescorer(
            inputs.grammar(), scorers, _known(weights).weights, first_pass.words, self.config.limits
        )
        lattices = progress_bar(first_pass.lattices(job, failures), unit="utt")
        written = out_dir / f"lat.{job.number}.gz"
        kaldi.write_lattices(written, rescorer.rescore(lattices, failures))
        # Left by a rescoring of N-best lists; readers would take them for this run's.
        shutil.rmtree(out_dir / f"archives.{job.number}", ignore_errors=True)
        return [written]

    def gather(
        self, inputs: Inputs, jobs: int, weights: ChosenWeights | None, out_dir: Path, failures: Failures
    ) -> Outcome:
        """Take the best path of each rescored lattice at every operating point."""
        weights = _known(weights)
        kaldi.write_num_jobs(out_dir, jobs)
        rescored = self._rescored_texts(inputs, weights, out_dir)
        done = rescored[weights.weights.point].keys()
        return Outcome(weights, rescored, _first_pass_texts(inputs, weights, done))

    def _rescored_texts(
        self, inputs: Inputs, weights: ChosenWeights, out_dir: Path
    ) -> dict[OperatingPoint, dict[str, list[str]]]:
        words = inputs.first_pass.words
        rescored = FirstPass(out_dir, words, inputs.first_pass.utterances, self.config)
        points = points_to_score(self.config, weights)
        scales = [point.acoustic_scale for point in points]
        penalties = [point.wip for point in points]
        texts: dict[OperatingPoint, dict[str, list[str]]] = {point: {} for point in points}
        for utt, lattice in rescored.lattices(Job(1, 1), Failures()):
            for point, path in zip(points, best_paths(lattice, scales, penalties), strict=True):
                if path is not None:
                    texts[point][utt] = words.to_words(path.words)
        return texts


def _known(weights: ChosenWeights | None) -> ChosenWeights:
    """The weights.

    Raises:
        UsageError: there are none, and lattices cannot be rescored to find them.
    """
    if weights is None:
        raise UsageError("lattices need known weights: give `weights` or `lm_weight`, tuned on N-best lists")
    return weights


def _first_pass_texts(inputs: Inputs, weights: ChosenWeights, utterances: Container[str]) -> dict[str, list[str]]:
    words = inputs.first_pass.words
    point = weights.first_pass
    texts = {}
    for utt, lattice in inputs.first_pass.lattices(Job(1, 1), Failures()):
        if utt in utterances:
            path = best_path(lattice, point.acoustic_scale, point.wip)
            if path is not None:
                texts[utt] = words.to_words(path.words)
    return texts
