"""All that the report of an experiment shows: the comparison, and what the directories of its systems hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from asr_rescore.errors import RescoreError
from asr_rescore.files import read_lines
from asr_rescore.progress import progress_bar
from asr_rescore.report.advice import NO_HELP, Advice, advice_on
from asr_rescore.report.findings import Cell, Findings
from asr_rescore.report.kaldi_files import IN_WORDS
from asr_rescore.report.names import lm_names, refuse_twice, told_apart
from asr_rescore.report.pairs import PairTests, pair_lines
from asr_rescore.report.published import PublishedRow
from asr_rescore.report.seeds import SeedGroup, Training, read_training, seed_groups, seed_lines
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import SIGNIFICANCE, Comparison, FirstPass
from asr_rescore.report.training_curve import LOG_FILE, TrainingCurve, lm_directories
from asr_rescore.report.transcripts import Transcripts
from asr_rescore.report.verdict import Verdict
from asr_rescore.report.word_changes import WordChanges
from asr_rescore.vocab import Vocabulary
from asr_rescore.vocab_files import VOCABULARY_FILE, load_vocabulary

SEEDS = "The same model with several seeds: mean %WER ± half of the 95 % interval of the mean (Student's t)"

TESTS = "Tests (gain in points with its 95 % interval; p-values, and these corrected for the comparisons made together)"


@dataclass(frozen=True)
class Experiment:
    """A comparison with its transcripts, trainings and vocabularies.

    Attributes:
        comparison: the reports.
        directories: (system, first pass) → the output directory of the rescoring.
        transcripts: what these directories hold of transcripts.
        curves: the trainings of the language models, as far as their logs were found.
        vocabularies: name of a language model → its vocabulary, as far as they were found.
        trainings: name of a language model → how it was trained, as far as this was found.
        findings: what else the directories hold.
        unread: why some of all this is not shown, one line each.
    """

    comparison: Comparison
    directories: Mapping[Cell, Path]
    transcripts: Transcripts
    curves: tuple[TrainingCurve, ...] = ()
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)
    trainings: Mapping[str, Training] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, comparison: Comparison) -> Experiment:
        """An experiment of which only the reports are known."""
        return cls(comparison, {}, Transcripts())

    @classmethod
    def read(
        cls, out_dirs: Sequence[Path], published: Iterable[PublishedRow] = (), lm_dirs: Iterable[Path] = ()
    ) -> Experiment:
        """Read the output directories of rescorings.

        Args:
            out_dirs: the directories, each with a report.json.
            published: rows that come from elsewhere.
            lm_dirs: directories of language models; those that the out-dirs lie in are found without this.

        Raises:
            InputError: a report is missing or damaged, or the log of a given language model is; it may be missing if
                there is a vocabulary.
            UsageError: the reports cannot be compared.
        """
        shown = progress_bar("reports", len(out_dirs), "results").over(out_dirs)
        reports = told_apart([SystemReport.load(path) for path in shown], out_dirs)
        refuse_twice(reports, out_dirs)
        comparison = Comparison.of(reports, published)
        directories = {
            (report.system, FirstPass(report.data, report.decoding)): path
            for report, path in zip(reports, out_dirs, strict=True)
        }
        given = [path.resolve() for path in lm_dirs]  # as those that are found, so that none is shown twice
        # An ensemble has a vocabulary, but was not trained.
        trained = [path for path in given if (path / LOG_FILE).exists() or not (path / VOCABULARY_FILE).exists()]
        paths = lm_directories(given, out_dirs)
        names = lm_names(paths, reports, out_dirs)
        curves = [TrainingCurve.read(path, names[path]) for path in trained]
        vocabularies: dict[str, Vocabulary] = {}
        trainings: dict[str, Training] = {}
        unread = []
        for path in paths:
            try:
                if path not in given and (path / LOG_FILE).is_file():
                    curves.append(TrainingCurve.read(path, names[path]))
                if (path / VOCABULARY_FILE).is_file():
                    vocabularies[names[path]] = load_vocabulary(path)
                training = read_training(path)
                if training is not None:
                    trainings[names[path]] = training
            except RescoreError as error:
                unread.append(f"{names[path]}: {error}")
        transcripts = Transcripts.read(comparison, directories)
        findings = Findings.read(comparison, directories, transcripts)
        unread += findings.unread
        return cls(
            comparison, directories, transcripts, tuple(curves), vocabularies, trainings, findings, tuple(unread)
        )

    @cached_property
    def tests(self) -> dict[FirstPass, PairTests]:
        """First pass → the comparisons of systems on it."""
        shown = progress_bar("tests", len(self.first_passes), "first passes").over(self.first_passes)
        return {where: PairTests.on(self.comparison, where, self.transcripts) for where in shown}

    @property
    def first_passes(self) -> list[FirstPass]:
        """All first passes, in the order of the table."""
        return [where for first_passes in self.comparison.sets.values() for where in first_passes]

    @cached_property
    def verdict(self) -> Verdict:
        """The best system."""
        return Verdict.of(self.comparison, self.tests)

    @cached_property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return self.verdict.sentence(self.comparison)

    @cached_property
    def advice(self) -> tuple[Advice, ...]:
        """The warnings and weak results, in plain words."""
        return advice_on(self.comparison, self.tests)

    @cached_property
    def doubts(self) -> str:
        """What to look into before the answer is believed, in one sentence; empty if there is nothing."""
        serious = [advice.title for advice in self.advice if advice.serious and advice.title != NO_HELP]
        return f"Before you trust these figures: {'; '.join(serious)} (see Diagnosis)." if serious else ""

    @cached_property
    def seeds(self) -> list[SeedGroup]:
        """The systems that are the same model with several seeds."""
        return seed_groups(self.comparison, self.trainings)

    def notes(self) -> dict[str, list[str]]:
        """Heading → lines, as those of the comparison, and those about seeds."""
        seeds = list(seed_lines(self.comparison, self.seeds))
        return self.comparison.notes() | ({SEEDS: seeds} if seeds else {})

    def text_notes(self) -> dict[str, list[str]]:
        """Heading → lines for a text, which has the tests as lines as well: after the other significance."""
        tests = [
            line for where, tests in self.tests.items() for line in pair_lines(tests, self.comparison.label(where))
        ]
        notes: dict[str, list[str]] = {}
        for heading, lines in self.notes().items():
            notes[heading] = lines
            if heading == SIGNIFICANCE:
                notes[TESTS] = tests
        return notes

    def words(self, system: str) -> WordChanges | None:
        """The words that a system mends and spoils on the evaluation sets; None without transcripts."""
        changes = WordChanges()
        known = False
        for where in self.verdict.reports:
            cell = (system, where)
            if cell in self.transcripts.rescored and cell in self.transcripts.first_pass:
                known = True
                changes.add(
                    self.transcripts.references[where],
                    self.transcripts.first_pass[cell],
                    self.transcripts.rescored[cell],
                )
        return changes if known else None

    def grid(self, where: FirstPass) -> list[tuple[float, float, float]]:
        """LMWT, word insertion penalty and WER of the best system's wer_LMWT_WIP files; empty if there are none."""
        directory = self.directories.get((self.verdict.system, where))
        if directory is None:
            return []
        return sorted(_grid_of(directory))


def _grid_of(directory: Path) -> Iterator[tuple[float, float, float]]:
    for path in directory.glob(f"{IN_WORDS.rate}_*_*"):
        try:
            _, lmwt, wip = path.name.split("_")
            marker, rate = next(read_lines(path))[1].split()[:2]
            if marker == "%WER":
                yield float(lmwt), float(wip), float(rate)
        except (ValueError, StopIteration, RescoreError):
            continue  # a file of someone else
