"""The transcripts in the output directories of rescorings: references, first pass and rescored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_rescore.errors import RescoreError
from asr_rescore.files import fields, read_lines
from asr_rescore.kaldi import read_nbest_dir, read_table
from asr_rescore.ranking import Weights, best_hypothesis
from asr_rescore.report.kaldi_files import IN_WORDS, NO_WORD
from asr_rescore.report.system import SystemReport
from asr_rescore.report.table import Comparison, FirstPass
from asr_rescore.word_errors import ErrorCount, errors_by_utterance

Texts = Mapping[str, Sequence[str]]  # utterance → words
SCORING = "scoring_kaldi"
REFERENCES = f"test_filt{IN_WORDS.text}"
FIRST_PASS_FILE = f"first_pass{IN_WORDS.text}"  # the transcripts of the first pass, as they are compared
NOT_THOSE = "are not those that report.json counts"


@dataclass
class Transcripts:
    """What is known of who said what and what was heard.

    Attributes:
        references: first pass → utterance → words.
        first_pass: (system, first pass) → utterance → words of the first pass that the system rescored.
        rescored: (system, first pass) → utterance → words.
        missing: why some transcripts are not there, one line each.
    """

    references: dict[FirstPass, Texts] = field(default_factory=dict)
    first_pass: dict[tuple[str, FirstPass], Texts] = field(default_factory=dict)
    rescored: dict[tuple[str, FirstPass], Texts] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, comparison: Comparison, directories: Mapping[tuple[str, FirstPass], Path]) -> Transcripts:
        """Read what the output directories hold. What is missing or damaged is noted and left out.

        Args:
            comparison: the reports.
            directories: (system, first pass) → output directory of the rescoring.
        """
        found = cls()
        for cell, report in comparison.cells.items():
            directory = directories.get(cell)
            if directory is not None:
                try:
                    found._read_rescored(cell, report, directory)
                except RescoreError as error:
                    found.missing.append(f"{cell[0]}, {comparison.label(cell[1])}: no transcripts: {error}")
        for cell in found.rescored:
            try:
                found._read_first_pass(cell, comparison, directories)
            except RescoreError as error:
                name = comparison.label(cell[1])
                found.missing.append(f"{cell[0]}, {name}: no transcripts of the first pass: {error}")
        return found

    def _read_rescored(self, cell: tuple[str, FirstPass], report: SystemReport, directory: Path) -> None:
        references, texts = read_rescored(directory, report, self.references.get(cell[1]))
        self.references[cell[1]] = references
        self.rescored[cell] = texts

    def _read_first_pass(
        self, cell: tuple[str, FirstPass], comparison: Comparison, directories: Mapping[tuple[str, FirstPass], Path]
    ) -> None:
        """The first pass's transcripts, which may also be those that another system of the same first pass has."""
        report = comparison.cells[cell]
        for (system, first_pass), texts in self.first_pass.items():
            if first_pass == cell[1] and comparison.cells[system, first_pass].first_pass == report.first_pass:
                self.first_pass[cell] = texts
                return
        alike = [
            directory
            for (system, first_pass), directory in directories.items()
            if first_pass == cell[1] and comparison.cells[system, first_pass].first_pass == report.first_pass
        ]
        for directory in sorted(alike, key=lambda path: not (path / SCORING / FIRST_PASS_FILE).exists()):
            path = directory / SCORING / FIRST_PASS_FILE
            if path.exists():
                found: Texts = read_table(path)
            elif (directory / "archives.1").is_dir() and not report.scoring:
                path = directory / "archives.1"
                found = dict(_best_of_lists(directory, report))
            else:
                continue
            _check(path, self.references[cell[1]], found, report.first_pass)
            self.first_pass[cell] = found
            return
        raise RescoreError(f"found neither {FIRST_PASS_FILE} nor N-best lists; rescore again")

    def alike(self, first_pass: FirstPass) -> list[str]:
        """The systems whose transcripts on a first pass are there."""
        return [system for system, other in self.rescored if other == first_pass]


def read_rescored(directory: Path, report: SystemReport, references: Texts | None = None) -> tuple[Texts, Texts]:
    """The references and the rescored transcripts in the output directory of a rescoring.

    Args:
        directory: the output directory.
        report: its report.
        references: those that are known already; None: they are read.

    Raises:
        InputError: a file is missing or damaged.
        RescoreError: the transcripts are not those of the report.
    """
    lmwt, wip = report.point.names
    references = references or read_references(directory)
    path = directory / SCORING / f"penalty_{wip}" / f"{lmwt}{IN_WORDS.text}"
    texts = read_table(path)
    _check(path, references, texts, report.rescored)
    return references, texts


def _check(path: Path, references: Texts, texts: Texts, expected: Mapping[str, ErrorCount]) -> None:
    """Refuse transcripts whose errors are not those of the report, for example because they were made anew."""
    if references.keys() != expected.keys() or errors_by_utterance(references, texts) != expected:
        raise RescoreError(f"the transcripts in {path} {NOT_THOSE}; rescore again")


def read_references(directory: Path) -> Texts:
    """The references in the output directory of a rescoring, as they were compared.

    They are in test_filt.txt, or else in the alignments of an earlier version.

    Raises:
        InputError: neither is there, or it is damaged.
    """
    folder = directory / SCORING
    if (folder / REFERENCES).exists():
        return read_table(folder / REFERENCES)
    return dict(_references_in_alignments(folder / "wer_details" / "per_utt"))


def _references_in_alignments(path: Path) -> Iterator[tuple[str, list[str]]]:
    for _, line in read_lines(path):
        utt, kind, *words = fields(line) or ("", "")
        if kind == "ref":
            yield utt, [word for word in words if word != NO_WORD]


def _best_of_lists(directory: Path, report: SystemReport) -> Iterator[tuple[str, Sequence[str]]]:
    """The best hypothesis of each N-best list with the first pass's own costs."""
    weights = Weights((), report.first_pass_point)
    job = 1
    while (directory / f"archives.{job}").is_dir():
        for nbest in read_nbest_dir(directory, job):
            if len(nbest):
                yield nbest.utt, list(nbest.words[best_hypothesis(nbest, weights)])
        job += 1
