"""Rescoring by N-best lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr_rescore import kaldi
from asr_rescore.checkpoint import LoadedModel
from asr_rescore.errors import InputError, UsageError
from asr_rescore.failures import Failures
from asr_rescore.files import atomic_directory
from asr_rescore.fingerprint import COST_VERSION, Fingerprint
from asr_rescore.lattice import Lattice, from_paths
from asr_rescore.lm import CachedScorer, SentenceScorer
from asr_rescore.nbest import NO_LM, NBest
from asr_rescore.ranking import graph_costs
from asr_rescore.report import ReportWarning, SearchedWeights
from asr_rescore.rescoring.carry_over import CarryOver, chains_of
from asr_rescore.rescoring.choice_costs import Choices, CostParts
from asr_rescore.rescoring.config import ListConfig
from asr_rescore.rescoring.costed_lists import CostedLists, Winners
from asr_rescore.rescoring.diagnosis import NewLmFit, OldLmFit, WordCounts, oov_tests
from asr_rescore.rescoring.engine import Outcome
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.list_costs import ListCoster
from asr_rescore.rescoring.spool import Spool
from asr_rescore.rescoring.tuning_signs import flat_warnings, tuning_warnings
from asr_rescore.rescoring.weights import ChosenWeights
from asr_rescore.tuning import tune


@dataclass(frozen=True)
class ListEngine:
    """Costs N-best lists job by job into archives.JOB/, then weighs all of them together; see :class:`Engine`.

    Attributes:
        score_cache: directory of costs that this run or another computed before; None to compute all.
    """

    inputs: Inputs
    config: ListConfig
    out_dir: Path
    weights: ChosenWeights | None = None
    score_cache: Path | None = None
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.weights is None and not self.inputs.references:
            text = self.inputs.data_dir / "text"
            found = "no such file" if self.inputs.data.text is None else "an empty file"
            raise InputError(
                text, found=found, expected="references to tune on", remedy="give `weights` or `lm_weight`"
            )
        if self.config.normaliser == "int8" and self.score_cache is not None:
            raise UsageError(
                "with `normaliser` int8 a sentence's cost depends a little on the sentences that are costed with it; "
                "leave out `score_cache`"
            )
        if self.config.carry_over == "none":
            return
        if self.weights is None:
            raise UsageError(
                "`carry_over` continues from the best hypothesis: give `weights` or `lm_weight`, for example those "
                "tuned without it"
            )
        if self.score_cache is not None:
            raise UsageError("`carry_over` makes a sentence's cost depend on other sentences; leave out `score_cache`")

    @property
    def search(self) -> str:
        """See :class:`Engine`."""
        return f"N {self.config.n}"

    def facts(self) -> dict[str, Any]:
        """The weights and the chains of utterances, if an utterance's costs depend on other utterances."""
        if self.config.carry_over == "none" or self.weights is None:
            return {}
        return {
            "weights": asdict(self.weights.weights),
            "chains": Fingerprint({"chains": self._chains()}).digest,
        }

    def run_job(self, job: Job, failures: Failures) -> list[Path]:
        """Write archives.JOB/: words, and one file of costs per language model."""
        inputs = self.inputs
        scorers: list[SentenceScorer] = [self._scorer(lm) for lm in inputs.lms]
        carry_over = self._carry_over(job)
        coster = ListCoster(inputs.first_pass, self.config.n, inputs.old_lm_scorer(), scorers, failures, carry_over)
        folder = self.out_dir / f"archives.{job.number}"
        with atomic_directory(folder) as fresh, kaldi.NBestWriter(fresh) as writer:
            bar = inputs.first_pass.bar("costs", [job])
            for nbest in coster.lists(inputs.first_pass.lattices([job], failures), bar):
                writer.write(nbest)
        return sorted(folder.iterdir())

    def gather(self, jobs: int, failures: Failures) -> Outcome:
        """Tune the weights unless they are given, and write lat.JOB.gz with them.

        Lists are read one at a time, twice if weights are tuned.
        """
        inputs = self.inputs
        names = [lm.name for lm in inputs.lms]
        lists = CostedLists(self.out_dir, jobs, len(names), failures)
        weights = self.weights
        warnings: list[ReportWarning] = []
        searched: SearchedWeights | None = None
        everyone = Job.all(jobs)
        if weights is None:
            references = inputs.references_for_tuning
            shown = inputs.first_pass.bar("tuning", everyone).over(lists)
            tuning = tune(shown, references, len(names), self.config.points, compare=inputs.scoring.each_for_tuning)
            searched = SearchedWeights.of_grid(tuning.grid, self.config.points, tuning.by_weights)
            weights = ChosenWeights.tuned(tuning, inputs.hashes, inputs.data_dir, inputs.references, inputs.no_old_lm)
            warnings += [*tuning_warnings(weights, self.config.points, names), *flat_warnings(searched)]
        points = weights.points_to_score(self.config.points)
        parts = CostParts(weights.weights, names, inputs.no_old_lm)
        winners = Winners(weights.weights, points, weights.first_pass, inputs.compared_references, parts)
        word_counts = WordCounts()
        old_lm_fit = OldLmFit(inputs.old_lm_file)
        new_lm_fit = NewLmFit(names, oov_tests(inputs))

        def counted(job: Job) -> Iterator[NBest]:
            items = ((nbest, nbest.utt, nbest.words) for nbest in lists.of_job(job.number))
            for nbest, texts in inputs.scoring.each(items):
                winners.add(nbest, texts)
                word_counts.add(nbest.words)
                old_lm_fit.add(nbest.costs[NO_LM])
                if not inputs.no_old_lm:
                    new_lm_fit.add(nbest)
                yield nbest

        with inputs.first_pass.bar("lattices", everyone) as bar:
            for job in everyone:
                rescored = bar.passing(self._rescored(job, counted(job), weights.weights.lm))
                kaldi.write_lattices(self.out_dir / f"lat.{job.number}.gz", rescored, on_error=failures.add)
        kaldi.write_num_jobs(self.out_dir, jobs)
        warnings += [*old_lm_fit.warnings(), *word_counts.warnings(inputs), *new_lm_fit.warnings()]
        return Outcome(
            weights,
            winners.transcripts(),
            winners.at_points(),
            winners.of_first_pass(),
            winners.by_errors(),
            word_counts.oov(inputs),
            tuple(warnings),
            winners.by_depth(),
            searched,
            self._choices(winners, parts),
            new_lm_fit.results(),
        )

    def _choices(self, winners: Winners, parts: CostParts) -> Choices | None:
        """The hypotheses that the rescoring changed; None if the first pass's are known only as they are compared."""
        if self.inputs.scoring.hyp_filter is not None:
            return None
        by_word = self.config.carry_over == "none"  # else the costs depend on what was said before
        return Choices(self.inputs, winners.of_first_pass(), winners.transcripts(), parts, by_word)

    def _carry_over(self, job: Job) -> CarryOver | None:
        if self.config.carry_over == "none" or self.weights is None:
            return None
        files = len(kaldi.lattice_files(self.inputs.first_pass.decode_dir))
        if job.jobs > files:
            raise UsageError(
                f"`carry_over`: {job.jobs} jobs would have to share {files} lat.JOB.gz; give at most as many jobs"
            )
        scorers = [self.inputs.scorer(lm) for lm in self.inputs.lms]
        return CarryOver(self._chains(), scorers, self.weights.weights, self.out_dir)

    def _chains(self) -> list[list[str]]:
        return chains_of(self.inputs.data, kaldi.read_places(self.inputs.data_dir), self.config.carry_over)

    def _scorer(self, lm: LoadedModel) -> SentenceScorer:
        scorer = self.inputs.scorer(lm)
        if self.score_cache is None:
            return scorer
        facts = {
            "costs": COST_VERSION,
            "model": lm.hash,
            "normaliser": self.config.normaliser,
            "device": self.inputs.device.type,  # decides the last digits
        }
        oov_word = self.inputs.oov_word
        if oov_word is not None and lm.vocabulary.is_oov(oov_word):
            facts["oov_word"] = oov_word
        return CachedScorer(scorer, self.score_cache, Fingerprint(facts))

    def _rescored(
        self, job: Job, lists: Iterable[NBest], lm_weights: tuple[float, ...]
    ) -> Iterator[tuple[str, Lattice]]:
        """Each utterance's hypotheses as a prefix tree that keeps the words' times and acoustic costs.

        The old LM's part of the graph cost is replaced on the final weights, so that a path's total is exactly its
        list's.
        """
        first_pass = self.inputs.first_pass
        for lattice, nbest in self._paired(job, lists):
            paths = first_pass.paths(lattice, self.config.n)
            if NBest.of_paths(nbest.utt, paths, first_pass.words.word).words != nbest.words:
                raise _changed(job, nbest.utt)
            yield nbest.utt, from_paths(lattice, paths, graph_costs(nbest, lm_weights))

    def _paired(self, job: Job, lists: Iterable[NBest]) -> Iterator[tuple[Lattice, NBest]]:
        """Each list with its lattice. Lattices that the job made no list of are left out."""
        lattices = self.inputs.first_pass.lattices([job], Failures())  # the job has noted what fails
        if self.config.carry_over != "none":  # lists are in the order in which they were said
            with Spool[NBest](self.out_dir) as spool:
                spool.fill((nbest.utt, nbest) for nbest in lists)
                for utt, lattice in lattices:
                    if utt in spool:
                        yield lattice, spool[utt]
            return
        waiting = iter(lists)
        following = next(waiting, None)
        for utt, lattice in lattices:
            if following is not None and following.utt == utt:
                yield lattice, following
                following = next(waiting, None)
        if following is not None:
            raise _changed(job, following.utt)


def _changed(job: Job, utt: str) -> UsageError:
    return UsageError(
        f"{utt}: its lattice no longer gives the hypotheses of archives.{job.number}; "
        "remove the output directory and run again"
    )
