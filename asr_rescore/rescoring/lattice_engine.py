"""Rescoring of lattices, arc by arc."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from asr_rescore import kaldi
from asr_rescore.failures import Failures
from asr_rescore.lattice import Path as LatticePath
from asr_rescore.lattice import best_paths
from asr_rescore.ranking import OperatingPoint
from asr_rescore.rescoring.choice_costs import Choices
from asr_rescore.rescoring.chosen_texts import ChosenTexts
from asr_rescore.rescoring.config import LatticeConfig
from asr_rescore.rescoring.diagnosis import NewLmFit, OldLmFit, WordCounts, oov_tests
from asr_rescore.rescoring.engine import Outcome, Texts
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.lattice_costs import LatticeRescorer
from asr_rescore.rescoring.path_parts import PathParts
from asr_rescore.rescoring.weights import ChosenWeights

# The old LM costs the first pass's paths in groups: enough to share prefixes, few enough to hold.
GROUP_PATHS = 1000


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
        """The weights, which the arcs' costs and the beam depend on, and what is done without costs of the old LM."""
        return {"weights": asdict(self.weights.weights), "paths_without_old_cost": "kept"}  # not so in earlier versions

    def run_job(self, job: Job, failures: Failures) -> list[Path]:
        """Write lat.JOB.gz."""
        inputs = self.inputs
        scorers = [inputs.scorer(lm) for lm in inputs.lms]
        rescorer = LatticeRescorer(
            inputs.old_lm(), scorers, self.weights.weights, inputs.first_pass.words, self.config.limits
        )
        rescored = rescorer.rescore(inputs.first_pass.lattices([job], failures), failures)
        written = self.out_dir / f"lat.{job.number}.gz"
        kaldi.write_lattices(written, inputs.first_pass.bar("costs", [job]).over(rescored), on_error=failures.add)
        return [written]

    def gather(self, jobs: int, failures: Failures) -> Outcome:
        """Take the best path of each rescored lattice at every operating point."""
        for job in range(1, jobs + 1):
            # Left by a rescoring of N-best lists; readers would take them for this run's.
            shutil.rmtree(self.out_dir / f"archives.{job}", ignore_errors=True)
        kaldi.write_num_jobs(self.out_dir, jobs)
        inputs = self.inputs
        points = self.weights.points_to_score(self.config.points)
        transcripts, texts = self._rescored_texts(jobs, points, failures)
        first_pass = replace(inputs.first_pass, utterances=frozenset(transcripts))
        point = self.weights.first_pass
        word_counts = WordCounts()
        first_pass_texts = ChosenTexts()

        def best() -> Iterator[LatticePath]:
            every = Job.all(jobs)
            lattices = first_pass.lattices(every, Failures())  # the jobs have noted what fails
            for utt, lattice in inputs.first_pass.bar("first pass", every).over(lattices):
                word_counts.add_lattice(lattice, first_pass.words)
                [path] = best_paths(lattice, [point.acoustic_scale], [point.wip])
                if path is not None:
                    first_pass_texts.add(utt, [first_pass.words.to_words(path.words)])
                    yield path

        old_lm_fit = OldLmFit(inputs.old_lm_file)
        old_lm = inputs.old_lm()
        old_costs = array("d")
        paths = best()
        while some := list(islice(paths, GROUP_PATHS)):
            old = np.full(len(some), np.inf) if old_lm is None else old_lm.costs([path.words for path in some])
            old_costs.extend(old.tolist())
            known = np.isfinite(old)
            old_lm_fit.add(np.array([path.graph for path in some])[known] - old[known])
        new_lm_fit = NewLmFit([lm.name for lm in inputs.lms], oov_tests(inputs))
        if old_lm is not None:
            new_lm_fit.add_sample(first_pass_texts.of(0), np.array(old_costs), [inputs.scorer(lm) for lm in inputs.lms])
        before = first_pass_texts.of(0)
        parts = PathParts(inputs, self.out_dir, jobs, self.weights.weights, before, transcripts)
        filtered = inputs.scoring.hyp_filter is not None
        return Outcome(
            self.weights,
            transcripts,
            texts,
            inputs.scoring.hypotheses(before),
            oov=word_counts.oov(inputs),
            warnings=(*old_lm_fit.warnings(), *word_counts.warnings(inputs), *new_lm_fit.warnings()),
            choices=None if filtered else Choices(inputs, before, transcripts, parts),
            fits=new_lm_fit.results(),
        )

    def _rescored_texts(
        self, jobs: int, points: Sequence[OperatingPoint], failures: Failures
    ) -> tuple[Texts, dict[OperatingPoint, Texts]]:
        """The words of each rescored lattice's best path.

        Returns:
            Utterance → words at the point of the weights, and point → utterance → words as they are compared with the
            references.
        """
        rescored = replace(self.inputs.first_pass, decode_dir=self.out_dir)
        transcripts = ChosenTexts()
        texts = ChosenTexts()
        scales = [point.acoustic_scale for point in points]
        penalties = [point.wip for point in points]
        chosen = points.index(self.weights.weights.point)

        def best_texts() -> Iterator[tuple[str, str, list[list[str]]]]:
            every = Job.all(jobs)
            for utt, lattice in self.inputs.first_pass.bar("best paths", every).over(
                rescored.lattices(every, failures)
            ):
                paths = [path for path in best_paths(lattice, scales, penalties) if path is not None]
                if paths:  # a lattice has a path at every point, or at none
                    words = [rescored.words.to_words(path.words) for path in paths]
                    transcripts.add(utt, [words[chosen]])
                    yield utt, utt, words

        for utt, compared in self.inputs.scoring.each(best_texts()):
            texts.add(utt, compared)
        return transcripts.of(0), {point: texts.of(number) for number, point in enumerate(points)}
