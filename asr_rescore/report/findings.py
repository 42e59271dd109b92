"""What rescorings left in their output directories besides reports and transcripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr_rescore.errors import RescoreError
from asr_rescore.report.choice_costs import COSTS_FILE, ChoiceCosts, read_choice_costs
from asr_rescore.report.reliability import Reliability, read_reliability
from asr_rescore.report.searched_weights import TUNING_FILE, SearchedWeights
from asr_rescore.report.speed import seconds_of_jobs
from asr_rescore.report.table import Comparison, FirstPass
from asr_rescore.report.transcripts import SCORING, Transcripts

Cell = tuple[str, FirstPass]


@dataclass
class Findings:
    """What is there; keys are systems with their first passes.

    Attributes:
        costs: utterance → costs of the hypotheses that the rescoring changed.
        searched: the errors at all weights that were tried.
        reliability: how often words of each confidence are correct.
        seconds: the time of all jobs together.
        unread: why some of it is not shown, one line each.
    """

    costs: dict[Cell, dict[str, ChoiceCosts]] = field(default_factory=dict)
    searched: dict[Cell, SearchedWeights] = field(default_factory=dict)
    reliability: dict[Cell, Reliability] = field(default_factory=dict)
    seconds: dict[Cell, float] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, comparison: Comparison, directories: Mapping[Cell, Path], transcripts: Transcripts) -> Findings:
        """Read the output directories. What is damaged is noted and left out."""
        found = cls()
        for cell, directory in directories.items():
            try:
                found._read(cell, directory, transcripts)
            except RescoreError as error:
                found.unread.append(f"{cell[0]}, {comparison.label(cell[1])}: {error}")
            seconds = seconds_of_jobs(directory)
            if seconds is not None:
                found.seconds[cell] = seconds
        return found

    def _read(self, cell: Cell, directory: Path, transcripts: Transcripts) -> None:
        costs = directory / SCORING / COSTS_FILE
        if costs.is_file() and cell in transcripts.rescored:
            self.costs[cell] = read_choice_costs(costs)
        searched = directory / TUNING_FILE
        if searched.is_file():
            self.searched[cell] = SearchedWeights.read(searched)
        references = transcripts.references.get(cell[1])
        if references is not None:
            reliability = read_reliability(directory, references)
            if reliability is not None:
                self.reliability[cell] = reliability
