"""A whole rescoring of lattices: shares rescored one by one, then scored together."""

from __future__ import annotations

import resource
import time
from collections.abc import Container
from pathlib import Path

from tqdm import tqdm

from asr_rescore import kaldi
from asr_rescore.failures import Failures
from asr_rescore.lattice import best_path, best_paths
from asr_rescore.ranking import OperatingPoint
from asr_rescore.rescoring.config import Job, LatticeConfig
from asr_rescore.rescoring.first_pass import FirstPass
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.lattice_costs import LatticeRescorer
from asr_rescore.rescoring.result import (
    Hypotheses,
    Texts,
    lattice_oracle,
    note_missing,
    points_to_score,
    remove_jobs_beyond,
    write_report,
)
from asr_rescore.rescoring.share import Signature, read_failures
from asr_rescore.rescoring.weights import WEIGHTS_FILE, ChosenWeights


class LatticeRescoring:
    """Lattices whose graph costs get the new LMs' part on their arcs, in place of as much of the old one's.

    Args:
        config: how far lattices are expanded, and operating points.
        inputs: read with the same ``config``.
        chosen: the weights; the beam goes by them too.
        out_dir: becomes a decode directory.
    """

    def __init__(self, config: LatticeConfig, inputs: Inputs, chosen: ChosenWeights, out_dir: Path):
        self.config, self.inputs, self.chosen, self.out_dir = config, inputs, chosen, out_dir

    def rescore(self, share: Job) -> None:
        """The dear part: write a share's lat.JOB.gz, unless it is there already."""
        inputs, weights = self.inputs, self.chosen.weights
        signature = Signature.of(inputs.first_pass, inputs.grammar_file, inputs.hashes, share, weights)
        done, written = self._done_file(share.job), self.out_dir / f"lat.{share.job}.gz"
        # What is older than the lattices speaks of others, that were there before.
        if signature.is_of(done) and written.exists() and written.stat().st_mtime_ns <= done.stat().st_mtime_ns:
            return
        scorers = [inputs.scorer(lm) for lm in inputs.lms]
        words = inputs.first_pass.words
        rescorer = LatticeRescorer(inputs.grammar(), scorers, weights, words, self.config.limits)
        failures = Failures()
        lattices = tqdm(inputs.first_pass.lattices(share, failures), unit="utt", disable=None)
        kaldi.write_lattices(written, rescorer.rescore(lattices, failures))
        signature.save(done, failures)

    def finish(self, jobs: int, with_lattice_oracle: bool = True) -> Failures:
        """The cheap part, once all shares are there: word error rates and the report.

        Args:
            jobs: how many shares there are.
            with_lattice_oracle: also find the first pass's best word sequences.

        Returns:
            What could not be done, which is in failed.txt too.
        """
        began = time.monotonic()
        failures, inputs, chosen = Failures(), self.inputs, self.chosen
        for job in range(1, jobs + 1):
            for what, reason in read_failures(self._done_file(job)).items():
                failures.add(what, reason)
        remove_jobs_beyond(jobs, self.out_dir)
        kaldi.write_num_jobs(self.out_dir, jobs)
        chosen.save(self.out_dir / WEIGHTS_FILE)
        rescored = self._texts()
        done = rescored[chosen.weights.point].keys()
        note_missing(inputs.first_pass.utterances, done, inputs.data.text, failures)
        if inputs.data.text is not None:
            oracle = lattice_oracle(inputs.first_pass, done, inputs.references) if with_lattice_oracle else None
            search = f"lattices of order {self.config.order}, beam {self.config.beam:g}"
            hypotheses = Hypotheses(rescored, self._first_pass_texts(done), None, oracle)
            write_report(inputs, f"{inputs.system}, lattices", search, hypotheses, chosen, failures, self.out_dir)
        failures.write(self.out_dir)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{self.out_dir}: done in {time.monotonic() - began:.1f} s, peak memory {peak:.2f} GiB")
        return failures

    def _done_file(self, job: int) -> Path:
        return self.out_dir / f"rescored.{job}.json"

    def _first_pass_texts(self, utterances: Container[str]) -> Texts:
        words, point = self.inputs.first_pass.words, self.chosen.first_pass
        texts = {}
        for utt, lattice in self.inputs.first_pass.lattices(Job(1, 1), Failures()):
            if utt in utterances:
                path = best_path(lattice, point.acoustic_scale, point.wip)
                texts[utt] = [words.word(index) for index in path.words]
        return texts

    def _texts(self) -> dict[OperatingPoint, dict[str, list[str]]]:
        """The words of the rescored lattices' best paths at every point."""
        first_pass = self.inputs.first_pass
        rescored = FirstPass(self.out_dir, first_pass.words, first_pass.utterances, self.config)
        points = points_to_score(self.config, self.chosen)
        scales, penalties = [point.acoustic_scale for point in points], [point.wip for point in points]
        texts: dict[OperatingPoint, dict[str, list[str]]] = {point: {} for point in points}
        for utt, lattice in rescored.lattices(Job(1, 1), Failures()):
            for point, path in zip(points, best_paths(lattice, scales, penalties), strict=True):
                if path is not None:
                    texts[point][utt] = [first_pass.words.word(index) for index in path.words]
        return texts
