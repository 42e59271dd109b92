"""The cheap half of rescoring N-best lists: lists are read one at a time, and only the best hypotheses are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from asr_rescore import kaldi
from asr_rescore.errors import InputError
from asr_rescore.failures import Failures
from asr_rescore.nbest import NBest
from asr_rescore.ranking import OperatingPoint, Weights, best_hypothesis, graph_costs, neural_column, total_costs
from asr_rescore.report import AtDepth
from asr_rescore.rescoring.choice_costs import CostParts
from asr_rescore.rescoring.chosen_texts import ChosenTexts
from asr_rescore.rescoring.depths import ErrorsByDepth
from asr_rescore.rescoring.engine import Texts
from asr_rescore.word_errors import edit_distances


class CostedLists:
    """The N-best lists of all jobs, each with every model's costs.

    They are read from archives.1, archives.2, … each time, list by list. If several jobs have a list of an utterance,
    that of the first job is used, and the others are noted as failures.

    Args:
        out_dir: contains the archives.
        jobs: number of jobs.
        lms: number of new LMs.
        failures: gets the second lists of utterances.
    """

    def __init__(self, out_dir: Path, jobs: int, lms: int, failures: Failures):
        self.out_dir = out_dir
        self.jobs = jobs
        self.columns = [neural_column(lm) for lm in range(lms)]
        self.failures = failures
        self._job_of: dict[str, int] = {}

    def __iter__(self) -> Iterator[NBest]:
        for job in range(1, self.jobs + 1):
            yield from self.of_job(job)

    def of_job(self, job: int) -> Iterator[NBest]:
        """The lists of one job. The first time, jobs must be read in ascending order.

        Raises:
            InputError: a model's costs are missing.
        """
        for nbest in kaldi.read_nbest_dir(self.out_dir, job):
            missing = [column for column in self.columns if column not in nbest.costs]
            if missing:
                raise InputError(
                    self.out_dir / f"archives.{job}",
                    found=f"no file {missing[0]}",
                    expected="one for each language model",
                    remedy="remove the directory and run again",
                )
            if self._job_of.setdefault(nbest.utt, job) == job:
                yield nbest
            else:
                self.failures.add(nbest.utt, f"archives.{job}: a second list of this utterance; the first one was used")


class Winners:
    """The best hypotheses of each utterance: at every operating point, of the first pass, and by errors.

    An utterance takes some hundred bytes, however long its list is.

    Args:
        weights: LM weights and the point that counts.
        points: at which the cheapest hypothesis is kept; one of them is that of ``weights``.
        first_pass: the first pass's own point.
        references: utterance → words, as they are compared.
        parts: gets the costs of the hypotheses that the rescoring changes; None: nobody wants them.
    """

    def __init__(
        self,
        weights: Weights,
        points: Sequence[OperatingPoint],
        first_pass: OperatingPoint,
        references: Texts,
        parts: CostParts | None = None,
    ):
        self.weights = weights
        self.points = tuple(points)
        self.without_lms = Weights((0.0,) * len(weights.lm), first_pass)
        self.references = references
        self.parts = parts
        self._depths = ErrorsByDepth(references)
        self._texts = ChosenTexts()
        self._transcripts: ChosenTexts | None = None  # if they differ from the texts that are compared
        self._chosen = self.points.index(weights.point)

    def add(self, nbest: NBest, texts: Sequence[Sequence[str]]) -> None:
        """Choose from a list.

        Args:
            nbest: the list.
            texts: its hypotheses as they are compared with the references; ``nbest.words`` itself if they are compared
                as they are, which must be so for all lists or for none.
        """
        graph = graph_costs(nbest, self.weights.lm)
        chosen = [int(np.argmin(total_costs(nbest, graph, point))) for point in self.points]
        chosen.append(best_hypothesis(nbest, self.without_lms))
        if self.parts is not None:
            self.parts.add(nbest, chosen[-1], chosen[self._chosen])
        if texts is not nbest.words:
            self._transcripts = self._transcripts or ChosenTexts()
            self._transcripts.add(nbest.utt, [nbest.words[chosen[self._chosen]]])
        reference = self.references.get(nbest.utt)
        if reference is not None:
            distances = edit_distances(reference, texts)
            chosen.append(int(distances.argmin()))
            self._depths.add(total_costs(nbest, graph, self.weights.point), distances, len(reference))
        self._texts.add(nbest.utt, [texts[index] for index in chosen])

    def by_depth(self) -> tuple[AtDepth, ...]:
        """The errors by the number of hypotheses considered."""
        return self._depths.result()

    def transcripts(self) -> Texts:
        """The cheapest hypotheses at the point that counts, as they were recognised: utterance → words."""
        return self._texts.of(self._chosen) if self._transcripts is None else self._transcripts.of(0)

    def at_points(self) -> dict[OperatingPoint, Texts]:
        """The cheapest hypotheses at each point: point → utterance → words."""
        return {point: self._texts.of(number) for number, point in enumerate(self.points)}

    def of_first_pass(self) -> Texts:
        """The first pass's own hypotheses: utterance → words."""
        return self._texts.of(len(self.points))

    def by_errors(self) -> Texts | None:
        """The hypotheses with the fewest errors: utterance → words, for those with a reference; None without any."""
        return self._texts.of(len(self.points) + 1) if self.references else None
