"""What a rescoring leaves to its engine: how hypotheses are searched for, in N-best lists or in lattices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asr_rescore.failures import Failures
from asr_rescore.ranking import OperatingPoint
from asr_rescore.report import AtDepth, LmFit, OovCount, ReportWarning, SearchedWeights
from asr_rescore.rescoring.choice_costs import Choices
from asr_rescore.rescoring.config import RescoringConfig
from asr_rescore.rescoring.inputs import Inputs
from asr_rescore.rescoring.job import Job
from asr_rescore.rescoring.weights import ChosenWeights

Texts = Mapping[str, Sequence[str]]  # utterance → words


@dataclass(frozen=True)
class Outcome:
    """What a rescoring found.

    Attributes:
        weights: those that count: given, or tuned on the N-best lists.
        transcripts: the hypotheses at the operating point of the weights.
        rescored: the hypotheses at every operating point, as they are compared with the references.
        first_pass: likewise, the first pass's hypotheses, of the same utterances, at its own operating point.
        nbest_oracle: likewise, the hypotheses with the fewest errors; None without N-best lists or references.
        oov: for each language model, how many words of the first pass's hypotheses it does not know.
        warnings: reasons to doubt the result although nothing failed.
        depths: the errors by the number of hypotheses considered; empty without N-best lists or references.
        searched: the errors on the grid on which the weights were tuned; None if they were given.
        choices: the hypotheses that the rescoring changed; None if only what is compared of them is known.
        fits: for each language model, how likely it finds the first pass's hypotheses; empty without an old LM.
    """

    weights: ChosenWeights
    transcripts: Texts
    rescored: Mapping[OperatingPoint, Texts]
    first_pass: Texts
    nbest_oracle: Texts | None = None
    oov: tuple[OovCount, ...] = ()
    warnings: tuple[ReportWarning, ...] = ()
    depths: tuple[AtDepth, ...] = ()
    searched: SearchedWeights | None = None
    choices: Choices | None = None
    fits: tuple[LmFit, ...] = ()


class Engine(Protocol):
    """Searches the lattices of a decode directory with new language models, and refuses at once what cannot be done."""

    @property
    def inputs(self) -> Inputs:
        """Read with ``config``."""

    @property
    def config(self) -> RescoringConfig:
        """How to search, and which operating points are scored."""

    @property
    def out_dir(self) -> Path:
        """Becomes a decode directory."""

    @property
    def weights(self) -> ChosenWeights | None:
        """Weights of the LMs; None to tune them when all jobs are done."""

    @property
    def suffix(self) -> str:
        """What tables append to the LMs' name."""

    @property
    def search(self) -> str:
        """How hypotheses are searched for, as reports say it."""

    def facts(self) -> dict[str, Any]:
        """What a job's results depend on besides inputs, config and job: name → plain value."""

    def run_job(self, job: Job, failures: Failures) -> list[Path]:
        """The expensive half: write one job's results and return the files written."""

    def gather(self, jobs: int, failures: Failures) -> Outcome:
        """The cheap half: read the results of all jobs, and write num_jobs and lat.JOB.gz where they are missing."""
