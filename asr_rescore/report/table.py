"""The comparison of several systems, in the form of the paper's Table 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from asr_rescore.errors import UsageError
from asr_rescore.report.published import PublishedRow
from asr_rescore.report.system import SystemReport
from asr_rescore.report.warning import rank, with_flags
from asr_rescore.statistics.bootstrap import PairedBootstrap
from asr_rescore.word_errors import ErrorCount

FIRST_PASS = "first pass"
NOTHING = "–"
STAR = "*: weights tuned on this very set"
SIGNIFICANCE = "Significance (paired bootstrap; with the best system on each set, which need not be that of the answer)"
MAX_FAILURES = 5
MANY = 4  # systems that are counted and not named
WORDS, CHARACTERS = "WER", "CER"  # the units of rates, by the names of these

Errors: TypeAlias = "Callable[[SystemReport, str], ErrorCount | None]"  # of a report, in one of the units


class FirstPass(NamedTuple):
    """The lattices that systems are compared on: a data set, and the name of its decode directory."""

    data: str
    decoding: str


@dataclass(frozen=True)
class Comparison:
    """Reports arranged by system, data set and first pass.

    Attributes:
        systems: names, in the order given.
        sets: data set → the first passes on it, in the order given.
        cells: (system, first pass) → report.
        published: rows that come from elsewhere.
    """

    systems: tuple[str, ...]
    sets: Mapping[str, tuple[FirstPass, ...]]
    cells: Mapping[tuple[str, FirstPass], SystemReport]
    published: tuple[PublishedRow, ...] = ()

    @classmethod
    def of(cls, reports: Iterable[SystemReport], published: Iterable[PublishedRow] = ()) -> Comparison:
        """Arrange reports.

        Args:
            reports: of rescorings with references.
            published: rows that come from elsewhere.

        Raises:
            UsageError: there are no reports; a report has no references; there are two reports of the same system and
                first pass; or two reports of one first pass were scored on different utterances, with different
                references, or with different filters.
        """
        cells: dict[tuple[str, FirstPass], SystemReport] = {}
        sets: dict[str, dict[FirstPass, None]] = {}
        first_passes: dict[FirstPass, SystemReport] = {}
        for report in reports:
            if not report.rescored:
                raise UsageError(
                    f"{report.system} on {report.decoding} has no references to score against; nothing to compare"
                )
            first_pass = FirstPass(report.data, report.decoding)
            if (report.system, first_pass) in cells:
                raise UsageError(
                    f"two reports of {report.system} on {report.decoding} of {report.data}; give one of them"
                )
            cells[report.system, first_pass] = report
            sets.setdefault(report.data, {})[first_pass] = None
            first = first_passes.setdefault(first_pass, report)
            if first.first_pass.keys() != report.first_pass.keys():
                raise UsageError(
                    f"{first.system} and {report.system} were scored on different utterances of {report.decoding}: "
                    f"{report.data} has changed, or other data has its name; run one of them again"
                )
            if first.scoring != report.scoring:
                raise UsageError(
                    f"{first.system} and {report.system} were not scored in the same way on {report.decoding}: "
                    f"{first.scoring or 'no filter'}, but {report.scoring or 'no filter'}; run one of them again"
                )
            if any(first.first_pass[utt].reference_words != n.reference_words for utt, n in report.first_pass.items()):
                raise UsageError(
                    f"{first.system} and {report.system} were scored with different references of {report.decoding}: "
                    f"{report.data} has changed, or other data has its name; run one of them again"
                )
        if not cells:
            raise UsageError("no report to show")
        systems = tuple(dict.fromkeys(system for system, _ in cells))
        arranged = {data: tuple(first_passes) for data, first_passes in sets.items()}
        return cls(systems, arranged, cells, tuple(published))

    def of_first_pass(self, first_pass: FirstPass) -> list[SystemReport]:
        """The reports of all systems on one first pass."""
        return [self.cells[system, first_pass] for system in self.systems if (system, first_pass) in self.cells]

    def label(self, first_pass: FirstPass) -> str:
        """The name of a first pass: its decode directory, and its data if parts of one directory were rescored."""
        alike = [other for others in self.sets.values() for other in others if other.decoding == first_pass.decoding]
        return first_pass.decoding if len(alike) == 1 else f"{first_pass.decoding} ({first_pass.data})"

    @property
    def starred(self) -> bool:
        """Whether the table has stars."""
        return any(report.tuned_here for report in self.cells.values())

    def header(self) -> list[str]:
        """The names of the columns."""
        return ["system", "parameters", "valid ppl", *(f"{data} %{unit}" for data, unit in self._columns())]

    def rows(self) -> list[list[str]]:
        """Rows for the first pass, the systems and the oracles. A star marks weights tuned on the same set."""
        rows = [[FIRST_PASS, NOTHING, NOTHING, *self._rates(None, _of_first_pass, stars=True)]]
        for system in self.systems:
            lms = [report.lms for report in self.cells.values() if report.system == system][0]
            rows.append(
                [
                    system,
                    f"{sum(lm.parameters for lm in lms):,}",
                    " + ".join(NOTHING if lm.valid_ppl is None else f"{lm.valid_ppl:.2f}" for lm in lms),
                    *self._rates(system, _of_system, stars=True),
                ]
            )
        rows.append(["N-best oracle", NOTHING, NOTHING, *self._rates(None, _of_nbest_oracle)])
        rows.append(["lattice oracle", NOTHING, NOTHING, *self._rates(None, _of_lattice_oracle)])
        for row in self.published:
            rates = [row.wer_on(data) if unit == WORDS else "" for data, unit in self._columns()]
            cells = [row.parameters, row.valid_ppl, *rates]
            rows.append([row.name, *(cell or NOTHING for cell in cells)])
        return rows

    def _columns(self) -> Iterator[tuple[str, str]]:
        """(data set, unit of its rates): words, and after them characters if these were counted in all its reports."""
        for data, first_passes in self.sets.items():
            yield data, WORDS
            reports = [report for first_pass in first_passes for report in self.of_first_pass(first_pass)]
            if all(report.characters is not None for report in reports):
                yield data, CHARACTERS

    def _rates(self, system: str | None, errors: Errors, stars: bool = False) -> list[str]:
        """The cells of a row: one for each column of rates, with one rate for each of its first passes.

        Args:
            system: the system of the row; None: the first system that has the rate.
            errors: the errors that the row shows, in a unit; None if a report has none.
            stars: whether to mark a rate whose weights were tuned on the same set.
        """
        cells = []
        for data, unit in self._columns():
            rates = []
            for first_pass in self.sets[data]:
                reports = [report for report in self.of_first_pass(first_pass) if system in (None, report.system)]
                rates.append(_rate(reports, errors, unit, stars))
            cells.append("/".join(rates))
        return cells

    def legend(self) -> Iterator[str]:
        """The meaning of columns and stars, and the reports that do not fit the rows of first pass and oracle."""
        for data, first_passes in self.sets.items():
            yield f"{data}: {' / '.join(first_pass.decoding for first_pass in first_passes)}"
        if self.starred:
            yield f"{STAR}; without a star, they were chosen beforehand"
        if self.published:
            yield f"not computed here: {', '.join(row.name for row in self.published)}"
        for first_passes in self.sets.values():
            for first_pass in first_passes:
                yield from self._unlike_the_table(first_pass)

    def _unlike_the_table(self, first_pass: FirstPass) -> Iterator[str]:
        """Reports whose first pass or N-best oracle is not the one in the table, which is the first that there is."""
        reports = self.of_first_pass(first_pass)
        shown_first_pass = reports[0].first_pass_total
        oracles = [report.nbest_oracle for report in reports if report.nbest_oracle is not None]
        for report in reports:
            oracle = report.nbest_oracle
            if report.first_pass_total == shown_first_pass and (oracle is None or oracle == oracles[0]):
                continue
            rates = f"first pass {report.first_pass_total.wer:.2f}"
            if oracle is not None:
                rates += f", N-best oracle {oracle.wer:.2f}"
            rates += ", from other lists or other first-pass weights than in the table"
            yield f"{report.system}, {self.label(first_pass)}: {rates}"

    def weights(self) -> Iterator[str]:
        """The models and weights of each system on each first pass, and LMWT and WIP of the first passes."""
        seen = set()
        for (system, first_pass), report in self.cells.items():
            yield f"{system}, {self.label(first_pass)}: {report.signature}"
            if (first_pass, report.first_pass_point) not in seen:
                seen.add((first_pass, report.first_pass_point))
                yield f"{FIRST_PASS}, {self.label(first_pass)}: {report.first_pass_operation}"

    def warnings(self) -> Iterator[str]:
        """The warnings of each report."""
        for places in self.warnings_by_code().values():
            yield from places

    def warnings_by_code(self) -> dict[str, list[str]]:
        """Code → where and what, once for all systems that have the same warning on one first pass; causes first."""
        systems: dict[tuple[str, FirstPass, str], list[str]] = {}
        for (system, first_pass), report in self.cells.items():
            for warning in report.warnings:
                systems.setdefault((warning.code, first_pass, with_flags(warning.text)), []).append(system)
        by_code: dict[str, list[str]] = {}
        for (code, first_pass, text), names in sorted(systems.items(), key=lambda item: rank(item[0][0])):
            who = ", ".join(names) if len(names) < MANY else f"{len(names)} systems"
            by_code.setdefault(code, []).append(f"{who}, {self.label(first_pass)}: {text}")
        return by_code

    def failures(self) -> Iterator[str]:
        """The failures of each report, at most the first few."""
        for (system, first_pass), report in self.cells.items():
            for utt, reason in list(report.failures.items())[:MAX_FAILURES]:
                yield f"{system}, {self.label(first_pass)}: {utt}: {with_flags(reason)}"
            if len(report.failures) > MAX_FAILURES:
                more = len(report.failures) - MAX_FAILURES
                yield f"{system}, {self.label(first_pass)}: and {more} more, see its failed.txt"

    def comparisons(self) -> Iterator[str]:
        """Compare each system with the first pass and with the best system, by paired bootstrap."""
        for first_passes in self.sets.values():
            for first_pass in first_passes:
                reports = self.of_first_pass(first_pass)
                best = min(reports, key=lambda report: report.total.errors)
                bootstrap = PairedBootstrap(
                    {report.system: report.rescored for report in reports}
                    | {f"{FIRST_PASS}\n{report.system}": report.first_pass for report in reports}
                )
                for report in reports:
                    probability = bootstrap.gain(report.system, f"{FIRST_PASS}\n{report.system}").probability
                    line = f"{report.system}, {self.label(first_pass)}: better than the {FIRST_PASS} "
                    line += f"with probability {probability:.2f} %"
                    if report is not best:
                        probability = bootstrap.gain(best.system, report.system).probability
                        line += f"; {best.system} is better than {report.system} with probability {probability:.2f} %"
                    yield line

    def notes(self) -> dict[str, list[str]]:
        """Heading → lines; headings without lines are left out."""
        notes = {
            "Legend": list(self.legend()),
            "Weights": list(self.weights()),
            "Warnings": list(self.warnings()),
            SIGNIFICANCE: list(self.comparisons()),
            "Not done": list(self.failures()),
        }
        return {heading: lines for heading, lines in notes.items() if lines}


def _of_first_pass(report: SystemReport, unit: str) -> ErrorCount | None:
    if unit == WORDS:
        return report.first_pass_total
    return None if report.characters is None else report.characters.first_pass


def _of_system(report: SystemReport, unit: str) -> ErrorCount | None:
    if unit == WORDS:
        return report.total
    return None if report.characters is None else report.characters.rescored


def _of_nbest_oracle(report: SystemReport, unit: str) -> ErrorCount | None:
    return report.nbest_oracle if unit == WORDS else None  # it has the fewest word errors


def _of_lattice_oracle(report: SystemReport, unit: str) -> ErrorCount | None:
    return report.lattice_oracle if unit == WORDS else None


def _rate(reports: Sequence[SystemReport], errors: Errors, unit: str, stars: bool) -> str:
    """The rate of the first report that has these errors, with a star if its weights were tuned on the same set."""
    for report in reports:
        count = errors(report, unit)
        if count is not None:
            star = "*" if stars and report.tuned_here else ""
            return f"{count.wer:.2f}{star}"
    return NOTHING


def to_text(comparison: Comparison, notes: Mapping[str, Sequence[str]] | None = None) -> str:
    """The table in Markdown, with aligned columns, and the notes (heading → lines), by default the comparison's own."""
    parts = [markdown([comparison.header(), *comparison.rows()])]
    for heading, lines in (comparison.notes() if notes is None else notes).items():
        parts.append(f"{heading}:\n\n" + "".join(f"- {line}\n" for line in lines))
    return "\n".join(parts)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Format rows, the first of which is the header, as a Markdown table; only the first column is left-aligned.

    Lines of a cell are joined, and a ``|`` in it is escaped.
    """
    rows = [[" ".join(cell.splitlines()).replace("|", r"\|") for cell in row] for row in rows]
    first_width, *widths = (max(3, *map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for first, *others in rows:
        cells = [f"{first:<{first_width}}", *(f"{cell:>{width}}" for cell, width in zip(others, widths, strict=True))]
        lines.append("| " + " | ".join(cells) + " |\n")
    rules = ["-" * (first_width + 2), *("-" * (width + 1) + ":" for width in widths)]
    lines.insert(1, "|" + "|".join(rules) + "|\n")
    return "".join(lines)
