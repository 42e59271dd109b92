"""Rescoring of lattices, arc by arc."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asr_rescore import kaldi
from asr_rescore.failures import Failures
from asr_rescore.lattice import best_paths
from asr_rescore.progress import progress_bar
from asr_rescore.ranking import OperatingPoint
from asr_rescore.rescoring.config import LatticeConfig
from asr_rescore.rescoring.engine import Outcome
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.lattice_costs import LatticeRescorer
from asr_rescore.rescoring.weights import ChosenWeights


@dataclass(frozen=True)
class LatticeEngine:
    """Puts the new LMs' costs on the arcs of each lattice, in place of the old LM's; see :class:`Engine`."""

    inputs: Inputs
    config: LatticeConfig
    out_dir: Path
    weights: ChosenWeights
    suffix: str = ", lattices"

    @property
    def search(self) -> str:
        """See :class:`Engine`."""
        return f"lattices of order {self.config.order}, beam {self.config.beam:g}"

    def facts(self) -> dict[str, Any]:
        """The weights, which the arcs' costs and the beam depend on."""
        return {"weights": asdict(self.weights.weights)}

    def run_job(self, job: Job, failures: Failures) -> list[Path]:
        """Write lat.JOB.gz."""
        inputs = self.inputs
        scorers = [inputs.scorer(lm) for lm in inputs.lms]
        rescorer = LatticeRescorer(
            inputs.grammar(), scorers, self.weights.weights, inputs.first_pass.words, self.config.limits
        )
        lattices = progress_bar(inputs.first_pass.lattices(job, failures), unit="utt")
        written = self.out_dir / f"lat.{job.number}.gz"
        kaldi.write_lattices(written, rescorer.rescore(lattices, failures))
        # Left by a rescoring of N-best lists; readers would take them for this run's.
        shutil.rmtree(self.out_dir / f"archives.{job.number}", ignore_errors=True)
        return [written]

    def gather(self, jobs: int, failures: Failures) -> Outcome:
        """Take the best path of each rescored lattice at every operating point."""
        kaldi.write_num_jobs(self.out_dir, jobs)
        first_pass = self.inputs.first_pass
        rescored = FirstPass(self.out_dir, first_pass.words, first_pass.utterances, self.config)
        points = self.weights.points_to_score(self.config.points)
        texts = _best_texts(rescored, points)
        done = replace(first_pass, utterances=frozenset(texts[self.weights.weights.point]))
        first_pass_texts = _best_texts(done, [self.weights.first_pass])
        return Outcome(self.weights, texts, first_pass_texts[self.weights.first_pass])


def _best_texts(
    first_pass: FirstPass, points: Sequence[OperatingPoint]
) -> dict[OperatingPoint, dict[str, Sequence[str]]]:
    """The words of each lattice's best path at each point: point → utterance → words."""
    scales = [point.acoustic_scale for point in points]
    penalties = [point.wip for point in points]
    texts: dict[OperatingPoint, dict[str, Sequence[str]]] = {point: {} for point in points}
    for utt, lattice in first_pass.lattices(Job(1, 1), Failures()):
        for point, path in zip(points, best_paths(lattice, scales, penalties), strict=True):
            if path is not None:
                texts[point][utt] = [first_pass.words.word(index) for index in path.words]
    return texts
