"""A regime of a study: where its students are, and what they are measured by: perplexity or word error rate."""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr_rescore.errors import InputError
from asr_rescore.records import Record
from asr_rescore.report.perplexity import measured, result_path
from asr_rescore.report.system import REPORT_FILE, SystemReport
from asr_rescore.statistics.paired_differences import PairedDifferences, percent_changes, plain_differences
from asr_rescore.word_errors import ErrorCount

TEXTS = ("test", "valid")


@dataclass(frozen=True)
class Measure:
    """What students are measured by.

    Attributes:
        name: in the YAML file and in keys of JSON.
        long_name: in sentences and on the axis of the plot.
        column: heading of the column of means.
        percent: what follows a value in a sentence.
        unit: of a difference, in headings.
        of_what: of a difference, in sentences.
        key: of the differences in JSON.
        compare: the differences of pairs of values.
    """

    name: str
    long_name: str
    column: str
    percent: str
    unit: str
    of_what: str
    key: str
    compare: Callable[[Sequence[tuple[float, float]]], PairedDifferences]

    def header(self) -> list[str]:
        """Headings of the table of differences."""
        difference, detectable, valid = (f"{name}, {self.unit}" for name in ("difference", "detectable", "valid"))
        sentences = ["sentences, ±"] if self is WER else []
        return ["objective", "pairs", self.column, difference, "95 % interval", *sentences, "p", detectable, valid]


PERPLEXITY = Measure("ppl", "perplexity", "test ppl", "", "%", "percent of its perplexity", "percent", percent_changes)
WER = Measure("wer", "WER", "test %WER", " %", "points", "percentage points", "points", plain_differences)
MEASURES = {measure.name: measure for measure in (PERPLEXITY, WER)}


@dataclass(frozen=True)
class Regime:
    """Students that were trained alike but for the objective and the seed.

    Attributes:
        title: heading of its tables.
        measure: what the students are measured by.
        rescorings: test or valid → names of the rescored directories in the directory of a student, whose words and
            errors are added up; empty for perplexities.
    """

    title: str
    measure: Measure = PERPLEXITY
    rescorings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, tree: Record, name: str) -> Regime:
        """Take a regime out of ``regimes``: its title, or a mapping.

        Raises:
            InputError: it has another form.
        """
        if isinstance(tree.values[name], str):
            return cls(_in_one_line(tree.text(name)))
        record = tree.record(name)
        measure = MEASURES.get(record.text("measure"))
        if measure is None:
            record.refuse("measure", " or ".join(MEASURES))
        texts = TEXTS if measure is WER else ()
        for key in record.values:
            if key not in (known := ("title", "measure", *texts)):
                record.refuse(key, "none but " + ", ".join(known))
        rescorings = {text: record.texts(text) for text in texts}
        for text, directories in rescorings.items():
            if not directories or len(set(directories)) < len(directories):
                record.refuse(text, "names of rescored directories, each once")
        return cls(_in_one_line(record.text("title")), measure, rescorings)

    def result_paths(self, student: Path, text: str) -> list[Path]:
        """The files that say how good a student is on test or valid."""
        if self.measure is PERPLEXITY:
            return [result_path(student, text)]
        return [student / name / REPORT_FILE for name in self.rescorings[text]]

    def value(self, student: Path, text: str) -> float | None:
        """How good a student is on test or valid; None if a result is missing, not finite if the student is useless.

        Raises:
            InputError: a result is damaged, or has no word errors.
        """
        if not all(path.exists() for path in self.result_paths(student, text)):
            return None
        if self.measure is PERPLEXITY:
            return float(measured(student, text).get("ppl", math.inf))
        return self._errors(student, text).wer

    def check_alike(self, students: Iterable[Path]) -> None:
        """Refuse word errors that cannot be compared.

        Raises:
            InputError: two students were rescored with other utterances, searches, filters or choices of weights.
        """
        first: dict[str, tuple[dict[str, str], Path]] = {}
        for student in students:
            for name in (name for names in self.rescorings.values() for name in names):
                path = student / name / REPORT_FILE
                if not path.exists():
                    continue
                _errors(path)  # refuses a rescoring without transcripts
                facts = _facts(_report(path))
                expected, like = first.setdefault(name, (facts, path))
                for what, found in facts.items():
                    if found != expected[what]:
                        raise InputError(
                            path,
                            found=f"{what} {found}",
                            expected=f"{expected[what]}, as in {like}",
                            remedy="rescore all students of a regime alike, on the same data",
                        )

    def _errors(self, student: Path, text: str) -> ErrorCount:
        return ErrorCount.total(_errors(path) for path in self.result_paths(student, text))

    def over_sentences(self, pairs: Sequence[tuple[Path, Path]]) -> PairedDifferences | None:
        """Where on test pairs of students differ: their mean is that over seeds, their spread that of the sentences.

        Args:
            pairs: two students for each seed.

        Returns:
            one value for each sentence: its errors, as the mean over pairs, in percent of the mean number of words of a
            sentence. None for perplexities.
        """
        if self.measure is PERPLEXITY:
            return None
        errors: Counter[str] = Counter()
        for sign, students in zip((1, -1), zip(*pairs, strict=True), strict=True):
            for student in students:
                for path in self.result_paths(student, "test"):
                    for utt, count in _report(path).rescored.items():
                        errors[utt] += sign * count.errors
        words = self._errors(pairs[0][0], "test").reference_words
        return PairedDifferences(tuple(100 * len(errors) * value / words / len(pairs) for value in errors.values()))

    def explanation(self) -> str:
        """Sentences about what test and valid are, and which interval is which; empty for perplexities."""
        if not self.rescorings:
            return ""
        parts = [f"*{text}* is {' and '.join(names)}" for text, names in self.rescorings.items()]
        together = (
            " (their words and errors together)" if any(len(names) > 1 for names in self.rescorings.values()) else ""
        )
        return (
            f" Here, {', '.join(parts)}{together}. The interval is that of other seeds on these sentences; "
            "*sentences, ±* is half the interval of other sentences with these seeds."
        )


def _in_one_line(title: str) -> str:
    return " ".join(title.split())


def _report(path: Path) -> SystemReport:
    return SystemReport.load(path.parent)


def _facts(report: SystemReport) -> dict[str, str]:
    """What must be the same if word errors are compared."""
    words = {utt: count.reference_words for utt, count in sorted(report.rescored.items())}
    references = f"{sum(words.values()):,} words in {len(words):,} utterances"
    return {
        "references of": f"{references} (checksum {zlib.crc32(json.dumps(words).encode()):08x})",
        "search": report.search or "none",
        "scoring": report.scoring or "without filters",
        "weights": "tuned on this very set" if report.tuned_here else "not tuned on this set",
    }


def _errors(path: Path) -> ErrorCount:
    total = _report(path).total
    if not total.reference_words:
        expected = "word errors: a rescoring of a data directory with transcripts"
        raise InputError(path, found="no reference words", expected=expected, remedy="rescore it with its text")
    return total
