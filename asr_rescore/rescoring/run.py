"""A whole rescoring of N-best lists: its inputs checked, its shares costed, its result written."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from asr_rescore import __version__
from asr_rescore.checkpoint import LoadedModel
from asr_rescore.errors import UsageError
from asr_rescore.failures import Failures
from asr_rescore.kaldi import lattice_files, read_places
from asr_rescore.lm.score_cache import CachedScorer
from asr_rescore.ranking import Weights
from asr_rescore.rescoring.carry_over import CarryOver, chains
from asr_rescore.rescoring.config import Job, ListConfig
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.result import (
    Costed,
    Hypotheses,
    lattice_oracle,
    nbest_oracle,
    note_missing,
    points_to_score,
    write_lattices,
    write_report,
)
from asr_rescore.rescoring.share import Scorer, Signature, cost_share, is_done
from asr_rescore.rescoring.weights import WEIGHTS_FILE, ChosenWeights
from asr_rescore.tuning import tune


class Rescoring:
    """N-best lists costed share by share, then weighed together.

    Args:
        config: N, scales and operating points.
        inputs: read with the same ``config``.
        out_dir: becomes a decode directory.
        chosen: the weights; None to tune them, once all is costed.
        score_cache: directory of costs that were computed before, by this run or another.

    Raises:
        UsageError: history is to be carried over, but what is best is not known, or costs would be looked up that
            know of no history.
    """

    def __init__(
        self,
        config: ListConfig,
        inputs: Inputs,
        out_dir: Path,
        chosen: ChosenWeights | None = None,
        score_cache: Path | None = None,
    ):
        self.config, self.inputs, self.out_dir = config, inputs, out_dir
        self.chosen, self.score_cache = chosen, score_cache
        if config.carry_over != "none":
            if chosen is None:
                raise UsageError(
                    "--carry-over goes on from what is best: give --weights or --lm-weight, e.g. those tuned without it"
                )
            if score_cache is not None:
                raise UsageError("--carry-over makes a sentence's cost depend on others; leave out --score-cache")

    def cost(self, share: Job) -> None:
        """The dear part: N-best lists of one share and every model's costs, unless they are there already."""
        inputs, carries = self.inputs, self.config.carry_over != "none"
        files = len(lattice_files(inputs.first_pass.decode_dir))
        if carries and share.jobs > files:
            raise UsageError(
                f"--carry-over: {share.jobs} jobs would share {files} lat.JOB.gz, expected at most as many"
            )
        weights = utterances = carry_over = None
        if carries:
            weights = self.chosen.weights
            utterances = chains(inputs.data, read_places(inputs.data_dir), self.config.carry_over)
        signature = Signature.of(inputs.first_pass, inputs.grammar_file, inputs.hashes, share, weights, utterances)
        if is_done(self.out_dir, signature):
            return
        scorers = [self._scorer(lm) for lm in inputs.lms]
        if carries:
            carry_over = CarryOver(utterances, scorers, weights)
        grammar = inputs.grammar()
        cost_share(inputs.first_pass, grammar, scorers, self.config.n, share, self.out_dir, signature, carry_over)

    def _scorer(self, lm: LoadedModel) -> Scorer:
        scorer = self.inputs.scorer(lm)
        if self.score_cache is None:
            return scorer
        # What a cost's last digits depend on.
        key = f"{lm.hash}-{self.config.normaliser}-{self.inputs.device.type}-{__version__}"
        return CachedScorer(scorer, self.score_cache, key)

    def finish(self, jobs: int, with_lattice_oracle: bool = True) -> Failures:
        """The cheap part, once all shares are there: weights, lattices, word error rates, report.

        Args:
            jobs: how many shares there are.
            with_lattice_oracle: also find the lattices' best word sequences.

        Returns:
            What could not be done, which is in failed.txt too.
        """
        began = time.monotonic()
        failures, inputs = Failures(), self.inputs
        costed = Costed.read(self.out_dir, jobs, len(inputs.lms), failures)
        note_missing(inputs.first_pass.utterances, costed.lists.keys(), inputs.data.text, failures)
        chosen = self.chosen or self._tune(costed)
        chosen.save(self.out_dir / WEIGHTS_FILE)
        write_lattices(inputs.first_pass, costed, self.config.n, chosen.weights.lm, self.out_dir, jobs)
        if inputs.data.text is not None:
            hypotheses = self._hypotheses(costed, chosen, with_lattice_oracle)
            write_report(inputs, inputs.system, f"N {self.config.n}", hypotheses, chosen, failures, self.out_dir)
        failures.write(self.out_dir)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{self.out_dir}: done in {time.monotonic() - began:.1f} s, peak memory {peak:.2f} GiB")
        return failures

    def _hypotheses(self, costed: Costed, chosen: ChosenWeights, with_lattice_oracle: bool) -> Hypotheses:
        inputs, lm_weights = self.inputs, chosen.weights.lm
        points = points_to_score(self.config, chosen)
        no_weights = (0.0,) * len(lm_weights)
        return Hypotheses(
            {point: costed.hypotheses(Weights(lm_weights, point)) for point in points},
            costed.hypotheses(Weights(no_weights, chosen.first_pass)),
            nbest_oracle(costed, inputs.references),
            lattice_oracle(inputs.first_pass, costed.lists, inputs.references) if with_lattice_oracle else None,
        )

    def _tune(self, costed: Costed) -> ChosenWeights:
        inputs = self.inputs
        inputs.check_references()
        tuning = tune(costed.lists.values(), inputs.data.text, len(inputs.lms), self.config.points)
        return ChosenWeights.tuned(tuning, inputs.hashes, inputs.data_dir)
