"""What a rescoring leaves to its engine: how hypotheses are searched for, in N-best lists or in lattices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asr_rescore.failures import Failures
from asr_rescore.ranking import OperatingPoint
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
        rescored: the hypotheses at every operating point.
        first_pass: the first pass's hypotheses, of the same utterances, at its own operating point.
        nbest_oracle: the hypotheses with the fewest errors; None without N-best lists or references.
    """

    weights: ChosenWeights
    rescored: Mapping[OperatingPoint, Texts]
    first_pass: Texts
    nbest_oracle: Texts | None = None


class Engine(Protocol):
    """Searches the lattices of a decode directory with new language models.

    Attributes:
        config: how it searches and which operating points are scored.
    """

    @property
    def config(self) -> RescoringConfig:
        """See the class."""

    @property
    def suffix(self) -> str:
        """What tables append to the LMs' name."""

    @property
    def search(self) -> str:
        """How hypotheses are searched for, as reports say it."""

    def check(self, inputs: Inputs, weights: ChosenWeights | None) -> None:
        """Refuse, before any work, what cannot be done.

        Raises:
            UsageError: ``weights`` are needed and are None, or fields of the config contradict each other.
        """

    def facts(self, inputs: Inputs, job: Job, weights: ChosenWeights | None) -> dict[str, Any]:
        """What a job's results depend on besides the inputs, the config and the job: name → plain value."""

    def run_job(
        self, inputs: Inputs, job: Job, weights: ChosenWeights | None, out_dir: Path, failures: Failures
    ) -> list[Path]:
        """The expensive half: write one job's results into ``out_dir``, and return the files written."""

    def gather(
        self, inputs: Inputs, jobs: int, weights: ChosenWeights | None, out_dir: Path, failures: Failures
    ) -> Outcome:
        """The cheap half: read the results of all jobs, and write lat.JOB.gz where they are not yet written."""
