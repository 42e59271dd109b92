"""Several systems side by side, in the shape of the paper's Table 4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asr_rescore.errors import UsageError
from asr_rescore.report.significance import probability_of_improvement
from asr_rescore.report.system import SystemReport
from asr_rescore.wer import ErrorCount

FIRST_PASS = "first pass"
NOTHING = "–"


@dataclass(frozen=True)
class Comparison:
    """Reports arranged by system, set and first pass.

    Attributes:
        systems: names, in the order given.
        sets: data set → the decode directories of it, in the order given.
        cells: (system, decoding) → report.
    """

    systems: tuple[str, ...]
    sets: Mapping[str, tuple[str, ...]]
    cells: Mapping[tuple[str, str], SystemReport]

    @classmethod
    def of(cls, reports: Iterable[SystemReport]) -> Comparison:
        """Arrange.

        Raises:
            UsageError: two reports on the same system and first pass, or first passes that are not the same.
        """
        cells: dict[tuple[str, str], SystemReport] = {}
        sets: dict[str, dict[str, None]] = {}
        first_passes: dict[str, SystemReport] = {}
        for report in reports:
            if (report.system, report.decoding) in cells:
                raise UsageError(f"two reports of {report.system} on {report.decoding}; give one")
            cells[report.system, report.decoding] = report
            sets.setdefault(report.data, {})[report.decoding] = None
            first = first_passes.setdefault(report.decoding, report)
            if first.first_pass.keys() != report.first_pass.keys():
                raise UsageError(
                    f"{first.system} and {report.system} were scored on different utterances of {report.decoding}"
                )
        if not cells:
            raise UsageError("no report to show")
        systems = tuple(dict.fromkeys(system for system, _ in cells))
        return cls(systems, {data: tuple(decodings) for data, decodings in sets.items()}, cells)

    def of_decoding(self, decoding: str) -> list[SystemReport]:
        """All systems' reports on one first pass."""
        return [self.cells[system, decoding] for system in self.systems if (system, decoding) in self.cells]

    def header(self) -> list[str]:
        """Column names."""
        return ["system", "parameters", "valid ppl", *(f"{data} %WER" for data in self.sets)]

    def rows(self) -> list[list[str]]:
        """First pass, systems, oracles; a WER tuned on its own set has a star."""
        rows = [[FIRST_PASS, NOTHING, NOTHING, *self._rates(lambda report: report.first_pass_total, None)]]
        for system in self.systems:
            lms = next(report for (name, _), report in self.cells.items() if name == system).lms
            rows.append(
                [
                    system,
                    f"{sum(lm.parameters for lm in lms):,}",
                    " + ".join(f"{lm.valid_ppl:.2f}" if lm.valid_ppl else NOTHING for lm in lms),
                    *self._rates(lambda report: report.total, system),
                ]
            )
        rows.append(["N-best oracle", NOTHING, NOTHING, *self._rates(lambda report: report.nbest_oracle, None)])
        rows.append(["lattice oracle", NOTHING, NOTHING, *self._rates(lambda report: report.lattice_oracle, None)])
        return rows

    def _rates(self, errors, system: str | None) -> list[str]:
        """A cell for each set: one rate for each of its first passes."""
        cells = []
        for decodings in self.sets.values():
            rates = []
            for decoding in decodings:
                reports = self.of_decoding(decoding)
                report = self.cells.get((system, decoding)) if system else reports[0]
                count: ErrorCount | None = report and errors(report)
                star = "*" if system and report and report.tuned_here else ""
                rates.append(f"{count.wer:.2f}{star}" if count else NOTHING)
            cells.append("/".join(rates))
        return cells

    def notes(self) -> list[str]:
        """What the columns and stars mean, the weights, and how sure the differences are."""
        lines = [f"{data}: {' / '.join(decodings)}" for data, decodings in self.sets.items()]
        if any(report.tuned_here for report in self.cells.values()):
            lines.append("*: weights tuned on this very set; without it, they were fixed before")
        lines += [f"{system}, {decoding}: {report.signature}" for (system, decoding), report in self.cells.items()]
        lines += list(self.comparisons())
        failed = [(report, utt) for report in self.cells.values() for utt in report.failures]
        lines += [f"{report.system}, {report.decoding}: {utt} failed: {report.failures[utt]}" for report, utt in failed]
        return lines

    def comparisons(self) -> Iterable[str]:
        """Each system against the first pass, and against the best system, by paired bootstrap."""
        for decodings in self.sets.values():
            for decoding in decodings:
                reports = self.of_decoding(decoding)
                best = min(reports, key=lambda report: report.total.errors)
                for report in reports:
                    sure = probability_of_improvement(report.rescored, report.first_pass)
                    line = f"{report.system}, {decoding}: better than the {FIRST_PASS} with probability {sure:.2f} %"
                    if report is not best:
                        sure = probability_of_improvement(best.rescored, report.rescored)
                        line += f"; {best.system} is better than it with {sure:.2f} %"
                    yield line


def to_text(comparison: Comparison) -> str:
    """The table in Markdown, aligned for the eye too, and its notes."""
    return (
        markdown([comparison.header(), *comparison.rows()])
        + "\n"
        + "".join(f"- {line}\n" for line in comparison.notes())
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first being the header; all columns but the first to the right."""
    widths = [max(3, *(len(row[place]) for row in rows)) for place in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [
            f"{cell:<{width}}" if not place else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |\n"

    rule = (
        "|"
        + "|".join("-" * (width + 2) if not place else "-" * (width + 1) + ":" for place, width in enumerate(widths))
        + "|\n"
    )
    return line(rows[0]) + rule + "".join(line(row) for row in rows[1:])
